//! A Unix socket.

use std::{io, path::Path};
use tokio::net::UnixStream;

pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}
