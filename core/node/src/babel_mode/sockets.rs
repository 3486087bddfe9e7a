//! One UDP socket per interface.
//!
//! A socket is bound to its interface, so the kernel sorts packets by link for us. What RFC 8966 section 4
//! demands of a packet is checked here: link-local source, the Babel port, hop limit 1, and to the group or to
//! our link-local address; the speaker sees nothing else. The loop that owns the speaker reads the sockets
//! itself: a packet is handled where the kernel put it, without a copy, a queue or a task between.

use super::Error;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use osier_babel::{Destination, InterfaceId, MULTICAST, PORT};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Network control (RFC 2474 section 4.2.2): routing should pass when data does not.
const CLASS_SELECTOR_6: u32 = 0xc0;
/// A full table comes as one burst of packets.
const RECEIVE_BUFFER: usize = 1 << 20;
/// No UDP payload is longer.
const LONGEST_PACKET: usize = 65_535;
/// A packet cannot have waited longer than this; else the wall clock was set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A packet that may be shown to the speaker.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) payload: &'a [u8],
    /// How long it waited in the socket.
    pub(super) age: Duration,
}

/// What reading a socket brought.
#[derive(Debug)]
pub(super) enum Received<'a> {
    Packet(Packet<'a>),
    /// A packet that RFC 8966 section 4 forbids, or a report about what became of one that we sent.
    Foreign,
    /// The socket is empty.
    Nothing,
    /// The socket does not work any more.
    Failed(io::Error),
}

/// Where packets are received: one for all ports.
#[derive(Debug)]
pub(super) struct Inbox {
    packet: Box<[u8]>,
    control: Vec<u8>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            packet: vec![0; LONGEST_PACKET].into_boxed_slice(),
            control: nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::timespec),
        }
    }
}

/// Speaks on one interface until dropped.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    index: u32,
    link_local: Ipv6Addr,
}

impl Port {
    /// Joins the group on interface `index`.
    pub(super) fn open(index: u32, name: &str, link_local: Ipv6Addr) -> Result<Self, Error> {
        let socket = bind(index)
            .and_then(|socket| UdpSocket::from_std(socket.into()))
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => Error::PortInUse {
                    interface: name.to_owned(),
                },
                io::ErrorKind::PermissionDenied => Error::Permission {
                    what: "open sockets on interfaces",
                },
                _ => Error::Socket {
                    interface: name.to_owned(),
                    source,
                },
            })?;
        Ok(Self {
            socket,
            index,
            link_local,
        })
    }

    pub(super) fn id(&self) -> InterfaceId {
        InterfaceId(self.index)
    }

    /// Whether [`Port::receive`] is worth a try; if not, the task is woken when it is.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error is reported by reading.
        self.socket.poll_recv_ready(context).map(drop)
    }

    /// Takes the oldest packet from the socket.
    pub(super) fn receive<'a>(&self, inbox: &'a mut Inbox) -> Received<'a> {
        let Inbox { packet, control } = inbox;
        let received = self
            .socket
            .try_io(Interest::READABLE, || receive(&self.socket, packet, control));
        match received {
            Ok(envelope) if envelope.is_for(self.index, self.link_local) => Received::Packet(Packet {
                source: envelope.source,
                destination: envelope.destination,
                payload: &packet[..envelope.length],
                age: envelope.age(),
            }),
            Ok(_) => Received::Foreign,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Received::Nothing,
                // What ICMPv6 says of our packets, and signals; each is consumed by being read.
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::Interrupted => Received::Foreign,
                _ => Received::Failed(error),
            },
        }
    }

    /// Sends now or never: Babel repeats what matters, and an old packet is worse than none.
    pub(super) fn send(&self, destination: Destination, payload: &[u8]) -> io::Result<()> {
        let address = match destination {
            Destination::Multicast => MULTICAST,
            Destination::Unicast(address) => address,
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(address, PORT, 0, self.index));
        // An interface can have several link-local addresses; neighbours know us by one.
        let from = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: self.link_local.octets(),
            },
            ipi6_ifindex: self.index,
        };
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv6PacketInfo(&from)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        )?;
        Ok(())
    }
}

fn bind(index: u32) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::IPV6,
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    socket.set_only_v6(true)?;
    socket.bind_device_by_index_v6(NonZeroU32::new(index))?;
    socket.set_unicast_hops_v6(1)?;
    socket.set_multicast_hops_v6(1)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_tclass_v6(CLASS_SELECTOR_6)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_recv_hoplimit_v6(true)?;
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    // Round trips are measured by when packets came, not by when we had time for them (RFC 9616).
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    socket.join_multicast_v6(&MULTICAST, index)?;
    Ok(socket)
}

/// What the kernel says about a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Envelope {
    length: usize,
    source: Ipv6Addr,
    source_port: u16,
    destination: Ipv6Addr,
    interface: u32,
    hop_limit: i32,
    /// When the kernel had it, by the wall clock since 1970.
    arrived: Option<Duration>,
}

impl Envelope {
    /// RFC 8966 section 4.
    fn is_for(&self, interface: u32, link_local: Ipv6Addr) -> bool {
        self.source.is_unicast_link_local()
            && self.source != link_local
            && self.source_port == PORT
            && self.hop_limit == 1
            && self.interface == interface
            && (self.destination == MULTICAST || self.destination == link_local)
    }

    /// How long it has waited.
    fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.arrived
            .and_then(|arrived| now.checked_sub(arrived))
            .filter(|age| *age < LONGEST_WAIT)
            .unwrap_or_default()
    }
}

fn receive(socket: &UdpSocket, packet: &mut [u8], control: &mut [u8]) -> io::Result<Envelope> {
    let mut parts = [IoSliceMut::new(packet)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let mut envelope = Envelope {
        length: message.bytes,
        source: Ipv6Addr::UNSPECIFIED,
        source_port: 0,
        destination: Ipv6Addr::UNSPECIFIED,
        interface: 0,
        hop_limit: 0,
        arrived: None,
    };
    if let Some(address) = message.address {
        envelope.source = address.ip();
        envelope.source_port = address.port();
    }
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                envelope.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                envelope.interface = info.ipi6_ifindex;
            }
            ControlMessageOwned::Ipv6HopLimit(limit) => envelope.hop_limit = limit,
            ControlMessageOwned::ScmTimestampns(time) => envelope.arrived = Some(Duration::from(time)),
            _ => {}
        }
    }
    Ok(envelope)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const THEIRS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    fn good() -> Envelope {
        Envelope {
            length: 4,
            source: THEIRS,
            source_port: PORT,
            destination: MULTICAST,
            interface: 3,
            hop_limit: 1,
            arrived: None,
        }
    }

    #[test]
    fn multicast_and_unicast_of_a_neighbour_pass() {
        assert!(good().is_for(3, OURS));
        assert!(
            Envelope {
                destination: OURS,
                ..good()
            }
            .is_for(3, OURS)
        );
    }

    #[test]
    fn whatever_may_come_from_elsewhere_is_dropped() {
        let global: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let foreign = [
            Envelope {
                source: global,
                ..good()
            },
            Envelope {
                source: OURS,
                ..good()
            },
            Envelope {
                source_port: PORT + 1,
                ..good()
            },
            Envelope {
                destination: global,
                ..good()
            },
            Envelope {
                destination: "ff02::1".parse().unwrap(),
                ..good()
            },
            Envelope {
                interface: 4,
                ..good()
            },
            Envelope {
                hop_limit: 64,
                ..good()
            },
            Envelope {
                hop_limit: 0,
                ..good()
            },
        ];
        for envelope in foreign {
            assert!(!envelope.is_for(3, OURS), "{envelope:?}");
        }
    }

    #[test]
    fn a_wait_is_told_unless_the_wall_clock_was_set() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = |arrived| Envelope { arrived, ..good() }.age();
        assert_eq!(age(None), Duration::ZERO);
        let waited = age(Some(now - Duration::from_millis(300)));
        assert!((300..9000).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(age(Some(now + Duration::from_secs(3600))), Duration::ZERO);
        assert_eq!(age(Some(now - Duration::from_secs(3600))), Duration::ZERO);
    }
}
