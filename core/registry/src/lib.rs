//! The registry: makes a network, enrols nodes by invite, signs and renews their certificates, revokes them, and
//! keeps the directory of their records. A mesh needs it to grow and to renew, never to run.
//!
//! ```no_run
//! # async fn example() -> Result<(), osier_registry::Error> {
//! use osier_registry::{CreateOptions, InviteOptions, NetworkDir, Registry, ServeOptions, unix_now};
//! let path = std::path::Path::new("/var/lib/osier-registry");
//! NetworkDir::create(path, CreateOptions::new("home"), unix_now())?;
//! let registry = Registry::open(path).await?;
//! let invite = registry.create_invite(InviteOptions { uses: 3, ..InviteOptions::default() }).await?;
//! println!("{invite}");
//! let server = registry.serve(ServeOptions::default()).await?;
//! println!("listening on {}", server.address());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`NetworkDir`]: keys, signed description and settings on disk. `create`, `open`, `renew_issuer` (with the root
//!   key, which may be kept offline), `create_self_signed` (TLS).
//! - [`Database`]: SQLite or Postgres by URL; all state is there, so registries can share one and commands work
//!   beside a running server.
//! - [`Registry`]: both together, with what can be done: `create_invite`, `list_invites`, `revoke_invite`,
//!   `list_nodes`, `revoke_node`, `enrol`, `renew`, `publish`, `directory`, `revocations`, `serve`.
//! - [`Server`]: the HTTP API of [`osier_proto::registry_api`], running; `address`, `metrics`, `stop`.

mod database;
mod directory;
mod error;
mod files;
mod invites;
mod registry;
mod revocations;
mod server;
mod settings;
mod tls;

pub use database::{Database, DatabaseKind};
pub use directory::{CreateOptions, DELEGATION_LIFETIME, NetworkDir};
pub use error::{DatabaseError, DirectoryError, Error, Refusal};
pub use invites::{InviteInfo, InviteOptions};
pub use registry::{Enrolled, NodeInfo, Registry};
pub use revocations::RevokedNode;
pub use server::{MetricsSnapshot, ServeOptions, Server};
pub use settings::{DEFAULT_PORT, Limits, Settings, TlsSettings, format_duration, parse_duration};

use osier_proto::wallclock::UnixTime;
use std::time::{SystemTime, UNIX_EPOCH};

/// The system's clock. One before 1970 reads as 0, which every check of validity refuses.
pub fn unix_now() -> UnixTime {
    UnixTime(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
    )
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}
