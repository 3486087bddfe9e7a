//! The control API: HTTP and JSON over a Unix socket in the state directory, or over a named pipe on Windows (see
//! `docs/control-api.md`).

mod error;
mod listener;
mod probe;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod stage;
mod support;

pub use error::ServerError;
pub use osier_control::{SOCKET_NAME, client, default_place, pipe_name, types};

use crate::state::{StateDir, StateError};

/// Removes what a daemon that crashed left of its control socket.
pub(crate) fn remove_left_over(dir: &StateDir) -> Result<(), StateError> {
    dir.remove(SOCKET_NAME)
}
