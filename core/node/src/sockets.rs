//! Every socket that the node opens towards the outside, and what an embedder does to it first.
//!
//! Where the system's VPN catches all that a program sends, the node's own datagrams would come back to it. Android's
//! `VpnService.protect` exempts a socket; so [`Protect`] gets each one right after it is made, before it is bound,
//! connected or sent from. One that it refuses is closed, and whoever wanted it gets [`SocketError::NotProtected`].
//!
//! What never leaves the machine (the control API, netlink) is not asked about. Looking up names is the system's, and
//! so are its sockets.

use socket2::{Domain, Socket, Type};
use std::{fmt::Debug, io, sync::Arc};

/// Exempts sockets from the system's VPN.
pub trait Protect: Send + Sync + Debug {
    /// Called on whichever thread opens the socket, which waits for it.
    ///
    /// # Errors
    /// Why it cannot be exempted: then it is not used.
    fn protect(&self, socket: &Socket) -> Result<(), String>;
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the system does not let this socket past the VPN: {0}")]
    NotProtected(String),
}

impl SocketError {
    /// Whether this is the cause of `error`, which an [`io::Error`] in between may hold.
    pub(crate) fn refusal<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e str> {
        let mut next = Some(error);
        while let Some(error) = next {
            let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let held = held.and_then(|held| held.downcast_ref::<Self>());
            if let Some(Self::NotProtected(reason)) = held.or_else(|| error.downcast_ref()) {
                return Some(reason);
            }
            next = error.source();
        }
        None
    }
}

impl From<SocketError> for io::Error {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Io(error) => error,
            refused @ SocketError::NotProtected(_) => {
                io::Error::new(io::ErrorKind::PermissionDenied, refused)
            }
        }
    }
}

/// Opens sockets.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Option<Arc<dyn Protect>>);

impl Sockets {
    pub fn protected_by(protect: Arc<dyn Protect>) -> Self {
        Self(Some(protect))
    }

    /// Whether every socket has to be exempted.
    pub fn are_protected(&self) -> bool {
        self.0.is_some()
    }

    /// Neither bound nor connected.
    pub fn open(&self, domain: Domain, kind: Type) -> Result<Socket, SocketError> {
        let socket = Socket::new(domain, kind, None)?;
        if let Some(protect) = &self.0 {
            protect.protect(&socket).map_err(SocketError::NotProtected)?;
        }
        Ok(socket)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Counts what it is asked.
    #[derive(Debug, Default)]
    pub(crate) struct Counting {
        pub(crate) asked: AtomicUsize,
        pub(crate) refuses: AtomicBool,
    }

    impl Protect for Counting {
        fn protect(&self, socket: &Socket) -> Result<(), String> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let fresh = socket
                .local_addr()
                .is_ok_and(|address| address.as_socket().is_none_or(|address| address.port() == 0));
            assert!(fresh, "it was bound before");
            match self.refuses.load(Ordering::SeqCst) {
                true => Err("no".into()),
                false => Ok(()),
            }
        }
    }

    #[test]
    fn embedder_sees_each_socket_first_and_may_refuse_it() {
        let counting = Arc::new(Counting::default());
        let sockets = Sockets::protected_by(counting.clone());
        assert!(sockets.open(Domain::IPV4, Type::DGRAM).is_ok());
        counting.refuses.store(true, Ordering::SeqCst);
        let error = sockets.open(Domain::IPV4, Type::STREAM);
        assert!(matches!(error, Err(SocketError::NotProtected(reason)) if reason == "no"));
        assert_eq!(counting.asked.load(Ordering::SeqCst), 2);
        assert!(!Sockets::default().are_protected());
    }

    #[test]
    fn refusal_is_found_behind_other_errors() {
        let refused = || io::Error::from(SocketError::NotProtected("no".into()));
        assert_eq!(SocketError::refusal(&refused()), Some("no"));
        let outer = crate::udp::UdpError::Io(refused());
        assert_eq!(SocketError::refusal(&outer), Some("no"));
        assert_eq!(SocketError::refusal(&io::Error::other("x")), None);
    }
}
