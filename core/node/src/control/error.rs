//! Why the control API does not listen.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("there is no group {0:?} on this system")]
    NoGroup(String),
    #[error("cannot look up the group {name:?}: {source}")]
    GroupLookup { name: String, source: io::Error },
    #[error("{} is in the way of the control socket: remove it, or choose another path with --control-socket", .0.display())]
    InTheWay(PathBuf),
    #[error("another program has the pipe {}: end it, or choose another name with --control-socket", .0.display())]
    PipeTaken(PathBuf),
    #[error(r"{} is not the name of a pipe: on Windows the control socket is a named pipe, \\.\pipe\NAME", .0.display())]
    NoPipe(PathBuf),
    #[error("cannot listen on the control socket {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}
