//! A Unix socket.

use crate::{control::ServerError, system::Group};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

#[derive(Debug)]
pub(in crate::control) struct Listener {
    inner: UnixListener,
}

impl Listener {
    /// Only a socket is replaced; the caller knows that nobody listens on it.
    pub(in crate::control) fn bind(path: &Path, group: Option<&Group>) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Io {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(ServerError::InTheWay(path.to_owned())),
            Err(_) => {}
        }
        let inner = bind_private(path).map_err(failed)?;
        if let Some(group) = group {
            std::os::unix::fs::chown(path, None, Some(group.0)).map_err(failed)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        }
        Ok(Self { inner })
    }
}

impl axum::serve::Listener for Listener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // axum's own, which logs errors and tries again.
        axum::serve::Listener::accept(&mut self.inner).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// The socket never exists with wider permissions than 0600, not even for a moment: it is made in a private
/// directory beside its place. (The process's umask would do as well, but belongs to the embedding program.)
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let mut nursery = path.as_os_str().to_owned();
    nursery.push(".new");
    let nursery = PathBuf::from(nursery);
    let newborn = nursery.join("s");
    let _ = fs::remove_file(&newborn);
    let _ = fs::remove_dir(&nursery);
    fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let bound = UnixListener::bind(&newborn).and_then(|listener| {
        fs::set_permissions(&newborn, fs::Permissions::from_mode(0o600))?;
        fs::rename(&newborn, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&newborn);
    let _ = fs::remove_dir(&nursery);
    bound
}

/// Removes the socket's name.
pub(in crate::control) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn stale_socket_is_replaced_and_anything_else_left_alone() {
        let temp = TempDir::new("stale");
        let path = temp.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Listener::bind(&path, None).is_ok());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listener::bind(&path, None),
            Err(ServerError::InTheWay(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn socket_is_private_unless_a_group_is_given() {
        let temp = TempDir::new("modes");
        let path = temp.path().join("control.sock");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let _private = Listener::bind(&path, None).unwrap();
        assert_eq!(mode(), 0o600);
        let group = Group(rustix::process::getgid().as_raw());
        let _shared = Listener::bind(&path, Some(&group)).unwrap();
        assert_eq!(mode(), 0o660);
    }
}
