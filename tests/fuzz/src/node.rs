//! The whole overlay node behind its packet path: what strangers and accepted neighbours send. Sessions are plain
//! ones and checksums inside are put right, so that mutations reach the handshake, the link protocol and Babel.

use crate::{
    fixtures::{NOW, bundle, certificate, keys, network, prefix, public},
    formats, join, split,
};
use core::net::{Ipv6Addr, SocketAddr};
use osier_dataplane::{Action, Forwarder};
use osier_proto::{
    Duration, Instant, Node, Snapshot,
    fib::Hop,
    node::{Config, Engine, Event, MeshParameters},
    packet::{Ipv6Packet, UDP, UdpHeader, build_udp, checksum},
    tunnel::TunnelId,
};
use std::sync::{Arc, OnceLock};

const START: Instant = Instant::from_micros(1_000_000);
const TICK: Duration = Duration::from_millis(10);
/// Most ticks that the first octet of a packet can say.
const MAX_TICKS: u8 = 63;

/// A node with its packet path.
struct Host {
    node: Node,
    forwarder: Forwarder,
    snapshot: Arc<Snapshot>,
    now: Instant,
    out: Vec<u8>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
    neighbours_up: usize,
    /// Tunnel of the last packet that went to control.
    tunnel: Option<TunnelId>,
}

fn socket(node: u8) -> SocketAddr {
    ([192, 0, 2, node], 6690).into()
}

/// Nodes 1 and 2 know each other's part of this; nodes 3 to 5 never answer.
fn host(number: u8) -> Host {
    static KNOWN: OnceLock<Vec<osier_proto::record::Bundle>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| (1..=5).map(|node| bundle(node, 2)).collect());
    let bundles = if number == 1 { &known[2..4] } else { &known[..1] };
    let config = Config {
        keys: Arc::new(keys(number)),
        certificate: certificate(number),
        network: network(),
        revocations: None,
        bundles: bundles.to_vec(),
        mesh: MeshParameters::default(),
        engine: Engine::Plain,
        seqno: 1,
        wall_clock: NOW,
        record_sequence: 1,
    };
    #[allow(clippy::expect_used, reason = "keys and certificate belong together")]
    let mut node = Node::new(config, [number; 32], START).expect("a node");
    node.handle_network_change(vec![socket(number)], START);
    let mut host = Host {
        node,
        forwarder: Forwarder::new(),
        snapshot: Arc::new(Snapshot::new(Ipv6Addr::UNSPECIFIED, Vec::new(), network().prefix)),
        now: START,
        out: vec![0; 0x1_0000],
        sent: Vec::new(),
        neighbours_up: 0,
        tunnel: None,
    };
    host.drain();
    host
}

impl Host {
    /// Takes what the node wants done and checks that it is sane.
    fn drain(&mut self) {
        if let Some(snapshot) = self.node.poll_fib_change() {
            check_table(&snapshot);
            self.snapshot = snapshot;
        }
        while let Some(transmit) = self.node.poll_transmit() {
            assert!(!transmit.datagram.is_empty() && transmit.datagram.len() <= 1500);
            self.sent.push((transmit.remote, transmit.datagram));
        }
        while let Some(mut packet) = self.node.poll_packet() {
            let _ = self
                .forwarder
                .from_tun(&self.snapshot, &mut packet, &mut self.out, self.now);
        }
        while self.node.poll_request().is_some() {}
        while let Some(event) = self.node.poll_event() {
            self.neighbours_up += usize::from(matches!(event, Event::NeighbourUp { .. }));
        }
    }

    /// Fires what is due. Fails if the node's timers spin.
    fn run_until(&mut self, until: Instant) {
        for _ in 0..10_000 {
            match self.node.poll_timeout() {
                Some((due, _)) if due <= until => {
                    self.now = self.now.max(due);
                    self.node.handle_timeout(self.now);
                    self.drain();
                }
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the node's timers spin: {:?}", self.node.poll_timeout());
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let action =
            self.forwarder
                .from_network(&self.snapshot, source, &mut datagram, &mut self.out, self.now);
        match action {
            Action::ControlDatagram(datagram) => self.node.handle_datagram(source, datagram, self.now),
            Action::ControlPacket(tunnel, packet) => {
                let mut packet = packet.to_vec();
                put_checksum_right(&mut packet);
                self.tunnel = Some(tunnel);
                self.node.handle_tunnel_packet(tunnel, &packet, self.now);
            }
            Action::Probe(packet) => self.node.handle_probe_packet(packet, self.now),
            Action::NeedsSession(packet) => self.node.handle_unsent_packet(packet, self.now),
            Action::SessionPacket(origin, packet) => {
                self.node.handle_session_packet(origin, packet, self.now)
            }
            Action::RelayedHandshake(tunnel, message) => {
                self.node.handle_relayed_handshake(tunnel, message, self.now);
            }
            Action::Send { .. }
            | Action::SendInPlace { .. }
            | Action::Deliver(_)
            | Action::Drop(_)
            | Action::Nothing => (),
        }
        while let Some(activity) = self.forwarder.poll_activity() {
            self.node.handle_activity(activity, self.now);
        }
        self.drain();
    }

    /// Views must not fail in any state.
    fn look(&self) {
        let _ = (
            self.node.status(self.now),
            self.node.peers(self.now),
            self.node.routes(),
        );
        let _ = (self.node.bundles(), self.node.revocations());
    }
}

/// Nobody can make us send traffic for a prefix to a node that no certificate here grants it to.
fn check_table(snapshot: &Snapshot) {
    for (route, hop) in snapshot.fib.iter() {
        let granted = (1..=9).any(|node| prefix(node).contains(&route));
        assert!(granted || hop == Hop::Local, "{route} goes to {hop:?}");
    }
}

fn put_checksum_right(packet: &mut [u8]) {
    let Ok(view) = Ipv6Packet::parse(packet) else {
        return;
    };
    let (source, destination, length) = (view.source(), view.destination(), view.len());
    if view.next_header() == UDP && length >= 48 {
        packet[46..48].fill(0);
        let sum = checksum(source, destination, UDP, &packet[40..length]);
        let sum = if sum == 0 { 0xffff } else { sum };
        packet[46..48].copy_from_slice(&sum.to_be_bytes());
    }
}

/// One packet of an input: its first octet says after how many ticks it comes, and from whom.
fn step(ticks: u8, from: u8, datagram: &[u8]) -> Vec<u8> {
    [&[ticks.min(MAX_TICKS) << 2 | from & 3], datagram].concat()
}

/// Replays packets to node 1.
fn replay(host: &mut Host, data: &[u8]) {
    for packet in split(data) {
        let Some((&first, datagram)) = packet.split_first() else {
            continue;
        };
        host.run_until(host.now + TICK * u32::from(first >> 2));
        host.receive(socket(2 + (first & 3)), datagram);
        host.sent.clear();
    }
}

/// Datagrams from anybody.
pub fn datagrams(data: &[u8]) -> bool {
    let mut host = host(1);
    replay(&mut host, data);
    host.run_until(host.now + Duration::from_secs(8));
    host.look();
    host.neighbours_up > 0
}

/// All that node 2 sends to node 1 in the first `seconds`.
fn conversation(seconds: u32) -> Vec<u8> {
    let (mut one, mut two) = (host(1), host(2));
    let mut said: Vec<Vec<u8>> = Vec::new();
    let mut waited = 0;
    for _ in 0..seconds * 100 {
        let tick = one.now + TICK;
        waited += 1;
        one.run_until(tick);
        two.run_until(tick);
        // What node 2 has sent by now arrives, then what node 1 says to it.
        for (remote, datagram) in core::mem::take(&mut two.sent) {
            if remote == socket(1) {
                said.push(step(waited, 0, &datagram));
                waited = 0;
                one.receive(socket(2), &datagram);
            }
        }
        for (remote, datagram) in core::mem::take(&mut one.sent) {
            if remote == socket(2) {
                two.receive(socket(1), &datagram);
            }
        }
        if waited == MAX_TICKS {
            said.push(step(waited, 3, &[]));
            waited = 0;
        }
    }
    join(said.iter().map(Vec::as_slice))
}

pub fn conversations() -> Vec<(String, Vec<u8>)> {
    [("greeting", 1), ("three-seconds", 3), ("ten-seconds", 10)]
        .map(|(name, seconds)| (name.to_owned(), conversation(seconds)))
        .to_vec()
}

/// Packets of the neighbour that [`conversation`] has made: the first octet says when, whether by Babel or by the
/// link protocol, and to which destination; the rest is the payload.
pub fn neighbour(data: &[u8]) -> bool {
    static GREETING: OnceLock<Vec<u8>> = OnceLock::new();
    let mut host = host(1);
    replay(&mut host, GREETING.get_or_init(|| conversation(2)));
    let Some(tunnel) = host.tunnel.filter(|_| host.neighbours_up > 0) else {
        panic!("the greeting does not lead to a neighbour any more");
    };
    let mut out = vec![0; 0x1_0000];
    for packet in split(data) {
        let Some((&first, payload)) = packet.split_first() else {
            continue;
        };
        host.run_until(host.now + TICK * u32::from(first >> 2));
        let port = if first & 1 == 0 {
            osier_proto::link::PORT
        } else {
            osier_babel::PORT
        };
        let header = UdpHeader {
            source: public(2).0.link_local(),
            destination: match first & 2 {
                0 => public(1).0.link_local(),
                _ => osier_babel::MULTICAST,
            },
            hop_limit: 1,
            source_port: port,
            destination_port: port,
        };
        if let Some(length) = build_udp(&header, payload, &mut out) {
            host.node.handle_tunnel_packet(tunnel, &out[..length], host.now);
            host.drain();
        }
    }
    host.run_until(host.now + Duration::from_secs(5));
    host.look();
    true
}

/// Every link message, every Babel packet, and a mixture.
pub fn neighbour_packets() -> Vec<(String, Vec<u8>)> {
    let link: Vec<_> = formats::link_messages()
        .into_iter()
        .map(|(name, message)| (format!("link-{name}"), step(1, 0, &message)))
        .collect();
    let mut seeds: Vec<_> = link
        .iter()
        .map(|(name, packet)| (name.clone(), join([&packet[..]])))
        .collect();
    for (name, conversation) in crate::babel::conversations() {
        let packets: Vec<_> = split(&conversation)
            .filter_map(|packet| packet.split_first())
            .map(|(first, payload)| step(5, 1 | if first % 2 == 1 { 0 } else { 2 }, payload))
            .collect();
        seeds.push((format!("babel-{name}"), join(packets.iter().map(Vec::as_slice))));
    }
    let all = link
        .iter()
        .filter(|(name, _)| name != "link-bye")
        .map(|(_, packet)| packet.as_slice());
    seeds.push(("all".into(), join(all)));
    seeds
}
