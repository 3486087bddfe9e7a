//! What front ends need of the control API (`docs/control-api.md`): its types, a client, and where a daemon listens.
//! Nothing of the node is in here, so that a window does not carry a network stack along.

#[cfg(windows)]
pub mod access;
pub mod client;
mod connect;
mod place;
pub mod types;

#[cfg(windows)]
pub use connect::CLIENT_RIGHTS;
pub use connect::connect;
#[cfg(windows)]
pub use place::is_pipe;
pub use place::{SOCKET_NAME, default_place, pipe_name};
