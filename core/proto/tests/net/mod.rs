//! A little network of nodes in virtual time: time jumps to the next datagram or timer, it never ticks.

#![allow(dead_code, unreachable_pub, missing_debug_implementations)] // each test file uses its part

use osier_dataplane::{Action, Forwarder};
use osier_proto::{
    Duration, Instant, IpNet, Node, Snapshot,
    certificate::{Certificate, Fields, Flags},
    fib::Hop,
    identity::{NodeId, SecretKeys, SigningSecret},
    network::Network,
    node::{Command, Config, Engine, Event, MeshParameters, ProbeOutcome, Request},
    packet::{UdpHeader, udp_packet},
    record::Bundle,
    revocation::RevocationList,
    snapshot::Class,
    tunnel::Sealed,
    wallclock::UnixTime,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};

pub const EPOCH: u64 = 1_800_000_000;
pub const MONTH: u64 = 30 * 86_400;

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub struct Host {
    pub node: Option<Node>,
    pub keys: Arc<SecretKeys>,
    pub certificate: Certificate,
    pub address: SocketAddr,
    pub snapshot: Arc<Snapshot>,
    pub events: Vec<(Instant, Event)>,
    pub requests: Vec<Request>,
    /// Datagrams sent, and when the last one was.
    pub sent: u64,
    pub sent_octets: u64,
    pub wakes: u64,
    pub lives: u64,
    /// What it kept on disk.
    pub disk: (Vec<Bundle>, u16, u64),
    pub forwarder: Forwarder,
    /// Packets for the machine.
    pub delivered: Vec<Vec<u8>>,
}

/// A probe by its id: when it was sent and what came of it.
pub struct Ping {
    pub sent: Instant,
    pub answer: Option<(Instant, ProbeOutcome)>,
}

pub struct Net {
    pub now: Instant,
    pub root: SigningSecret,
    pub network: Network,
    pub hosts: Vec<Host>,
    pub latency: Duration,
    /// Percentage of datagrams that vanish.
    pub loss: u64,
    /// Pairs that cannot exchange datagrams.
    pub cut: BTreeSet<(usize, usize)>,
    /// Longest UDP payload that passes a pair; what is longer vanishes.
    pub narrow: BTreeMap<(usize, usize), usize>,
    /// As `narrow`, but only for what must not be fragmented.
    pub fragmenting: BTreeMap<(usize, usize), usize>,
    /// Civil time at the beginning, by the clocks of hosts that start now.
    pub epoch: u64,
    pub pings: BTreeMap<u64, Ping>,
    /// Hash of everything sent, in order.
    pub trace: blake3::Hasher,
    queue: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    number: u64,
    next_ping: u64,
    random: u64,
    engine: Engine,
}

impl Net {
    pub fn new(seed: u64) -> Self {
        let root = SigningSecret::from_bytes(&[200; 32]);
        let network = Network {
            root: root.node_id(),
            name: "test".into(),
            prefix: "fd00:1:2::/48".parse().unwrap(),
            grace: 0,
        };
        Self {
            now: Instant::from_micros(1_000_000),
            root,
            network,
            hosts: Vec::new(),
            latency: millis(5),
            loss: 0,
            cut: BTreeSet::new(),
            narrow: BTreeMap::new(),
            fragmenting: BTreeMap::new(),
            epoch: EPOCH,
            pings: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            queue: BTreeMap::new(),
            number: 0,
            next_ping: 0,
            random: seed.wrapping_mul(2).wrapping_add(1),
            engine: Engine::Plain,
        }
    }

    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub fn certificate(&self, keys: &SecretKeys, number: usize, serial: u64, not_after: u64) -> Certificate {
        let fields = Fields {
            node: keys.node_id(),
            tunnel_key: keys.tunnel_key(),
            prefixes: vec![prefix(number)],
            group: None,
            name: format!("node-{number}"),
            flags: Flags {
                relay: true,
                ..Flags::default()
            },
            serial,
            not_before: UnixTime(EPOCH - 86_400),
            not_after: UnixTime(not_after),
        };
        Certificate::issue(fields, &self.root, None, &self.network.id()).unwrap()
    }

    /// A member that is not running.
    pub fn add(&mut self) -> usize {
        self.add_until(EPOCH + MONTH)
    }

    /// One whose certificate ends then.
    pub fn add_until(&mut self, not_after: u64) -> usize {
        let number = self.hosts.len();
        let keys = Arc::new(SecretKeys::from_entropy([number as u8 + 1; 64]));
        let certificate = self.certificate(&keys, number, number as u64 + 1, not_after);
        let address = SocketAddr::from(([198, 51, 100, number as u8 + 1], 6000));
        self.hosts.push(Host {
            node: None,
            keys,
            certificate,
            address,
            snapshot: Arc::new(Snapshot::new(
                address_of(number),
                vec![prefix(number)],
                self.network.prefix,
            )),
            events: Vec::new(),
            requests: Vec::new(),
            sent: 0,
            sent_octets: 0,
            wakes: 0,
            lives: 0,
            disk: (Vec::new(), 1, 0),
            forwarder: Forwarder::new(),
            delivered: Vec::new(),
        });
        number
    }

    pub fn start(&mut self, host: usize) {
        self.start_with(host, MeshParameters::default());
    }

    pub fn start_with(&mut self, host: usize, mesh: MeshParameters) {
        let h = &mut self.hosts[host];
        h.lives += 1;
        let config = Config {
            keys: Arc::clone(&h.keys),
            certificate: h.certificate.clone(),
            network: self.network.clone(),
            revocations: None,
            bundles: h.disk.0.clone(),
            mesh,
            engine: self.engine,
            seqno: h.disk.1.wrapping_add(1),
            wall_clock: UnixTime(self.epoch + self.now.as_micros() / 1_000_000),
            record_sequence: h.disk.2,
        };
        let mut seed = [host as u8; 32];
        seed[..8].copy_from_slice(&(h.lives ^ self.random << 8).to_be_bytes());
        let mut node = Node::new(config, seed, self.now).unwrap();
        node.handle_network_change(vec![h.address], self.now);
        h.node = Some(node);
        self.settle(host);
    }

    /// It vanishes without a word; what it knew is on its disk.
    pub fn kill(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        if let Some(node) = h.node.take() {
            h.disk = (node.bundles(), node.seqno(), node.record_sequence());
        }
    }

    pub fn command(&mut self, host: usize, command: Command) {
        let now = self.now;
        self.node(host).handle_command(command, now);
        self.settle(host);
    }

    pub fn node(&mut self, host: usize) -> &mut Node {
        self.hosts[host].node.as_mut().expect("running")
    }

    pub fn id(&self, host: usize) -> NodeId {
        self.hosts[host].keys.node_id()
    }

    /// `host` learns from the registry where the others are.
    pub fn introduce(&mut self, host: usize, others: &[usize]) {
        let bundles = others.iter().filter_map(|o| self.bundle(*o)).collect();
        self.command(host, Command::AddBundles(bundles));
    }

    /// What a running host published last.
    pub fn bundle(&self, host: usize) -> Option<Bundle> {
        let id = self.id(host);
        let requests = self.hosts[host].requests.iter().rev();
        requests
            .filter_map(|r| match r {
                Request::Publish(bundle) => Some(bundle.clone()),
                _ => None,
            })
            .find(|b| b.record.node == id)
    }

    /// Starts `count` members that all know the first one.
    pub fn mesh(count: usize) -> Self {
        let mut net = Self::new(count as u64);
        net.grow(count);
        net
    }

    pub fn grow(&mut self, count: usize) {
        for _ in 0..count {
            let host = self.add();
            self.start(host);
        }
        self.run(millis(300));
        let first = self.hosts.len() - count;
        for host in first + 1..self.hosts.len() {
            self.introduce(host, &[first]);
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until the condition holds; how long that took, or `None` after `limit`.
    pub fn run_until(&mut self, limit: Duration, condition: impl Fn(&mut Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        let mut steps_at_once = 0;
        loop {
            if condition(self) {
                return Some(self.now.saturating_since(start));
            }
            let datagram = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timer = self
                .hosts
                .iter()
                .enumerate()
                .filter_map(|(i, h)| Some((h.node.as_ref()?.poll_timeout()?.0, i)))
                .min();
            let next = datagram.into_iter().chain(timer.map(|t| t.0)).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return None;
            };
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            assert!(steps_at_once < 20_000, "time stands still: {:?}", self.timeouts());
            self.now = self.now.max(next);
            if datagram.is_some_and(|at| at <= self.now) {
                let ((_, _), (to, from, mut bytes)) = self.queue.pop_first().unwrap();
                self.receive(to, from, &mut bytes);
            } else if let Some((_, host)) = timer {
                let now = self.now;
                self.hosts[host].wakes += 1;
                self.node(host).handle_timeout(now);
                self.settle(host);
            }
        }
    }

    fn timeouts(&self) -> Vec<Option<(Instant, &'static str)>> {
        self.hosts
            .iter()
            .map(|h| h.node.as_ref()?.poll_timeout())
            .collect()
    }

    fn receive(&mut self, host: usize, from: SocketAddr, bytes: &mut [u8]) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(node) = &mut h.node else { return };
        let snapshot = Arc::clone(&h.snapshot);
        let mut out = vec![0; 65_535];
        let (mut send, mut onwards) = (None, None);
        match h.forwarder.from_network(&snapshot, from, bytes, &mut out, now) {
            Action::SendInPlace { remote, span } => onwards = Some((remote, span)),
            Action::NeedsSession(packet) => node.handle_unsent_packet(packet, now),
            Action::RelayedHandshake(tunnel, message) => node.handle_relayed_handshake(tunnel, message, now),
            Action::SessionPacket(origin, packet) => node.handle_session_packet(origin, packet, now),
            Action::Send { remote, datagram } => send = Some((remote, datagram.to_vec())),
            Action::ControlDatagram(datagram) => node.handle_datagram(from, datagram, now),
            Action::ControlPacket(tunnel, packet) => node.handle_tunnel_packet(tunnel, packet, now),
            Action::Probe(packet) => node.handle_probe_packet(packet, now),
            Action::Deliver(packet) => h.delivered.push(packet.to_vec()),
            Action::Drop(_) | Action::Nothing => {}
        }
        if let Some((remote, span)) = onwards {
            send = Some((remote, bytes[span].to_vec()));
        }
        while let Some(activity) = h.forwarder.poll_activity() {
            node.handle_activity(activity, now);
        }
        if let Some((remote, datagram)) = send {
            self.send(host, remote, datagram);
        }
        self.settle(host);
    }

    /// Drains a host's outputs.
    pub fn settle(&mut self, host: usize) {
        let now = self.now;
        loop {
            let h = &mut self.hosts[host];
            let Some(node) = &mut h.node else { return };
            if let Some(snapshot) = node.poll_fib_change() {
                h.snapshot = snapshot;
            }
            let mut sends = Vec::new();
            while let Some(transmit) = node.poll_transmit() {
                let pair = hosts_between(host, transmit.remote);
                let most = self.fragmenting.get(&pair);
                if transmit.whole && most.is_some_and(|most| transmit.datagram.len() > *most) {
                    continue;
                }
                sends.push((transmit.remote, transmit.datagram));
            }
            let (mut probes, mut unsent) = (Vec::new(), Vec::new());
            while let Some(mut packet) = node.poll_packet() {
                let mut out = vec![0; 65_535];
                match h.forwarder.from_tun(&h.snapshot, &mut packet, &mut out, now) {
                    Action::Send { remote, datagram } => sends.push((remote, datagram.to_vec())),
                    Action::Probe(packet) => probes.push(packet.to_vec()),
                    Action::NeedsSession(packet) => unsent.push(packet.to_vec()),
                    Action::Deliver(packet) => h.delivered.push(packet.to_vec()),
                    _ => {}
                }
            }
            let mut again = !probes.is_empty() || !unsent.is_empty();
            unsent.iter().for_each(|p| node.handle_unsent_packet(p, now));
            probes.iter().for_each(|p| node.handle_probe_packet(p, now));
            while let Some(activity) = h.forwarder.poll_activity() {
                node.handle_activity(activity, now);
                again = true;
            }
            while let Some(request) = node.poll_request() {
                h.requests.push(request);
            }
            while let Some(event) = node.poll_event() {
                if let Event::ProbeReply { id, outcome, .. } = &event
                    && let Some(ping) = self.pings.get_mut(id)
                {
                    ping.answer = Some((now, outcome.clone()));
                }
                h.events.push((now, event));
            }
            let stopped = matches!(h.events.last(), Some((_, Event::Stopped)));
            for (remote, datagram) in sends {
                self.send(host, remote, datagram);
            }
            if stopped {
                self.kill(host);
                return;
            }
            if !again {
                return;
            }
        }
    }

    pub fn send(&mut self, host: usize, remote: SocketAddr, datagram: Vec<u8>) {
        let h = &mut self.hosts[host];
        h.sent += 1;
        h.sent_octets += datagram.len() as u64 + 28;
        let from = h.address;
        self.trace.update(&self.now.as_micros().to_be_bytes());
        self.trace.update(&datagram);
        let Some(to) = self.hosts.iter().position(|h| h.address == remote) else {
            return;
        };
        let lost = self.random() % 100 < self.loss;
        let pair = (host.min(to), host.max(to));
        let too_long = self.narrow.get(&pair).is_some_and(|most| datagram.len() > *most);
        if lost || too_long || self.cut.contains(&pair) {
            return;
        }
        self.inject(to, from, datagram);
    }

    /// A datagram is on its way to a host.
    pub fn inject(&mut self, to: usize, from: SocketAddr, datagram: Vec<u8>) {
        self.number += 1;
        self.queue
            .insert((self.now + self.latency, self.number), (to, from, datagram));
    }

    /// Sends a packet of somebody's making through the tunnel between two hosts.
    pub fn forge(&mut self, from: usize, to: usize, port: u16, payload: &[u8]) {
        let header = UdpHeader {
            source: self.id(from).link_local(),
            destination: self.id(to).link_local(),
            hop_limit: 1,
            source_port: port,
            destination_port: port,
        };
        let packet = udp_packet(&header, payload).unwrap();
        self.tunnel_packet(from, to, &packet);
    }

    pub fn tunnel_packet(&mut self, from: usize, to: usize, packet: &[u8]) {
        let address = self.hosts[to].address;
        let mut tunnels = self.hosts[from].snapshot.tunnels.values();
        let tunnel = tunnels
            .find(|t| t.endpoint() == Some(address))
            .expect("neighbours");
        let mut out = vec![0; 65_535];
        let (Sealed::Datagram(datagram), _) = tunnel.seal(self.now, Class::Control, packet, &mut out) else {
            panic!("no keys");
        };
        let (source, datagram) = (self.hosts[from].address, datagram.to_vec());
        self.inject(to, source, datagram);
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    pub fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&(a.min(b), a.max(b)));
    }

    pub fn ping(&mut self, from: usize, to: usize) -> u64 {
        self.next_ping += 1;
        let id = self.next_ping;
        let sent = self.now;
        self.pings.insert(id, Ping { sent, answer: None });
        let probe = Command::Probe {
            id,
            target: address_of(to),
            hop_limit: 64,
            payload: 56,
        };
        self.command(from, probe);
        id
    }

    /// Sends a packet that nobody answers.
    pub fn one_way(&mut self, from: usize, to: usize) {
        self.one_way_sized(from, to, 112);
    }

    /// One of so many octets.
    pub fn one_way_sized(&mut self, from: usize, to: usize, size: usize) {
        let header = UdpHeader {
            source: address_of(from),
            destination: address_of(to),
            hop_limit: 64,
            source_port: 9,
            destination_port: 9,
        };
        let mut packet = udp_packet(&header, &vec![0; size - 48]).unwrap();
        let (mut out, now, h) = (vec![0; 65_535], self.now, &mut self.hosts[from]);
        let mut send = None;
        match h.forwarder.from_tun(&h.snapshot, &mut packet, &mut out, now) {
            Action::Send { remote, datagram } => send = Some((remote, datagram.to_vec())),
            Action::Deliver(packet) => h.delivered.push(packet.to_vec()),
            Action::NeedsSession(packet) => h.node.as_mut().unwrap().handle_unsent_packet(packet, now),
            _ => {}
        }
        while let Some(activity) = h.forwarder.poll_activity() {
            h.node.as_mut().unwrap().handle_activity(activity, now);
        }
        if let Some((remote, datagram)) = send {
            self.send(from, remote, datagram);
        }
        self.settle(from);
    }

    pub fn answered(&self, ping: u64) -> bool {
        matches!(self.pings[&ping].answer, Some((_, ProbeOutcome::Echo)))
    }

    /// Pings at a distance for a time, then waits for the last ones; those not answered by an echo reply.
    pub fn ping_for(&mut self, from: usize, to: usize, every: Duration, time: Duration) -> Vec<Instant> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while self.now < end {
            sent.push(self.ping(from, to));
            self.run(every);
        }
        self.run(secs(1) + self.latency * 4);
        sent.retain(|ping| !self.answered(*ping));
        sent.iter().map(|ping| self.pings[ping].sent).collect()
    }

    /// Whether following the tables hop by hop leads from one to the other; panics when it loops.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        self.path(from, to).is_some()
    }

    pub fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut path = vec![from];
        loop {
            let at = *path.last().unwrap();
            self.hosts[at].node.as_ref()?;
            match self.hosts[at].snapshot.fib.lookup(address_of(to))? {
                Hop::Local => return (at == to).then_some(path),
                Hop::Unreachable => return None,
                Hop::Tunnel(id) | Hop::Relayed { via: id, .. } => {
                    let endpoint = self.hosts[at].snapshot.tunnels.get(&id)?.endpoint()?;
                    let next = self.hosts.iter().position(|h| h.address == endpoint)?;
                    assert!(
                        !path.contains(&next),
                        "routing loop to {to}: {path:?} then {next}"
                    );
                    path.push(next);
                }
            }
        }
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|h| self.hosts[*h].node.is_some())
            .collect()
    }

    pub fn all_reach_all(&self) -> bool {
        let running = self.running();
        running
            .iter()
            .all(|a| running.iter().all(|b| a == b || self.reaches(*a, *b)))
    }

    pub fn counter(&mut self, host: usize, name: &str) -> u64 {
        let now = self.now;
        let counters = self.node(host).status(now).counters;
        counters
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(0, |(_, count)| *count)
    }

    pub fn neighbours(&mut self, host: usize) -> Vec<NodeId> {
        let now = self.now;
        let peers = self.node(host).peers(now);
        peers
            .into_iter()
            .filter(|p| p.neighbour)
            .map(|p| p.node)
            .collect()
    }

    pub fn revocations(&self, number: u64, revoked: &[usize]) -> RevocationList {
        let revoked = revoked.iter().map(|h| (self.id(*h), u64::MAX)).collect();
        RevocationList::sign(number, revoked, &self.root, None, &self.network.id()).unwrap()
    }

    pub fn saw(&self, host: usize, event: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.hosts[host]
            .events
            .iter()
            .find(|(_, e)| event(e))
            .map(|(at, _)| *at)
    }
}

fn hosts_between(host: usize, remote: SocketAddr) -> (usize, usize) {
    let SocketAddr::V4(v4) = remote else {
        return (host, host);
    };
    let to = usize::from(v4.ip().octets()[3]) - 1;
    (host.min(to), host.max(to))
}

pub fn prefix(number: usize) -> IpNet {
    format!("fd00:1:2:{number:x}::/64").parse().unwrap()
}

pub fn address_of(number: usize) -> Ipv6Addr {
    format!("fd00:1:2:{number:x}::1").parse().unwrap()
}
