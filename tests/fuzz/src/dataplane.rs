//! The packet path: a node with two neighbours, datagrams from one of them (or anybody), packets from its own
//! device. Sessions are plain ones, so that mutations reach what is inside.

use crate::{
    fixtures::{address, prefix, public},
    join, split,
};
use core::net::{Ipv6Addr, SocketAddr};
use osier_dataplane::{Action, Forwarder};
use osier_proto::{
    Duration, Instant, Snapshot,
    fib::Hop,
    packet::{
        Echo, IcmpError, IcmpHeader, Ipv6Packet, UdpHeader, build_echo_request, build_error, udp_packet,
    },
    relay::{self, HEADER, Header, HopKey, RelayKey},
    snapshot::{SessionHandle, TunnelHandle},
    tunnel::{MessageKind, Opened, Sealed, Session, SessionFactory as _, TunnelId, plain::PlainFactory},
};
use std::sync::Arc;

const START: Instant = Instant::from_micros(1_000_000);
/// We are node 1.
const NEIGHBOURS: [u8; 2] = [2, 3];
/// A node that only relays lead to.
const BEHIND: u8 = 6;

struct World {
    snapshot: Snapshot,
    /// The neighbours' ends of the tunnels.
    remote: Vec<Box<dyn Session>>,
    /// The other end of the session.
    behind: Box<dyn Session>,
}

fn socket(node: u8) -> SocketAddr {
    ([192, 0, 2, node], 6690).into()
}

fn world() -> World {
    let mut snapshot = Snapshot::new(address(1), vec![prefix(1)], crate::fixtures::network().prefix);
    snapshot.answers_echo = true;
    let ours = PlainFactory::new(public(1).1);
    let mut remote = Vec::new();
    let mut buffers = [[0; 512]; 2];
    for node in NEIGHBOURS {
        let index = u32::from(node);
        let session = ours.new_session(public(node).1, index, START);
        let far = PlainFactory::new(public(node).1).new_session(public(1).1, index, START);
        // Initiation, response, and the keepalive that confirms the keys.
        let [a, b] = &mut buffers;
        if let Some(initiation) = far.initiate(START, a)
            && let Opened::Reply(response) = session.open(START, socket(node), initiation, b)
            && let Opened::Reply(keepalive) = far.open(START, socket(1), response, a)
        {
            let _ = session.open(START, socket(node), keepalive, b);
        }
        let tunnel = TunnelHandle::new(TunnelId(index), session, Some(socket(node)));
        tunnel.set_sources(true, &[]);
        tunnel.set_open(true);
        tunnel.add_relay_key(relay_key(index));
        tunnel.set_peer_relay_key(Some(relay_key(index)));
        snapshot.add_tunnel(index, Arc::new(tunnel));
        snapshot.fib.insert(prefix(node), Hop::Tunnel(TunnelId(index)));
        remote.push(far);
    }
    snapshot.fib.insert(prefix(9), Hop::Unreachable);
    // Somebody behind the first neighbour, with whom we have a session.
    let (via, origin) = (TunnelId(NEIGHBOURS[0].into()), public(BEHIND).0.router_id());
    snapshot.fib.insert(prefix(BEHIND), Hop::Relayed { via, origin });
    let session = ours.new_session(public(BEHIND).1, BEHIND.into(), START);
    let far = PlainFactory::new(public(BEHIND).1).new_session(public(1).1, BEHIND.into(), START);
    let [a, b] = &mut buffers;
    if let Some(initiation) = far.initiate(START, a)
        && let Opened::Reply(response) = session.open(START, socket(2), initiation, b)
        && let Opened::Reply(keepalive) = far.open(START, socket(1), response, a)
    {
        let _ = session.open(START, socket(2), keepalive, b);
    }
    if let Some(locator) = relay::locator(&prefix(BEHIND)) {
        let handle = SessionHandle::new(origin, locator, &[prefix(BEHIND)], session);
        handle.set_up(true);
        Arc::make_mut(&mut snapshot.sessions).add(BEHIND.into(), Arc::new(handle));
    }
    World {
        snapshot,
        remote,
        behind: far,
    }
}

fn relay_key(index: u32) -> RelayKey {
    RelayKey {
        receiver: index << 8 | 1,
        key: HopKey([7; 16]),
    }
}

/// What leaves must be well-formed, whatever came in.
fn check(action: &Action<'_>) -> bool {
    match action {
        Action::Send { remote, datagram } => {
            assert!(NEIGHBOURS.iter().any(|&node| socket(node) == *remote));
            assert!(!datagram.is_empty());
            true
        }
        Action::Deliver(packet)
        | Action::Probe(packet)
        | Action::ControlPacket(_, packet)
        | Action::SessionPacket(_, packet) => {
            assert!(Ipv6Packet::parse(packet).is_ok_and(|view| view.len() == packet.len()));
            true
        }
        Action::SendInPlace { remote, span } => {
            assert!(NEIGHBOURS.iter().any(|&node| socket(node) == *remote));
            assert!(span.start == 0 && span.end >= relay::HEADER);
            true
        }
        Action::NeedsSession(packet) => {
            assert!(Ipv6Packet::parse(packet).is_ok_and(|view| view.len() == packet.len()));
            true
        }
        Action::RelayedHandshake(_, message) => {
            assert!(MessageKind::of(message).is_some());
            true
        }
        Action::ControlDatagram(_) | Action::Nothing => true,
        Action::Drop(_) => false,
    }
}

pub fn from_network(data: &[u8]) -> bool {
    let World { snapshot, .. } = world();
    let (mut forwarder, mut out, mut now) = (Forwarder::new(), vec![0; 0x1_0000], START);
    let mut accepted = false;
    for datagram in split(data) {
        now += Duration::from_millis(1);
        let mut datagram = datagram.to_vec();
        accepted |= check(&forwarder.from_network(&snapshot, socket(2), &mut datagram, &mut out, now));
        while forwarder.poll_activity().is_some() {}
    }
    accepted
}

pub fn from_tun(data: &[u8]) -> bool {
    let World { snapshot, .. } = world();
    let (mut forwarder, mut out, mut now) = (Forwarder::new(), vec![0; 0x1_0000], START);
    let mut accepted = false;
    for packet in split(data) {
        now += Duration::from_millis(1);
        let mut packet = packet.to_vec();
        accepted |= check(&forwarder.from_tun(&snapshot, &mut packet, &mut out, now));
        while forwarder.poll_activity().is_some() {}
    }
    accepted
}

fn udp(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let header = UdpHeader {
        source,
        destination,
        hop_limit,
        source_port: 5,
        destination_port: 6697,
    };
    udp_packet(&header, b"what people say to each other").unwrap_or_default()
}

fn ping(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let mut out = [0; 128];
    let header = IcmpHeader {
        source,
        destination,
        hop_limit,
    };
    let echo = Echo {
        identifier: 7,
        sequence: 1,
    };
    let length = build_echo_request(&header, echo, b"ping", &mut out).unwrap_or_default();
    out[..length].to_vec()
}

fn error(destination: Ipv6Addr) -> Vec<u8> {
    let mut out = [0; 256];
    let about = ping(destination, address(8), 1);
    let length = build_error(IcmpError::TimeExceeded, address(3), &about, &mut out).unwrap_or_default();
    out[..length].to_vec()
}

fn header_only() -> Vec<u8> {
    let mut packet = ping(address(2), address(1), 64);
    packet.truncate(osier_proto::packet::IPV6_HEADER);
    packet[4..6].fill(0);
    packet
}

/// Sealed by neighbour 2 in the very session that [`world`] makes.
pub fn datagrams() -> Vec<(String, Vec<u8>)> {
    let link_local = public(2).0.link_local();
    let inner = [
        ("for-us", udp(address(2), address(1), 64)),
        ("ping-for-us", ping(address(2), address(1), 64)),
        ("error-for-us", error(address(1))),
        ("relayed", udp(address(2), address(3), 64)),
        ("hops-used-up", udp(address(2), address(3), 1)),
        ("unreachable", udp(address(2), address(9), 64)),
        ("no-route", udp(address(2), address(8), 64)),
        ("link-local", udp(link_local, public(1).0.link_local(), 1)),
        ("babel", udp(link_local, osier_babel::MULTICAST, 1)),
        // ICMPv6 by its header, and nothing behind it.
        ("header-only", header_only()),
        ("keepalive", Vec::new()),
    ];
    let seal = |packets: &[&Vec<u8>]| {
        let World { remote, .. } = world();
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for packet in packets {
            let mut out = [0; 2048];
            if let Sealed::Datagram(datagram) = remote[0].seal(START, packet, &mut out) {
                datagrams.push(datagram.to_vec());
            }
        }
        join(datagrams.iter().map(Vec::as_slice))
    };
    let mut seeds: Vec<_> = inner
        .iter()
        .map(|(name, packet)| ((*name).to_owned(), seal(&[packet])))
        .collect();
    seeds.push((
        "all".into(),
        seal(&inner.iter().map(|(_, packet)| packet).collect::<Vec<_>>()),
    ));
    let mut out = [0; 512];
    let stranger = PlainFactory::new(public(7).1).new_session(public(1).1, 7, START);
    seeds.extend(
        stranger
            .initiate(START, &mut out)
            .map(|initiation| ("initiation".into(), join([initiation]))),
    );
    seeds
}

/// A relay frame as neighbour 2 would send it.
fn frame(counter: u64, hop_limit: u8, destination: u8, message: &[u8]) -> Vec<u8> {
    frame_as(counter, hop_limit, destination, message, false)
}

fn frame_as(counter: u64, hop_limit: u8, destination: u8, message: &[u8], whole: bool) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame.extend_from_slice(message);
    let key = relay_key(NEIGHBOURS[0].into());
    let header = Header {
        target: relay::Target {
            hop_limit,
            locator: relay::locator(&prefix(destination)).unwrap_or_default(),
            whole,
        },
        receiver: key.receiver,
        counter,
    };
    header.write(&mut frame, &key.key);
    frame
}

/// For the relay frame's own target: frames for us and for others, and what may be in them.
pub fn frames() -> Vec<(String, Vec<u8>)> {
    let sealed = |packet: &[u8]| {
        let mut out = [0; 2048];
        match world().behind.seal(START, packet, &mut out) {
            Sealed::Datagram(message) => message.to_vec(),
            Sealed::Handshake(_) | Sealed::Nothing => Vec::new(),
        }
    };
    let mut out = [0; 512];
    let handshake = PlainFactory::new(public(BEHIND).1)
        .new_session(public(1).1, 9, START)
        .initiate(START, &mut out)
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    let for_us = sealed(&udp(address(BEHIND), address(1), 64));
    let inner = frame(0, 64, 1, &for_us);
    let behind = public(BEHIND).0.link_local();
    let frames = [
        ("for-us", frame(0, 64, 1, &for_us)),
        (
            "ping-for-us",
            frame(0, 64, 1, &sealed(&ping(address(BEHIND), address(1), 64))),
        ),
        ("keepalive", frame(0, 64, 1, &sealed(&[]))),
        ("handshake", frame(0, 64, 1, &handshake)),
        ("passed-on", frame(5000, 64, 3, &for_us)),
        ("back-where-it-came-from", frame(0, 2, 2, &for_us)),
        ("hops-used-up", frame(0, 1, 3, &for_us)),
        ("unreachable", frame(0, 64, 9, &for_us)),
        (
            "foreign-source",
            frame(0, 64, 1, &sealed(&udp(address(3), address(1), 64))),
        ),
        (
            "for-control",
            frame(0, 64, 1, &sealed(&udp(behind, public(1).0.link_local(), 1))),
        ),
        ("asks-for-its-size", frame_as(0, 64, 3, &for_us, true)),
        ("frame-in-frame", frame(0, 64, 1, &inner)),
    ];
    let mut seeds: Vec<_> = frames
        .iter()
        .map(|(name, frame)| ((*name).to_owned(), join([&frame[..]])))
        .collect();
    let newest = frame(3, 64, 3, &for_us);
    let all = [&newest, &newest, &frames[4].1, &frames[0].1];
    seeds.push(("replayed".into(), join(all.iter().map(|f| &f[..]))));
    seeds
}

pub fn outgoing() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<_> = [
        ("udp", udp(address(1), address(2), 64)),
        ("ping", ping(address(1), address(3), 64)),
        ("error", error(address(2))),
        ("hops-used-up", udp(address(1), address(2), 1)),
        ("unreachable", udp(address(1), address(9), 64)),
        ("no-route", udp(address(1), address(8), 64)),
        ("into-a-session", udp(address(1), address(BEHIND), 64)),
        ("foreign-source", udp(address(5), address(2), 64)),
        ("multicast", udp(address(1), osier_babel::MULTICAST, 1)),
    ]
    .into_iter()
    .map(|(name, packet)| (name.to_owned(), join([&packet[..]])))
    .collect();
    let header = UdpHeader {
        source: address(1),
        destination: address(2),
        hop_limit: 9,
        source_port: 1,
        destination_port: 2,
    };
    let big = udp_packet(&header, &[0; 1400]).unwrap_or_default();
    seeds.push(("too-big".into(), join([&big[..]])));
    seeds
}
