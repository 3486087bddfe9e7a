//! The control API: HTTP and JSON over a Unix socket in the state directory (see `docs/control-api.md`).

pub mod client;
mod probe;
pub(crate) mod server;
pub mod types;

/// Name of the socket in the state directory.
pub const SOCKET_NAME: &str = "control.sock";

pub use server::ServerError;
