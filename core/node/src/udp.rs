//! The node's one UDP socket: IPv6 and IPv4 on the same port.
//!
//! It is shared by the packet threads and the control task, all of which send without waiting. Packets may be
//! fragmented on the way (no DF): inner packets of 1280 octets then pass on every path, and nothing depends
//! on ICMP. Only what asks for the path's MTU may not ([`Udp::try_send_whole`]). Addresses are IPv4 or IPv6 proper
//! outside this module, never IPv4 inside IPv6.

use crate::{
    sockets::{SocketError, Sockets},
    system::{self, Readable, SocketWatch},
};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

/// The port of a node unless told otherwise: outside the range that systems hand out by themselves.
pub const DEFAULT_PORT: u16 = 16697;
/// Ports above the default one that are tried before any free one is taken, so that restarts tend to find the
/// same.
const NEARBY: u16 = 8;
/// What we ask the kernel to buffer, each way; it may give less. It is charged as used, not when idle.
const KERNEL_BUFFER: usize = 4 << 20;
/// How long a packet thread waits for a full socket.
const SEND_WAIT: Duration = Duration::from_millis(1);

#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    #[error(
        "UDP port {0} is in use: stop the program that has it, or choose another with --port or `port` in settings.toml"
    )]
    InUse(u16),
    #[error("no permission to use UDP port {0}: choose one above 1023")]
    Privileged(u16),
    #[error("the system does not let the UDP socket past the VPN: {0}")]
    NotProtected(String),
    #[error("cannot open a UDP socket: {0}")]
    Io(#[from] io::Error),
}

/// Which port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// This one or none.
    Exactly(u16),
    /// The default one, or another when it is taken.
    Default,
}

#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    watch: SocketWatch,
    /// IPv4 destinations are written as IPv6.
    dual_stack: bool,
    port: u16,
    /// The system cuts a train into datagrams.
    segments: bool,
}

impl Udp {
    pub fn bind(choice: PortChoice) -> Result<Self, UdpError> {
        Self::bind_with(choice, &Sockets::default())
    }

    /// With a socket from `sockets`.
    pub fn bind_with(choice: PortChoice, sockets: &Sockets) -> Result<Self, UdpError> {
        match choice {
            PortChoice::Exactly(port) => Self::bind_port(port, sockets),
            PortChoice::Default => {
                for port in DEFAULT_PORT..=DEFAULT_PORT + NEARBY {
                    match Self::bind_port(port, sockets) {
                        Err(UdpError::InUse(_)) => {}
                        other => return other,
                    }
                }
                Self::bind_port(0, sockets)
            }
        }
    }

    fn bind_port(port: u16, sockets: &Sockets) -> Result<Self, UdpError> {
        let open = |dual_stack| open(port, dual_stack, sockets);
        let (socket, dual_stack) = match open(true) {
            Ok(socket) => (socket, true),
            Err(error) if is_final(&error) => return Err(explain(error, port)),
            // A system without IPv6.
            Err(_) => (open(false).map_err(|e| explain(e, port))?, false),
        };
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        system::allow_fragments(&socket, dual_stack);
        let watch = SocketWatch::new(&socket)?;
        // More than the system allows is quietly cut; less than asked is no failure.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let port = socket.local_addr()?.port();
        let segments = system::sends_segments(&socket);
        Ok(Self {
            socket,
            state,
            watch,
            dual_stack,
            port,
            segments,
        })
    }

    /// Datagrams go and come one by one from now on.
    #[must_use]
    pub fn without_offload(mut self) -> Self {
        self.segments = false;
        system::receive_singly(&self.socket);
        self
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the socket speaks IPv6 as well as IPv4.
    pub fn has_ipv6(&self) -> bool {
        self.dual_stack
    }

    /// Reads what has arrived, without waiting. Each buffer holds one or more datagrams of one sender, see
    /// [`RecvMeta::stride`].
    pub fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let count = self.state.recv(UdpSockRef::from(&self.socket), buffers, meta)?;
        for meta in &mut meta[..count] {
            meta.addr = proper(meta.addr);
        }
        Ok(count)
    }

    /// The address as the socket wants it.
    fn destination(&self, remote: SocketAddr) -> io::Result<SocketAddr> {
        match remote {
            SocketAddr::V4(v4) if self.dual_stack => Ok(SocketAddr::V6(SocketAddrV6::new(
                v4.ip().to_ipv6_mapped(),
                v4.port(),
                0,
                0,
            ))),
            SocketAddr::V6(_) if !self.dual_stack => Err(io::ErrorKind::NetworkUnreachable.into()),
            other => Ok(other),
        }
    }

    /// Sends one datagram without waiting.
    pub fn try_send(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.destination(remote)?,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: None,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Sends one datagram that is not to be fragmented, here or on the way, whatever the system believes about the
    /// path. For control alone: what packet threads send in the same microseconds cannot be fragmented either, so this
    /// is to be rare.
    pub fn try_send_whole(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        system::forbid_fragments(&self.socket, self.dual_stack);
        let sent = self.try_send(remote, datagram);
        system::allow_fragments(&self.socket, self.dual_stack);
        sent
    }

    /// Sends one datagram; waits up to a millisecond for a full socket.
    pub fn send(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match self.try_send(remote, datagram) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                system::wait_writable(&self.socket, SEND_WAIT)?;
                self.try_send(remote, datagram)
            }
            other => other,
        }
    }

    /// Whether [`Self::send_train`] can work at all.
    pub fn sends_trains(&self) -> bool {
        self.segments
    }

    /// Sends `contents` as datagrams of `size` octets each, the last of which may be shorter: all or none of them.
    /// Waits up to a millisecond for a full socket.
    ///
    /// # Errors
    /// When [`refuses_train`] says so of the error, they may still go one by one.
    pub fn send_train(&self, remote: SocketAddr, contents: &[u8], size: u16) -> io::Result<()> {
        let destination = self.destination(remote)?;
        match system::send_segments(&self.socket, destination, contents, size) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                system::wait_writable(&self.socket, SEND_WAIT)?;
                system::send_segments(&self.socket, destination, contents, size)
            }
            other => other,
        }
    }

    /// Says when [`Self::receive`] has something.
    pub fn readable(&self) -> Readable<'_> {
        self.watch.readable(&self.socket)
    }
}

/// Whether what [`Udp::send_train`] failed by concerns segmentation: the path has no room for one datagram without
/// fragments, or the device cannot do it.
pub fn refuses_train(error: &io::Error) -> bool {
    system::refuses_segments(error)
}

/// Whether a datagram was not sent because it is larger than the system lets pass.
pub fn is_too_large(error: &io::Error) -> bool {
    system::is_too_large(error)
}

fn open(port: u16, dual_stack: bool, sockets: &Sockets) -> Result<Socket, SocketError> {
    let (domain, address) = if dual_stack {
        (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED))
    } else {
        (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED))
    };
    let socket = sockets.open(domain, Type::DGRAM)?;
    if dual_stack {
        socket.set_only_v6(false)?;
    }
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket)
}

/// Whether IPv4 alone would fail in the same way.
fn is_final(error: &SocketError) -> bool {
    match error {
        SocketError::NotProtected(_) => true,
        SocketError::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
        ),
    }
}

fn explain(error: SocketError, port: u16) -> UdpError {
    match error {
        SocketError::NotProtected(reason) => UdpError::NotProtected(reason),
        SocketError::Io(error) => match error.kind() {
            io::ErrorKind::AddrInUse => UdpError::InUse(port),
            io::ErrorKind::PermissionDenied => UdpError::Privileged(port),
            _ => UdpError::Io(error),
        },
    }
}

/// IPv4 inside IPv6 as IPv4.
fn proper(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            // The flow label says nothing about who it is; the scope is needed for link-local senders.
            None => SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id())),
        },
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::system::Wake;
    #[cfg(target_os = "linux")]
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};

    fn receive_one(udp: &Udp) -> (SocketAddr, Vec<u8>) {
        let mut buffer = [0; 2000];
        let mut meta = [RecvMeta::default()];
        assert!(system::wait(udp.readable(), &Wake::new().unwrap(), true));
        assert_eq!(
            udp.receive(&mut [IoSliceMut::new(&mut buffer)], &mut meta)
                .unwrap(),
            1
        );
        (meta[0].addr, buffer[..meta[0].len].to_vec())
    }

    #[test]
    fn one_socket_serves_both_families_with_proper_addresses() {
        let udp = Udp::bind(PortChoice::Exactly(0)).unwrap();
        let mut locals = vec!["127.0.0.1:0"];
        if udp.has_ipv6() && UdpSocket::bind("[::1]:0").is_ok() {
            locals.push("[::1]:0");
        }
        for local in locals {
            let other = UdpSocket::bind(local).unwrap();
            let here = SocketAddr::new(other.local_addr().unwrap().ip(), udp.port());
            other.send_to(b"ping", here).unwrap();
            let (from, data) = receive_one(&udp);
            assert_eq!((from, &data[..]), (other.local_addr().unwrap(), &b"ping"[..]));
            udp.send(from, b"pong").unwrap();
            let mut buffer = [0; 10];
            let (length, from) = other.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"pong"[..], here));
        }
    }

    #[test]
    fn taken_port_is_named() {
        let first = Udp::bind(PortChoice::Exactly(0)).unwrap();
        let error = Udp::bind(PortChoice::Exactly(first.port())).unwrap_err();
        assert!(matches!(error, UdpError::InUse(port) if port == first.port()));
        assert!(error.to_string().contains(&first.port().to_string()));
    }

    #[test]
    fn socket_that_the_embedder_refuses_is_not_used() {
        use crate::sockets::tests::Counting;
        use std::sync::{Arc, atomic::Ordering};
        let counting = Arc::new(Counting::default());
        let sockets = Sockets::protected_by(counting.clone());
        Udp::bind_with(PortChoice::Exactly(0), &sockets).unwrap();
        assert!(counting.asked.load(Ordering::SeqCst) > 0);
        counting.refuses.store(true, Ordering::SeqCst);
        let error = Udp::bind_with(PortChoice::Default, &sockets).unwrap_err();
        assert!(matches!(error, UdpError::NotProtected(_)), "{error}");
    }

    #[test]
    fn default_port_gives_way() {
        let first = Udp::bind(PortChoice::Default).unwrap();
        let second = Udp::bind(PortChoice::Default).unwrap();
        assert_ne!(first.port(), second.port());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn packets_may_be_fragmented() {
        let udp = Udp::bind(PortChoice::Exactly(0)).unwrap();
        assert_eq!(
            sockopt::ip_mtu_discover(&udp.socket).unwrap(),
            Ipv4PathMtuDiscovery::DONT
        );
        if udp.has_ipv6() {
            assert_eq!(
                sockopt::ipv6_mtu_discover(&udp.socket).unwrap(),
                Ipv6PathMtuDiscovery::DONT
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whole_datagrams_go_out_and_leave_the_socket_as_it_was() {
        let udp = Udp::bind(PortChoice::Exactly(0)).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.try_send_whole(other.local_addr().unwrap(), b"whole").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(other.recv_from(&mut buffer).unwrap().0, 5);
        assert_eq!(
            sockopt::ip_mtu_discover(&udp.socket).unwrap(),
            Ipv4PathMtuDiscovery::DONT
        );
    }

    #[test]
    fn empty_socket_does_not_wait() {
        let udp = Udp::bind(PortChoice::Exactly(0)).unwrap();
        let mut buffer = [0; 100];
        let error = udp
            .receive(&mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()])
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
