//! One UDP socket per interface.
//!
//! A socket is bound to its interface, so the kernel sorts packets by link for us. What RFC 8966 section 4
//! demands of a packet is checked here: link-local source, the Babel port, hop limit 1, and to the group or to
//! our link-local address; the speaker sees nothing else.

use super::Error;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use osier_babel::{Destination, Instant, InterfaceId, MULTICAST, PORT};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Network control (RFC 2474 section 4.2.2): routing should pass when data does not.
const CLASS_SELECTOR_6: u32 = 0xc0;
/// A full table comes as one burst of packets.
const RECEIVE_BUFFER: usize = 1 << 20;
/// No UDP payload is longer.
const LONGEST_PACKET: usize = 65_535;

/// A packet that may be shown to the speaker.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) interface: InterfaceId,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) payload: Vec<u8>,
    pub(super) received: Instant,
}

/// Packets that did not pass, over all sockets.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) foreign: AtomicU64,
    pub(super) unsent: AtomicU64,
}

/// Speaks on one interface until dropped.
#[derive(Debug)]
pub(super) struct Port {
    socket: Arc<UdpSocket>,
    index: u32,
    link_local: Ipv6Addr,
    drops: Arc<Drops>,
    reader: JoinHandle<()>,
}

impl Port {
    /// Joins the group on interface `index` and hands its packets to `packets`. `clock` tells when they came.
    pub(super) fn open(
        index: u32,
        name: &str,
        link_local: Ipv6Addr,
        packets: mpsc::Sender<Packet>,
        drops: Arc<Drops>,
        clock: impl Fn() -> Instant + Send + 'static,
    ) -> Result<Self, Error> {
        let socket = bind(index)
            .and_then(|socket| UdpSocket::from_std(socket.into()))
            .map(Arc::new)
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
        let reader = tokio::spawn(read(
            Reader {
                socket: socket.clone(),
                index,
                link_local,
                drops: drops.clone(),
            },
            packets,
            clock,
        ));
        Ok(Self {
            socket,
            index,
            link_local,
            drops,
            reader,
        })
    }

    /// Sends now or never: Babel repeats what matters, and an old packet is worse than none.
    pub(super) fn send(&self, destination: Destination, payload: &[u8]) {
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
        let sent = sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv6PacketInfo(&from)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        );
        if let Err(error) = sent {
            self.drops.unsent.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(interface = self.index, %address, "packet not sent: {error}");
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.reader.abort();
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
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    socket.join_multicast_v6(&MULTICAST, index)?;
    Ok(socket)
}

struct Reader {
    socket: Arc<UdpSocket>,
    index: u32,
    link_local: Ipv6Addr,
    drops: Arc<Drops>,
}

/// Reads until the interface vanishes or nobody listens any more.
async fn read(reader: Reader, packets: mpsc::Sender<Packet>, clock: impl Fn() -> Instant) {
    let mut buffer = vec![0; LONGEST_PACKET];
    loop {
        let received = reader
            .socket
            .async_io(Interest::READABLE, || receive(&reader.socket, &mut buffer))
            .await;
        match received {
            Ok(envelope) if envelope.is_for(reader.index, reader.link_local) => {
                let packet = Packet {
                    interface: InterfaceId(reader.index),
                    source: envelope.source,
                    destination: envelope.destination,
                    payload: buffer[..envelope.length].to_vec(),
                    received: clock(),
                };
                // Waiting here fills the socket's buffer, and the kernel then drops for us.
                if packets.send(packet).await.is_err() {
                    return;
                }
            }
            Ok(_) => {
                reader.drops.foreign.fetch_add(1, Ordering::Relaxed);
            }
            // An ICMPv6 error about something we sent. It has been consumed, so this is no busy loop.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                // The notification that the interface is down or gone comes by netlink.
                tracing::debug!(interface = reader.index, "cannot receive: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
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
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Envelope> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let mut envelope = Envelope {
        length: message.bytes,
        source: Ipv6Addr::UNSPECIFIED,
        source_port: 0,
        destination: Ipv6Addr::UNSPECIFIED,
        interface: 0,
        hop_limit: 0,
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
}
