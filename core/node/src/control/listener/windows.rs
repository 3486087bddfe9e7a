//! A named pipe.
//!
//! Only processes of this machine may open it, and of those only our own user's, the administrators' and the
//! system's, and with a group its members'. These may not make further instances of it, so none of them can answer in
//! the daemon's place; the client in turn refuses a pipe that someone made whom it has no reason to trust.

use crate::{
    control::ServerError,
    system::{Group, access::Descriptor},
};
use osier_control::{CLIENT_RIGHTS, is_pipe};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY};

/// Before trying again when the system makes no instance.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::control) struct Listener {
    name: PathBuf,
    descriptor: Descriptor,
    /// Waits for the next client. While there is any instance, the name is ours.
    next: Option<NamedPipeServer>,
}

impl Listener {
    /// Fails when the name is taken, by whomever.
    pub(in crate::control) fn bind(name: &Path, group: Option<&Group>) -> Result<Self, ServerError> {
        if !is_pipe(name) {
            return Err(ServerError::NoPipe(name.to_owned()));
        }
        let failed = |source: io::Error| match source.raw_os_error().map(|code| code as u32) {
            Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY) => ServerError::PipeTaken(name.to_owned()),
            _ => ServerError::Io {
                path: name.to_owned(),
                source,
            },
        };
        let descriptor = Descriptor::private_but_for(group, CLIENT_RIGHTS).map_err(failed)?;
        let next = Some(instance(name, &descriptor, true).map_err(failed)?);
        Ok(Self {
            name: name.to_owned(),
            descriptor,
            next,
        })
    }
}

fn instance(name: &Path, descriptor: &Descriptor, first: bool) -> io::Result<NamedPipeServer> {
    let mut attributes = descriptor.attributes();
    let mut options = ServerOptions::new();
    options.first_pipe_instance(first).reject_remote_clients(true);
    // SAFETY: the attributes and the descriptor that they point to outlive the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

impl axum::serve::Listener for Listener {
    type Io = NamedPipeServer;
    type Addr = PathBuf;

    /// May be cancelled: an instance that waits stays where it is.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let waiting = match self.next.take() {
                Some(waiting) => self.next.insert(waiting),
                None => match instance(&self.name, &self.descriptor, false) {
                    Ok(fresh) => self.next.insert(fresh),
                    Err(error) => {
                        tracing::error!(%error, "cannot make an instance of the control pipe");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                },
            };
            let connected = waiting.connect().await;
            let taken = self.next.take();
            // At once, so that the next client finds one; else it is tried again above.
            self.next = instance(&self.name, &self.descriptor, false).ok();
            match (connected, taken) {
                (Ok(()), Some(taken)) => return (taken, self.name.clone()),
                // A client that has gone again already.
                (Err(error), _) => tracing::debug!(%error, "a client of the control pipe was lost"),
                (Ok(()), None) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.name.clone())
    }
}

/// A pipe ends with its last handle.
pub(in crate::control) fn remove(_: &Path) {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::pipe_name;
    use axum::serve::Listener as _;
    use osier_control::connect;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn place(test: &str) -> PathBuf {
        pipe_name(Path::new(&format!("{test}-{}", std::process::id()))).into()
    }

    #[tokio::test]
    async fn octets_go_both_ways() {
        let place = place("both-ways");
        let mut listener = Listener::bind(&place, None).unwrap();
        let mut client = connect(&place).await.unwrap();
        let (mut server, _) = listener.accept().await;
        client.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"pong");
    }

    #[tokio::test]
    async fn name_is_taken_until_the_listener_ends() {
        let place = place("taken");
        let first = Listener::bind(&place, None).unwrap();
        assert!(matches!(
            Listener::bind(&place, None),
            Err(ServerError::PipeTaken(_))
        ));
        drop(first);
        Listener::bind(&place, None).unwrap();
    }

    #[tokio::test]
    async fn other_places_are_no_pipes() {
        let file = Path::new(r"C:\osier\control.sock");
        assert!(matches!(Listener::bind(file, None), Err(ServerError::NoPipe(_))));
        assert_eq!(
            connect(file).await.unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(
            connect(&place("nobody")).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
