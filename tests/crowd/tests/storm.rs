//! One node and a thousand members that begin handshakes at the same moment, with and without an attacker beside
//! them. Real cryptography, virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use osier_crowd::{
    members::{Member, Members},
    peer::{Hub, Peer},
};
use osier_dataplane::{Action, DropReason, Forwarder};
use osier_proto::{
    Duration, Instant, Node, Snapshot,
    node::{Config, Engine, MeshParameters},
    packet::{UdpHeader, udp_packet},
    tunnel::{INITIATION_LENGTH, SessionFactory as _, wireguard::WireGuardFactory},
    wallclock::UnixTime,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

const NOW: UnixTime = UnixTime(1_800_000_000);
const LATENCY: Duration = Duration::from_millis(10);
/// More than one initiation costs the node's control plane in a release build.
const HANDSHAKE: Duration = Duration::from_micros(500);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

enum Arrival {
    AtHub(SocketAddr, Vec<u8>),
    AtPeer(usize, Vec<u8>),
}

struct World {
    now: Instant,
    members: Members,
    hub_member: Member,
    crowd: Vec<Member>,
    node: Node,
    forwarder: Forwarder,
    snapshot: Arc<Snapshot>,
    peers: Vec<Peer>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    timers: BTreeSet<(Instant, usize)>,
    number: u64,
    /// Packets of data that reached the node's device, by peer.
    delivered: BTreeMap<usize, u64>,
    drops: BTreeMap<DropReason, u64>,
    /// Initiations that control was given.
    initiations: u64,
    most_tunnels: usize,
    out: Vec<u8>,
}

fn address(peer: usize) -> SocketAddr {
    ([10, 99, 1 + (peer >> 8) as u8, peer as u8], 51820).into()
}

impl World {
    fn new(peers: u16) -> Self {
        let members = Members::new(NOW).unwrap();
        let hub_member = members.member(1, true).unwrap();
        let crowd: Vec<Member> = (0..peers)
            .map(|n| members.member(n + 2, false).unwrap())
            .collect();
        let now = Instant::from_micros(1_000_000);
        let node = Self::build(&members, &hub_member, &crowd, now);
        let hub = Hub {
            node: hub_member.keys.node_id(),
            key: hub_member.keys.tunnel_key(),
            remote: ([10, 98, 0, 1], 16697).into(),
        };
        let peers = crowd.iter().map(|m| Peer::new(m.clone(), hub.clone(), now));
        let snapshot = Snapshot::new(hub_member.address(), Vec::new(), members.network.prefix);
        let mut world = Self {
            now,
            node,
            forwarder: Forwarder::new(),
            snapshot: Arc::new(snapshot),
            peers: peers.collect(),
            members,
            hub_member,
            crowd,
            arrivals: BTreeMap::new(),
            timers: BTreeSet::new(),
            number: 0,
            delivered: BTreeMap::new(),
            drops: BTreeMap::new(),
            initiations: 0,
            most_tunnels: 0,
            out: vec![0; 65_535],
        };
        world.settle_hub();
        world
    }

    fn build(members: &Members, hub: &Member, crowd: &[Member], now: Instant) -> Node {
        let config = Config {
            keys: Arc::clone(&hub.keys),
            certificate: hub.certificate.clone(),
            network: members.network.clone(),
            revocations: None,
            bundles: crowd.iter().map(|m| m.bundle.clone()).collect(),
            mesh: MeshParameters {
                incoming: crowd.len(),
                ..MeshParameters::default()
            },
            engine: Engine::WireGuard { aes: true },
            seqno: 1,
            wall_clock: NOW,
            record_sequence: 0,
        };
        Node::new(config, [now.as_micros() as u8; 32], now).unwrap()
    }

    /// The node loses everything but what is on its disk.
    fn restart(&mut self) {
        self.node = Self::build(&self.members, &self.hub_member, &self.crowd, self.now);
        self.settle_hub();
    }

    fn dial(&mut self, peers: impl IntoIterator<Item = usize>) {
        for peer in peers {
            self.peers[peer].dial(self.now);
            self.settle_peer(peer);
        }
    }

    fn send(&mut self, arrival: Arrival) {
        self.number += 1;
        self.arrivals.insert((self.now + LATENCY, self.number), arrival);
    }

    fn settle_hub(&mut self) {
        if let Some(snapshot) = self.node.poll_fib_change() {
            self.most_tunnels = self.most_tunnels.max(snapshot.tunnels.len());
            self.snapshot = snapshot;
        }
        while let Some(transmit) = self.node.poll_transmit() {
            self.deliver(transmit.remote, transmit.datagram);
        }
        while self.node.poll_packet().is_some() || self.node.poll_request().is_some() {}
        while self.node.poll_event().is_some() {}
    }

    fn deliver(&mut self, remote: SocketAddr, datagram: Vec<u8>) {
        if let SocketAddr::V4(v4) = remote
            && let [10, 99, high, low] = v4.ip().octets()
            && high > 0
        {
            let peer = usize::from(high - 1) << 8 | usize::from(low);
            if peer < self.peers.len() {
                self.send(Arrival::AtPeer(peer, datagram));
            }
        }
    }

    fn settle_peer(&mut self, peer: usize) {
        while let Some(datagram) = self.peers[peer].poll_transmit() {
            self.send(Arrival::AtHub(address(peer), datagram));
        }
        let at = self.peers[peer].poll_timeout();
        self.timers.insert((at, peer));
    }

    /// A packet of data from a peer to the node.
    fn talk(&mut self, peer: usize) {
        let header = UdpHeader {
            source: self.peers[peer].address(),
            destination: self.hub_member.address(),
            hop_limit: 64,
            source_port: peer as u16,
            destination_port: 7,
        };
        let packet = udp_packet(&header, &[7; 64]).unwrap();
        let mut out = [0; 1500];
        let sealed = self.peers[peer].seal(&packet, &mut out, self.now);
        let sealed = sealed.map(<[u8]>::to_vec);
        if let Some(datagram) = sealed {
            self.send(Arrival::AtHub(address(peer), datagram));
        }
        self.settle_peer(peer);
    }

    fn at_hub(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        let snapshot = Arc::clone(&self.snapshot);
        let mut reply = None;
        match self
            .forwarder
            .from_network(&snapshot, from, &mut datagram, &mut self.out, self.now)
        {
            Action::Send { remote, datagram } => reply = Some((remote, datagram.to_vec())),
            Action::ControlDatagram(datagram) => {
                self.initiations += u64::from(datagram.len() == INITIATION_LENGTH);
                self.node.handle_datagram(from, datagram, self.now);
            }
            Action::ControlPacket(tunnel, packet) => self.node.handle_tunnel_packet(tunnel, packet, self.now),
            Action::Deliver(packet) => {
                let peer = usize::from(u16::from_be_bytes([packet[40], packet[41]]));
                *self.delivered.entry(peer).or_default() += 1;
            }
            Action::Drop(reason) => *self.drops.entry(reason).or_default() += 1,
            _ => {}
        }
        while let Some(activity) = self.forwarder.poll_activity() {
            self.node.handle_activity(activity, self.now);
        }
        if let Some((remote, datagram)) = reply {
            self.deliver(remote, datagram);
        }
        self.settle_hub();
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        while !done(self) {
            let arrival = self.arrivals.first_key_value().map(|(key, _)| key.0);
            let timer = self.timers.first().map(|(at, _)| *at);
            let node = self.node.poll_timeout().map(|(at, _)| at);
            let next = [arrival, timer, node].into_iter().flatten().min();
            let next = next.filter(|at| *at <= end);
            self.now = self.now.max(next.unwrap_or(end));
            next?;
            if arrival.is_some_and(|at| at <= self.now) {
                match self.arrivals.pop_first().unwrap().1 {
                    Arrival::AtHub(from, datagram) => self.at_hub(from, datagram),
                    Arrival::AtPeer(peer, datagram) => {
                        self.peers[peer].handle(&datagram, &mut self.out, self.now);
                        self.settle_peer(peer);
                    }
                }
            } else if timer.is_some_and(|at| at <= self.now) {
                let (at, peer) = self.timers.pop_first().unwrap();
                // It may have been moved since.
                if self.peers[peer].poll_timeout() == at {
                    self.peers[peer].handle_timeout(self.now);
                }
                self.settle_peer(peer);
            } else {
                self.node.handle_timeout(self.now);
                self.settle_hub();
            }
        }
        Some(self.now.saturating_since(start))
    }

    fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn open(&self) -> usize {
        self.peers.iter().filter(|p| p.is_open()).count()
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.node.status(self.now).counters;
        counters
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(0, |(_, count)| *count)
    }
}

#[test]
fn a_thousand_members_are_back_within_seconds_of_a_restart() {
    let mut world = World::new(1000);
    for life in 0..2 {
        world.initiations = 0;
        let cookies: u64 = world.peers.iter().map(|p| p.cookies).sum();
        world.dial(0..1000);
        let took = world.run_until(Duration::from_secs(20), |w| w.open() == 1000);
        let took = took.unwrap_or_else(|| panic!("{} of 1000 are up", world.open()));
        assert!(took <= Duration::from_secs(5), "life {life}: {took:?}");
        let demanded = world.counter("handshake-cookies-sent");
        let received = world.peers.iter().map(|p| p.cookies).sum::<u64>() - cookies;
        assert!((700..=1200).contains(&demanded), "{demanded} cookies");
        assert_eq!(received, demanded, "every cookie reached whom it was for");
        assert!(world.initiations <= 1200, "{} initiations", world.initiations);
        assert_eq!(world.counter("transmit-overflow"), 0);
        assert_eq!(world.counter("handshake-limit"), 0);
        if life == 0 {
            world.restart();
            continue;
        }
        world.run(Duration::from_secs(3));
        assert_eq!(world.node.status(world.now).routes, 1000);
        assert_eq!(world.counter("transmit-overflow"), 0);
    }
}

/// Initiations that make work, as an attacker would make them, who knows the node's key and its members' packets.
struct Junk {
    strangers: Vec<Vec<u8>>,
    replayed: Vec<Vec<u8>>,
    random: u64,
}

impl Junk {
    fn new(world: &World) -> Self {
        let key = world.hub_member.keys.tunnel_key();
        let mut out = [0; 256];
        let mut initiation = |secret: &[u8; 32]| {
            let session = WireGuardFactory::new(secret).new_session(key, 1, world.now);
            session.initiate(world.now, &mut out).unwrap().to_vec()
        };
        let strangers = (0..=255).map(|n| initiation(&[n ^ 0x55; 32])).collect();
        // Of members that are not there: 300 of the last ones.
        let away = world.crowd.iter().rev().take(300);
        let replayed = away.map(|m| initiation(m.keys.tunnel_secret())).collect();
        Self {
            strangers,
            replayed,
            random: 7,
        }
    }

    fn random(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random as usize
    }

    /// From an address that may be anybody's.
    fn next(&mut self) -> (SocketAddr, Vec<u8>) {
        let number = self.random();
        let from = SocketAddr::from(([203, 0, (number >> 8) as u8, number as u8], 1));
        let mut datagram = match number % 4 {
            0 => {
                let mut junk: Vec<u8> = (0..INITIATION_LENGTH).map(|_| self.random() as u8).collect();
                junk[..4].copy_from_slice(&[1, 0, 0, 0]);
                junk
            }
            1 => {
                let mut wrong = self.strangers[number / 4 % self.strangers.len()].clone();
                wrong[120] ^= 1;
                wrong
            }
            2 => self.strangers[number / 4 % self.strangers.len()].clone(),
            _ => self.replayed[number / 4 % self.replayed.len()].clone(),
        };
        datagram.truncate(INITIATION_LENGTH);
        (from, datagram)
    }
}

#[test]
fn junk_neither_keeps_members_out_nor_stops_their_traffic() {
    let mut world = World::new(700);
    world.dial(0..100);
    world
        .run_until(Duration::from_secs(5), |w| w.open() == 100)
        .unwrap();
    let mut junk = Junk::new(&world);
    let drops = world.drops.clone();
    assert_eq!(drops.get(&DropReason::HandshakeForged), None);
    world.initiations = 0;
    // 3 s, 10 initiations a millisecond; 300 members come in the middle of it.
    let mut told = 0;
    for step in 0..3000 {
        for _ in 0..10 {
            let (from, datagram) = junk.next();
            world.at_hub(from, datagram);
        }
        if step == 1000 {
            world.dial(100..400);
        }
        if step % 20 == 0 {
            (0..100).for_each(|peer| world.talk(peer));
            told += 100;
        }
        world.run(millis(1));
    }
    let left = world.run_until(Duration::from_secs(3), |w| w.open() == 400);
    assert!(left.is_some(), "{} of 400 are up", world.open());
    let slowest = world.peers[100..400].iter().filter_map(|p| p.opened_at).max();
    let slowest = slowest.unwrap().saturating_since(Instant::from_micros(1_000_000));
    assert!(
        slowest < Duration::from_secs(8),
        "the last one was up at {slowest:?}"
    );
    world.run(millis(50));
    assert_eq!(
        world.delivered.values().sum::<u64>(),
        told,
        "no packet of data was lost"
    );
    // Half of the junk costs one hash; of the rest, what has no cookie costs a cookie.
    assert!(world.drops[&DropReason::HandshakeForged] > 12_000);
    assert!(world.counter("handshake-cookies-sent") > 10_000);
    let busy = HANDSHAKE * world.initiations as u32;
    assert!(
        busy < Duration::from_millis(1500),
        "{} initiations got through",
        world.initiations
    );
    assert!(
        world.most_tunnels <= 400 + 700 / 4 + 700,
        "{} tunnels",
        world.most_tunnels
    );
    world.run(Duration::from_secs(12));
    assert_eq!(world.snapshot.tunnels.len(), 400, "nothing is left of it");
}

#[test]
fn an_attacker_at_one_address_who_has_cookies_is_held_to_a_rate() {
    let mut world = World::new(100);
    world.dial(0..50);
    world
        .run_until(Duration::from_secs(5), |w| w.open() == 50)
        .unwrap();
    let (factory, from) = (
        WireGuardFactory::new(&[0x77; 32]),
        SocketAddr::from(([203, 0, 113, 1], 1)),
    );
    let session = factory.new_session(world.hub_member.keys.tunnel_key(), 1, world.now);
    let mut out = [0; 256];
    let (mut passed, mut limited) = (0, 0);
    for _ in 0..4000 {
        let initiation = session.initiate(world.now, &mut out).unwrap().to_vec();
        let (snapshot, mut buffer) = (Arc::clone(&world.snapshot), vec![0; 65_535]);
        let mut datagram = initiation.clone();
        match world
            .forwarder
            .from_network(&snapshot, from, &mut datagram, &mut buffer, world.now)
        {
            Action::Send { datagram: cookie, .. } => {
                session.open(world.now, from, cookie, &mut out);
            }
            Action::ControlDatagram(_) => passed += 1,
            Action::Drop(DropReason::HandshakeLimit) => limited += 1,
            other => panic!("{other:?}"),
        }
        world.run(Duration::from_micros(250));
    }
    // One second: what is free for all, and what one address has.
    assert!((350..=650).contains(&passed), "{passed} passed");
    assert!(limited > 3000, "{limited} were dropped");
    // Others with a cookie do not notice.
    world.dial(50..100);
    let took = world
        .run_until(Duration::from_secs(5), |w| w.open() == 100)
        .unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}
