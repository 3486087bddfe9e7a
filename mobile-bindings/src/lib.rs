//! Osier for Kotlin and Swift: a node inside an Android VPN service or an iOS packet tunnel (see `docs/mobile.md`).
//!
//! Types and conversions only; what happens, happens in `osier-core`. Commands go down as methods of one [`Session`],
//! events come up by [`Session::next_event`], and the platform does two things for the core: [`Platform::protect`],
//! without which the node's own packets would come back to it through the VPN, and [`Platform::log`].

mod error;
mod events;
mod logs;
mod platform;
mod session;
mod types;

pub use error::{PlatformError, Problem, SessionError};
pub use events::Event;
pub use platform::{LogLevel, LogLine, Platform};
pub use session::{Session, SessionConfig};
pub use types::*;

uniffi::setup_scaffolding!();
