//! Routers made of a snapshot and a forwarder, joined by real handshakes. Every scenario runs with both engines.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code, shared by binaries that each use a part"
)]

use core::net::{Ipv6Addr, SocketAddr};
use osier_dataplane::{Action, Forwarder};
use osier_proto::{
    Duration, Instant, IpNet, Snapshot,
    fib::Hop,
    identity::TunnelKey,
    snapshot::{Activity, TunnelHandle},
    tunnel::{
        Initiation, MessageKind, Opened, SessionFactory, TunnelId, plain::PlainFactory,
        wireguard::WireGuardFactory,
    },
};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    Plain,
    WireGuard,
}

pub const ENGINES: [Engine; 2] = [Engine::Plain, Engine::WireGuard];

pub struct Router {
    pub number: u16,
    pub snapshot: Snapshot,
    pub forwarder: Forwarder,
    pub factory: Box<dyn SessionFactory>,
    pub key: TunnelKey,
    pub socket: SocketAddr,
    pub now: Instant,
    next_index: u32,
}

/// What became of a packet or datagram, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Send(SocketAddr, Vec<u8>),
    /// A relay frame that was changed where it is.
    InPlace(SocketAddr, Vec<u8>),
    NeedsSession(Vec<u8>),
    Handshake(TunnelId, Vec<u8>),
    Deliver(Vec<u8>),
    ControlDatagram(Vec<u8>),
    ControlPacket(TunnelId, Vec<u8>),
    Probe(Vec<u8>),
    Drop(osier_dataplane::DropReason),
    Nothing,
}

impl Router {
    pub fn new(engine: Engine, number: u16) -> Self {
        let secret = [number as u8 + 1; 32];
        let wireguard = WireGuardFactory::new(&secret);
        let key = wireguard.public_key();
        let factory: Box<dyn SessionFactory> = match engine {
            Engine::Plain => Box::new(PlainFactory::new(key)),
            Engine::WireGuard => Box::new(wireguard),
        };
        let prefix = prefix(number);
        Self {
            number,
            snapshot: Snapshot::new(address(number), vec![prefix], "fd00::/48".parse().unwrap()),
            forwarder: Forwarder::new(),
            factory,
            key,
            socket: SocketAddr::new([192, 0, 2, number as u8].into(), 6000),
            now: Instant::from_micros(5_000_000),
            next_index: 0x10_0000 * u32::from(number) + 1,
        }
    }

    pub fn add_tunnel(&mut self, peer: TunnelKey, endpoint: SocketAddr) -> TunnelId {
        let index = self.next_index;
        self.next_index += 1;
        let id = TunnelId(self.snapshot.tunnels.len() as u32 + 1);
        let session = self.factory.new_session(peer, index, self.now);
        self.snapshot
            .add_tunnel(index, Arc::new(TunnelHandle::new(id, session, Some(endpoint))));
        id
    }

    pub fn tunnel(&self, id: TunnelId) -> &TunnelHandle {
        &self.snapshot.tunnels[&id]
    }

    pub fn route(&mut self, prefix: &str, hop: Hop) {
        self.snapshot.fib.insert(prefix.parse().unwrap(), hop);
    }

    pub fn receive(&mut self, source: SocketAddr, datagram: &[u8]) -> Done {
        let mut datagram = datagram.to_vec();
        let mut out = vec![0; 65_535];
        let action = self
            .forwarder
            .from_network(&self.snapshot, source, &mut datagram, &mut out, self.now);
        match action {
            Action::SendInPlace { remote, span } => Done::InPlace(remote, datagram[span].to_vec()),
            other => own(other),
        }
    }

    pub fn send(&mut self, packet: &[u8]) -> Done {
        let mut packet = packet.to_vec();
        let mut out = vec![0; 65_535];
        own(self
            .forwarder
            .from_tun(&self.snapshot, &mut packet, &mut out, self.now))
    }

    pub fn activities(&mut self) -> Vec<Activity> {
        core::iter::from_fn(|| self.forwarder.poll_activity()).collect()
    }

    /// What control does with a handshake message: for a stranger, a new tunnel.
    pub fn control(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; 65_535];
        let kind = MessageKind::of(datagram).expect("a WireGuard message");
        let tunnel = match kind.session_index() {
            Some(index) => Arc::clone(self.snapshot.receivers.get(&index)?),
            None => {
                let key = match self
                    .factory
                    .identify_initiation(self.now, source, datagram, &mut out)
                {
                    Initiation::From(key) => key,
                    Initiation::Cookie(cookie) => return Some(cookie.to_vec()),
                    Initiation::Rejected => return None,
                };
                let id = self.add_tunnel(key, source);
                Arc::clone(&self.snapshot.tunnels[&id])
            }
        };
        match tunnel.session().open(self.now, source, datagram, &mut out) {
            Opened::Reply(reply) => Some(reply.to_vec()),
            _ => None,
        }
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Opens the tunnel with the neighbour as a relay.
    pub fn open(&mut self, id: TunnelId) {
        self.tunnel(id).set_sources(true, &[]);
        self.tunnel(id).set_open(true);
    }
}

fn own(action: Action<'_>) -> Done {
    match action {
        Action::Send { remote, datagram } => Done::Send(remote, datagram.to_vec()),
        Action::SendInPlace { .. } => panic!("nothing was received"),
        Action::NeedsSession(packet) => Done::NeedsSession(packet.to_vec()),
        Action::RelayedHandshake(tunnel, message) => Done::Handshake(tunnel, message.to_vec()),
        Action::Deliver(packet) => Done::Deliver(packet.to_vec()),
        Action::ControlDatagram(datagram) => Done::ControlDatagram(datagram.to_vec()),
        Action::ControlPacket(tunnel, packet) => Done::ControlPacket(tunnel, packet.to_vec()),
        Action::Probe(packet) => Done::Probe(packet.to_vec()),
        Action::Drop(reason) => Done::Drop(reason),
        Action::Nothing => Done::Nothing,
    }
}

impl Done {
    #[track_caller]
    pub fn datagram(self) -> Vec<u8> {
        match self {
            Self::Send(_, datagram) | Self::InPlace(_, datagram) => datagram,
            other => panic!("expected a datagram to send, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn delivered(self) -> Vec<u8> {
        match self {
            Self::Deliver(packet) => packet,
            other => panic!("expected a packet to deliver, got {other:?}"),
        }
    }
}

/// A handshake begun by `a`; both ends open their tunnel and route the other's prefix over it.
pub fn connect(a: &mut Router, b: &mut Router) -> (TunnelId, TunnelId) {
    let (at_a, at_b) = handshake(a, b);
    a.open(at_a);
    b.open(at_b);
    a.snapshot.fib.insert(prefix(b.number), Hop::Tunnel(at_a));
    b.snapshot.fib.insert(prefix(a.number), Hop::Tunnel(at_b));
    (at_a, at_b)
}

/// A handshake begun by `a`, through the forwarders and the control stand-ins of both.
pub fn handshake(a: &mut Router, b: &mut Router) -> (TunnelId, TunnelId) {
    let at_a = a.add_tunnel(b.key, b.socket);
    let mut buffer = [0; 200];
    let initiation = a
        .tunnel(at_a)
        .session()
        .initiate(a.now, &mut buffer)
        .expect("an initiation")
        .to_vec();
    let Done::ControlDatagram(initiation) = b.receive(a.socket, &initiation) else {
        panic!("not for control")
    };
    let response = b.control(a.socket, &initiation).expect("a response");
    let Done::ControlDatagram(response) = a.receive(b.socket, &response) else {
        panic!("not for control")
    };
    let keepalive = a.control(b.socket, &response).expect("a keepalive");
    assert_eq!(b.receive(a.socket, &keepalive), Done::Nothing);
    let at_b = *b
        .snapshot
        .tunnels
        .last_key_value()
        .expect("the tunnel just made")
        .0;
    assert_eq!(b.activities(), [Activity::Heard(at_b)]);
    (at_a, at_b)
}

pub fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, number, 0, 0, 0, 1)
}

pub fn prefix(number: u16) -> IpNet {
    format!("fd00:0:0:{number:x}::/64").parse().unwrap()
}

pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A packet of a protocol that nobody looks into.
pub fn data(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> Vec<u8> {
    ipv6(source, destination, 59, 64, &vec![0xaa; length - 40])
}

/// An echo request whose payload begins with `payload`.
pub fn echo(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let message = [&[128, 0, 0, 0, 0, 1, 0, 2], payload].concat();
    let mut packet = ipv6(source, destination, 58, hop_limit, &message);
    let sum = checksum(&packet);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// ICMPv6 checksum, written independently of the crate's: zero over a correct packet.
pub fn checksum(packet: &[u8]) -> u16 {
    let mut pseudo = packet[8..40].to_vec();
    pseudo.extend((packet.len() as u32 - 40).to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    pseudo.extend(&packet[40..]);
    if pseudo.len() % 2 == 1 {
        pseudo.push(0);
    }
    let sum = pseudo.chunks(2).fold(0u32, |sum, pair| {
        let sum = sum + u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        (sum & 0xffff) + (sum >> 16)
    });
    !(sum as u16)
}

pub fn source_of(packet: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(<[u8; 16]>::try_from(&packet[8..24]).unwrap())
}

pub fn destination_of(packet: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(<[u8; 16]>::try_from(&packet[24..40]).unwrap())
}
