//! Babel on the interfaces of the operating system (`osier babel`): no tunnels, no certificates, but plain
//! RFC 8966 with whoever else speaks it on the link, and the kernel's own routing table.
//!
//! One task owns the [`osier_babel::Speaker`]. Everything around it carries something in or out:
//!
//! - `interfaces` tells which of the configured interfaces are up, with their addresses;
//! - `sockets` has one UDP socket for each of those;
//! - `kernel` puts the selected routes into one of the kernel's tables;
//! - `redistribute` tells which of the kernel's routes are to be announced;
//! - `control` answers `osier babel dump` on a Unix socket;
//! - `state` keeps router-id and seqno for the next start;
//! - `mode` is the loop that joins them.
//!
//! Only Linux has all of these so far; elsewhere [`run`] says so. See `docs/babel-bridge.md` for operators.

mod config;
mod file;
mod keys;
mod report;
mod rules;

#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod interfaces;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod mode;
#[cfg(target_os = "linux")]
mod redistribute;
#[cfg(target_os = "linux")]
mod sockets;
#[cfg(target_os = "linux")]
mod state;

pub use config::{Config, ConfigError, Install, InterfaceOptions, LinkKind, parse_router_id, parse_rx_cost};
pub use file::FileError;
pub use keys::{KeySource, MacError, MacOptions};
pub use report::{HeldReport, InterfaceReport, NeighbourReport, Report, RouteReport};
pub use rules::{Protocol, Redistribute, RouteRule};

use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Why the mode could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Mac(#[from] MacError),
    #[error(
        "none of the interfaces exists, so there is no MAC address to take a router-id from: give --router-id"
    )]
    NoRouterId,
    #[error(
        "UDP port {} is in use on {interface}: is babeld, BIRD or another `osier babel` running there?",
        osier_babel::PORT
    )]
    PortInUse { interface: String },
    #[error("no permission to {what}: run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW")]
    Permission { what: &'static str },
    #[error(
        "another `osier babel` has the kernel routes with metric {0}: give it all interfaces, or give this one \
         another --kernel-metric"
    )]
    MetricInUse(u32),
    #[error("cannot use interface {interface}: {source}")]
    Socket { interface: String, source: io::Error },
    #[error("the kernel's routing interface failed: {0}")]
    Netlink(String),
    #[error("another `osier babel` already listens on {}: give another --control path", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("nothing answers on {}: is `osier babel` running with that --control path? ({source})", path.display())]
    NotRunning { path: PathBuf, source: io::Error },
    #[error("the answer from {} makes no sense: {reason}", path.display())]
    BadAnswer { path: PathBuf, reason: String },
    #[error("cannot use the state in {}: {reason}", path.display())]
    State { path: PathBuf, reason: String },
    #[error("`osier babel` is not supported on this system: it needs Linux")]
    Unsupported,
}

/// Speaks Babel until `shutdown` resolves, then retracts everything, removes its kernel routes and returns.
/// Each configuration that comes out of `reloads` replaces the one before; see [`Config::keep_fixed`].
///
/// # Errors
/// At the start, when the configuration or the machine does not permit it. Later only when the kernel's
/// routing interface is lost: an interface that goes away or a route that the kernel refuses is logged.
#[cfg(target_os = "linux")]
pub async fn run(
    config: Config,
    reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    mode::run(config, reloads, shutdown).await
}

/// What a running `osier babel --control PATH` knows: its routes and neighbours.
///
/// # Errors
/// [`Error::NotRunning`] when nothing listens, [`Error::BadAnswer`] when it is something else.
#[cfg(target_os = "linux")]
pub async fn dump(control: &Path) -> Result<Report, Error> {
    control::fetch(control).await
}

#[cfg(not(target_os = "linux"))]
pub async fn run(
    _config: Config,
    _reloads: mpsc::Receiver<Config>,
    _shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

#[cfg(not(target_os = "linux"))]
pub async fn dump(_control: &Path) -> Result<Report, Error> {
    Err(Error::Unsupported)
}
