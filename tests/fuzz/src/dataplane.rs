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
    snapshot::TunnelHandle,
    tunnel::{Opened, Sealed, Session, SessionFactory as _, TunnelId, plain::PlainFactory},
};
use std::sync::Arc;

const START: Instant = Instant::from_micros(1_000_000);
/// We are node 1.
const NEIGHBOURS: [u8; 2] = [2, 3];

struct World {
    snapshot: Snapshot,
    /// The neighbours' ends of the tunnels.
    remote: Vec<Box<dyn Session>>,
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
        snapshot.add_tunnel(index, Arc::new(tunnel));
        snapshot.fib.insert(prefix(node), Hop::Tunnel(TunnelId(index)));
        remote.push(far);
    }
    snapshot.fib.insert(prefix(9), Hop::Unreachable);
    World { snapshot, remote }
}

/// What leaves must be well-formed, whatever came in.
fn check(action: &Action<'_>) -> bool {
    match action {
        Action::Send { remote, datagram } => {
            assert!(NEIGHBOURS.iter().any(|&node| socket(node) == *remote));
            assert!(!datagram.is_empty());
            true
        }
        Action::Deliver(packet) | Action::Probe(packet) | Action::ControlPacket(_, packet) => {
            assert!(Ipv6Packet::parse(packet).is_ok_and(|view| view.len() == packet.len()));
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

pub fn outgoing() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<_> = [
        ("udp", udp(address(1), address(2), 64)),
        ("ping", ping(address(1), address(3), 64)),
        ("error", error(address(2))),
        ("hops-used-up", udp(address(1), address(2), 1)),
        ("unreachable", udp(address(1), address(9), 64)),
        ("no-route", udp(address(1), address(8), 64)),
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
