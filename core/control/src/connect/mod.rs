//! The client's side of where the control API listens: `unix` and `windows` offer the same `connect(place)`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::connect;
#[cfg(windows)]
pub use windows::{CLIENT_RIGHTS, connect};
