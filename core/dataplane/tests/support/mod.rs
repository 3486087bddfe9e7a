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
    Duration, Instant, IpNet, RouterId, Snapshot,
    fib::Hop,
    identity::TunnelKey,
    relay::{self, HopKey, RelayKey},
    snapshot::{Activity, SessionHandle, TunnelHandle},
    tunnel::{
        MessageKind, Opened, SessionFactory, TunnelId, plain::PlainFactory, wireguard::WireGuardFactory,
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
    SessionPacket(RouterId, Vec<u8>),
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

    pub fn add_session(&mut self, peer: &Self) -> Arc<SessionHandle> {
        let index = 0x77_0000 + u32::from(peer.number);
        let session = self.factory.new_session(peer.key, index, self.now);
        let prefix = prefix(peer.number);
        let locator = relay::locator(&prefix).expect("a short prefix");
        let session = Arc::new(SessionHandle::new(
            router_id(peer.number),
            locator,
            &[prefix],
            session,
        ));
        Arc::make_mut(&mut self.snapshot.sessions).add(index, Arc::clone(&session));
        session
    }

    pub fn relay_key(&self, id: TunnelId, epoch: u8) -> RelayKey {
        let mut indices = self.snapshot.receivers.iter();
        let (index, _) = indices.find(|(_, t)| t.id() == id).expect("a tunnel");
        RelayKey {
            receiver: index << 8 | u32::from(epoch),
            key: HopKey([self.number as u8 ^ epoch ^ id.0 as u8; 16]),
        }
    }

    pub fn dropped(&self, reason: osier_dataplane::DropReason) -> u64 {
        let mut drops = self.forwarder.drops();
        drops.find(|(r, _)| *r == reason).map_or(0, |(_, count)| count)
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
                let key = self.factory.identify_initiation(datagram)?;
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
        Action::SessionPacket(origin, packet) => Done::SessionPacket(origin, packet.to_vec()),
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

/// Each end tells the other what it wants on relay frames.
pub fn share_relay_keys(a: &mut Router, at_a: TunnelId, b: &mut Router, at_b: TunnelId) {
    let (at_a, at_b) = ((&*a, at_a), (&*b, at_b));
    for ((receiver, of), (sender, from)) in [(at_a, at_b), (at_b, at_a)] {
        let key = receiver.relay_key(of, 1);
        receiver.tunnel(of).add_relay_key(key.clone());
        sender.tunnel(from).set_peer_relay_key(Some(key));
    }
}

/// An end-to-end session between two routers, with keys; nothing of it goes through the forwarders.
pub fn join_session(a: &mut Router, c: &mut Router) {
    let (at_a, at_c) = (a.add_session(c), c.add_session(a));
    let (mut first, mut second) = ([0; 256], [0; 256]);
    let nowhere = SocketAddr::from(([192, 0, 2, 200], 1));
    let initiation = at_a.session().initiate(a.now, &mut first).expect("an initiation");
    let Opened::Reply(response) = at_c.session().open(c.now, nowhere, initiation, &mut second) else {
        panic!("no response")
    };
    let Opened::Reply(keepalive) = at_a.session().open(a.now, nowhere, response, &mut first) else {
        panic!("no keepalive")
    };
    at_a.set_up(true);
    let (opened, activity) = at_c.open(c.now, nowhere, keepalive, &mut second);
    assert_eq!(opened, Opened::Packet(&[]));
    assert_eq!(activity, Some(Activity::SessionUp(router_id(a.number))));
}

/// A line a - r - c whose ends exchange relay frames.
pub fn relayed_line(engine: Engine) -> [Router; 3] {
    let [mut a, mut r, mut c] = [1, 9, 2].map(|number| Router::new(engine, number));
    let (a_to_r, r_to_a) = connect(&mut a, &mut r);
    share_relay_keys(&mut a, a_to_r, &mut r, r_to_a);
    let (r_to_c, c_to_r) = connect(&mut r, &mut c);
    share_relay_keys(&mut r, r_to_c, &mut c, c_to_r);
    for (router, via, origin) in [(&mut a, a_to_r, 2), (&mut c, c_to_r, 1)] {
        let origin_id = router_id(origin);
        let hop = Hop::Relayed {
            via,
            origin: origin_id,
        };
        router.snapshot.fib.insert(prefix(origin), hop);
        router.activities();
    }
    r.activities();
    [a, r, c]
}

pub fn router_id(number: u16) -> RouterId {
    RouterId([number as u8; 8])
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
