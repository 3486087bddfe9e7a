//! The event loop: virtual time, hosts, and everything that passes between them.

use crate::{
    Host, HostId,
    breakdown::{Breakdown, OUTER_HEADERS},
    meter::Meter,
    queue::{Happening, RegistryReply, Scheduled},
    random::{self, Random},
    registry::Registry,
    tap::{Tamper, Tap},
    underlay::{self, LinkOptions, Underlay},
};
use core::{net::SocketAddr, time::Duration};
use osier_dataplane::Action;
use osier_proto::{
    Instant, Node, Snapshot,
    identity::TunnelKey,
    node::{Command, Engine, Event, ProbeOutcome, Request},
    tunnel::TunnelId,
    wallclock::UnixTime,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

/// Civil time at the beginning of every world.
const EPOCH: u64 = 1_790_000_000;
/// Round trip to the registry.
pub(crate) const REGISTRY_RTT: Duration = Duration::from_millis(60);
/// How long a node waits for a registry that is not there.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(3);
/// The port everybody listens on.
pub(crate) const PORT: u16 = 6000;
/// Inputs that one host may cause for itself in one instant before it counts as an endless loop.
const MAX_ROUNDS: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub seed: u64,
    pub links: LinkOptions,
    /// With WireGuard instead of the plain engine: dear, and not the same on each run.
    pub encrypted: bool,
}

/// An echo request sent through the mesh.
#[derive(Clone, Debug)]
pub struct Probe {
    pub from: HostId,
    pub to: HostId,
    pub sent: Instant,
    pub answered: Option<Instant>,
    /// The last answer that was an ICMPv6 error.
    pub error: Option<ProbeOutcome>,
}

pub struct World {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) queue: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) next_number: u64,
    pub(crate) random: Random,
    pub(crate) hosts: Vec<Host>,
    pub(crate) by_key: BTreeMap<TunnelKey, HostId>,
    pub underlay: Underlay,
    pub registry: Registry,
    pub(crate) trace: blake3::Hasher,
    pub(crate) events: u64,
    /// Invariants that were broken, with when and how.
    pub violations: Vec<String>,
    pub probes: BTreeMap<u64, Probe>,
    pub(crate) next_probe: u64,
    /// What nodes told their operators, newest last.
    pub log: Vec<(Instant, HostId, Event)>,
    /// What everybody has sent.
    pub breakdown: Breakdown,
    pub(crate) out: Vec<u8>,
    pub(crate) engine: Engine,
    /// Hosts that are listened to.
    pub taps: BTreeMap<HostId, Tap>,
    pub hostile: BTreeMap<HostId, Tamper>,
    /// Hosts whose traffic and wake-ups are counted.
    pub(crate) meters: BTreeMap<HostId, Meter>,
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

impl World {
    pub fn new(options: Options) -> Self {
        Self {
            seed: options.seed,
            now: Instant::ZERO + Duration::from_secs(1),
            queue: BinaryHeap::new(),
            next_number: 0,
            random: Random::new(options.seed, "world"),
            hosts: Vec::new(),
            by_key: BTreeMap::new(),
            underlay: Underlay::new(options.seed, options.links),
            registry: Registry::new(random::derive(options.seed, "root", &[])),
            trace: blake3::Hasher::new(),
            events: 0,
            violations: Vec::new(),
            probes: BTreeMap::new(),
            next_probe: 0,
            log: Vec::new(),
            breakdown: Breakdown::default(),
            out: vec![0; 65_535],
            engine: if options.encrypted {
                Engine::WireGuard { aes: true }
            } else {
                Engine::Plain
            },
            taps: BTreeMap::new(),
            hostile: BTreeMap::new(),
            meters: BTreeMap::new(),
        }
    }

    // What there is.

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0 as usize]
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> + '_ {
        self.hosts.iter()
    }

    pub fn running(&self) -> Vec<HostId> {
        self.hosts
            .iter()
            .filter(|h| h.is_running())
            .map(|h| h.id)
            .collect()
    }

    /// The host at the other end of a tunnel.
    pub fn peer(&self, host: HostId, tunnel: TunnelId) -> Option<HostId> {
        let handle = self.host(host).snapshot.tunnels.get(&tunnel)?;
        self.by_key.get(&handle.session().peer()).copied()
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// BLAKE3 over every event so far: time, host and content.
    pub fn trace_hash(&self) -> String {
        self.trace.finalize().to_hex().to_string()
    }

    /// For choices that the test itself makes.
    pub fn choose(&mut self, hosts: &[HostId], count: usize) -> Vec<HostId> {
        self.random.sample(hosts, count)
    }

    // Time.

    /// Runs until `time` has passed.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.peek().is_some_and(|e| e.0.at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until the condition holds, which is looked at every `every`; how long it took, or `None` if it does
    /// not within `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        every: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        loop {
            if condition(self) {
                return Some(self.now.saturating_since(start));
            }
            if self.now.saturating_since(start) >= limit {
                return None;
            }
            self.run_for(every);
        }
    }

    fn step(&mut self) {
        let Some(Reverse(Scheduled { at, happening, .. })) = self.queue.pop() else {
            return;
        };
        self.now = at;
        match happening {
            Happening::Datagram {
                to,
                from,
                sender,
                bytes,
            } => self.arrive(sender, from, to, bytes),
            Happening::Wake(id, boot) => {
                let host = &mut self.hosts[id.0 as usize];
                // An earlier one may have been scheduled since, and that has superseded this one.
                if host.boot != boot || host.wake != Some(at) || !host.is_awake {
                    return;
                }
                host.wake = None;
                if let Some(node) = &mut host.node {
                    if let Some(meter) = self.meters.get_mut(&id) {
                        let due = node.poll_timeout().filter(|(due, _)| *due <= at);
                        due.inspect(|(_, reason)| meter.stir(&format!("timer {reason}"), at));
                    }
                    node.handle_timeout(at);
                    self.record(b"wake", id, &[]);
                    self.pump(id);
                }
            }
            Happening::Registry(id, boot, reply) => {
                let host = &mut self.hosts[id.0 as usize];
                let Some(node) = host.node.as_mut().filter(|_| host.boot == boot) else {
                    return;
                };
                match reply {
                    RegistryReply::Unreachable => node.handle_registry(Err("no answer".into()), at),
                    RegistryReply::Done => node.handle_registry(Ok(()), at),
                    RegistryReply::Run(command) => {
                        node.handle_registry(Ok(()), at);
                        node.handle_command(*command, at);
                    }
                }
                self.record(b"registry", id, &[]);
                self.pump(id);
            }
        }
    }

    pub(crate) fn schedule(&mut self, at: Instant, happening: Happening) {
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            number,
            happening,
        }));
    }

    pub(crate) fn record(&mut self, kind: &[u8], host: HostId, content: &[u8]) {
        self.events += 1;
        self.trace.update(kind);
        self.trace.update(&self.now.as_micros().to_le_bytes());
        self.trace.update(&host.0.to_le_bytes());
        self.trace.update(&(content.len() as u64).to_le_bytes());
        self.trace.update(content);
    }

    pub(crate) fn wall_clock(&self) -> UnixTime {
        UnixTime(EPOCH + self.now.as_micros() / 1_000_000)
    }

    // Datagrams.

    fn send(&mut self, id: HostId, to: SocketAddr, bytes: Vec<u8>) {
        if let Some(tap) = self.taps.get_mut(&id) {
            tap.datagrams.push(bytes.clone());
        }
        let now = self.now;
        if let Some(meter) = self.meters.get_mut(&id) {
            meter.sends(&bytes, now);
        }
        let host = &mut self.hosts[id.0 as usize];
        host.traffic.sent_datagrams += 1;
        host.traffic.sent_octets += on_the_wire(&bytes);
        host.traffic.sent_control += self.breakdown.add(&bytes).0;
        let from = match &mut host.nat {
            Some(nat) => nat.outgoing(to, now),
            None => host.socket,
        };
        if !host.is_connected {
            return;
        }
        let Some(receiver) = underlay::host_of(to.ip()).filter(|r| (r.0 as usize) < self.hosts.len()) else {
            return;
        };
        let link = self.underlay.link(id, receiver);
        let lost = self.random.chance(link.loss);
        if lost || receiver == id || !self.underlay.connected(id, receiver) {
            return;
        }
        let late = self.random.up_to(self.underlay.jitter());
        self.schedule(
            now + link.latency + late,
            Happening::Datagram {
                to,
                from,
                sender: id,
                bytes,
            },
        );
    }

    /// Whether a datagram from one host to a port of another's public address gets to its socket.
    pub(crate) fn port_leads_in(&self, to: HostId, from: HostId, port: u16) -> bool {
        let host = self.host(to);
        match &host.nat {
            Some(nat) => nat.admits(underlay::public_ip(from), port, self.now),
            None => port == host.socket.port(),
        }
    }

    fn arrive(&mut self, sender: HostId, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        let Some(id) = underlay::host_of(to.ip()) else {
            return;
        };
        let host = self.host(id);
        if !host.is_running()
            || !host.is_awake
            || !host.is_connected
            || !self.port_leads_in(id, sender, to.port())
        {
            return;
        }
        self.record(b"datagram", id, &bytes);
        let now = self.now;
        if let Some(meter) = self.meters.get_mut(&id) {
            meter.receives(&bytes, now);
        }
        let host = &mut self.hosts[id.0 as usize];
        host.traffic.received_datagrams += 1;
        host.traffic.received_octets += on_the_wire(&bytes);
        let Some(node) = &mut host.node else { return };
        if let Some(tap) = self.taps.get_mut(&id) {
            tap.datagrams.push(bytes.clone());
            self.out.fill(0);
        }
        let action = host
            .forwarder
            .from_network(&host.snapshot, from, &mut bytes, &mut self.out, now);
        let (mut send, mut onwards, mut delivered) = (None, None, None);
        match action {
            Action::Send { remote, datagram } => send = Some((remote, datagram.to_vec())),
            Action::SendInPlace { remote, span } => onwards = Some((remote, span)),
            Action::Deliver(packet) => delivered = Some(packet.to_vec()),
            Action::NeedsSession(packet) => node.handle_unsent_packet(packet, now),
            Action::RelayedHandshake(tunnel, message) => node.handle_relayed_handshake(tunnel, message, now),
            Action::SessionPacket(origin, packet) => node.handle_session_packet(origin, packet, now),
            Action::ControlDatagram(datagram) => node.handle_datagram(from, datagram, now),
            Action::ControlPacket(tunnel, packet) => node.handle_tunnel_packet(tunnel, packet, now),
            Action::Probe(packet) => node.handle_probe_packet(packet, now),
            Action::Drop(_) | Action::Nothing => {}
        }
        while let Some(activity) = host.forwarder.poll_activity() {
            node.handle_activity(activity, now);
        }
        if let Some(packet) = delivered {
            host.deliver(packet);
        }
        if let Some(tap) = self.taps.get_mut(&id) {
            tap.opened.push(self.out[..2048].to_vec());
        }
        if let Some((remote, datagram)) = send {
            self.send(id, remote, datagram);
        }
        if let Some((remote, span)) = onwards {
            let frame = bytes[span].to_vec();
            match self.hostile.get(&id) {
                Some(tamper) => {
                    for frame in tamper(&frame) {
                        self.send(id, remote, frame);
                    }
                }
                None => self.send(id, remote, frame),
            }
        }
        self.pump(id);
    }

    /// A packet that the node originates.
    pub(crate) fn originate(&mut self, id: HostId, mut packet: Vec<u8>) {
        let now = self.now;
        let host = &mut self.hosts[id.0 as usize];
        let Some(node) = &mut host.node else { return };
        let action = host
            .forwarder
            .from_tun(&host.snapshot, &mut packet, &mut self.out, now);
        let (mut send, mut delivered) = (None, None);
        match action {
            Action::Send { remote, datagram } => send = Some((remote, datagram.to_vec())),
            Action::Deliver(packet) => delivered = Some(packet.to_vec()),
            Action::NeedsSession(packet) => node.handle_unsent_packet(packet, now),
            Action::Probe(packet) => node.handle_probe_packet(packet, now),
            Action::SendInPlace { .. }
            | Action::RelayedHandshake(..)
            | Action::SessionPacket(..)
            | Action::ControlDatagram(_)
            | Action::ControlPacket(..)
            | Action::Drop(_)
            | Action::Nothing => {}
        }
        while let Some(activity) = host.forwarder.poll_activity() {
            node.handle_activity(activity, now);
        }
        if let Some(packet) = delivered {
            host.deliver(packet);
        }
        if let Some((remote, datagram)) = send {
            self.send(id, remote, datagram);
        }
    }

    // The node's outputs.

    /// Drains everything a node wants done, until it wants nothing more.
    pub(crate) fn pump(&mut self, id: HostId) {
        for _ in 0..MAX_ROUNDS {
            if !self.pump_once(id) {
                self.schedule_wake(id);
                return;
            }
        }
        self.violations
            .push(format!("{:?}: {id:?} does not come to rest", self.now));
    }

    fn pump_once(&mut self, id: HostId) -> bool {
        let mut busy = false;
        while let Some(snapshot) = self.node_mut(id).and_then(Node::poll_fib_change) {
            busy = true;
            self.publish(id, &snapshot);
        }
        while let Some(transmit) = self.node_mut(id).and_then(Node::poll_transmit) {
            busy = true;
            self.send(id, transmit.remote, transmit.datagram);
        }
        while let Some(packet) = self.node_mut(id).and_then(Node::poll_packet) {
            busy = true;
            self.originate(id, packet);
        }
        while let Some(request) = self.node_mut(id).and_then(Node::poll_request) {
            busy = true;
            self.request(id, request);
        }
        while let Some(event) = self.node_mut(id).and_then(Node::poll_event) {
            busy = true;
            self.tell(id, event);
        }
        busy
    }

    fn node_mut(&mut self, id: HostId) -> Option<&mut Node> {
        self.hosts[id.0 as usize].node.as_mut()
    }

    fn publish(&mut self, id: HostId, snapshot: &Snapshot) {
        let host = &mut self.hosts[id.0 as usize];
        // There is no kernel behind the node.
        let snapshot = Snapshot {
            answers_echo: true,
            ..snapshot.clone()
        };
        let changes = snapshot.fib.changes_since(&host.snapshot.fib);
        host.snapshot = Arc::new(snapshot);
        host.table_changes += changes.len() as u64;
        for prefix in changes {
            if let Some(path) = self.find_loop(id, prefix) {
                self.violations
                    .push(format!("{:?}: loop for {prefix}: {path:?}", self.now));
            }
        }
    }

    fn schedule_wake(&mut self, id: HostId) {
        let now = self.now;
        let host = &mut self.hosts[id.0 as usize];
        let Some((at, reason)) = host.node.as_ref().and_then(Node::poll_timeout) else {
            return;
        };
        // Time moves even for a node that always finds something overdue.
        let at = at.max(now + Duration::from_micros(1));
        if host.wake.is_some_and(|wake| wake <= at && wake >= now) {
            return;
        }
        host.wake = Some(at);
        *host.wakes.entry(reason).or_default() += 1;
        let boot = host.boot;
        self.schedule(at, Happening::Wake(id, boot));
    }

    fn request(&mut self, id: HostId, request: Request) {
        let host = &mut self.hosts[id.0 as usize];
        let boot = host.boot;
        let node = host.node.as_ref();
        let reply = match request {
            Request::SaveCache => {
                host.disk.bundles = node.map(Node::bundles).unwrap_or_default();
                return;
            }
            Request::SaveSeqno(seqno) => {
                host.disk.seqno = seqno;
                return;
            }
            Request::SaveRevocations => {
                host.disk.revocations = node.and_then(Node::revocations).cloned();
                return;
            }
            _ if !self.registry.reachable => {
                let at = self.now + REGISTRY_TIMEOUT;
                return self.schedule(at, Happening::Registry(id, boot, RegistryReply::Unreachable));
            }
            Request::Publish(bundle) => {
                host.disk.record_sequence = bundle.record.sequence;
                self.registry.publish(bundle);
                RegistryReply::Done
            }
            Request::FetchDirectory => {
                let bundles = self.registry.sample(&mut self.random);
                RegistryReply::Run(Box::new(Command::AddBundles(bundles)))
            }
            Request::FetchRevocations => match self.registry.list().cloned() {
                Some(list) => RegistryReply::Run(Box::new(Command::SetRevocations(list))),
                None => RegistryReply::Done,
            },
            Request::Renew => {
                let (keys, more) = (Arc::clone(&host.keys), host.options.more_prefixes);
                let now = self.wall_clock();
                let certificate = self.registry.certify(&keys, id.0, more, now);
                self.hosts[id.0 as usize].certificate = certificate.clone();
                RegistryReply::Run(Box::new(Command::SetCertificate(certificate)))
            }
        };
        self.schedule(self.now + REGISTRY_RTT, Happening::Registry(id, boot, reply));
    }

    fn tell(&mut self, id: HostId, event: Event) {
        let now = self.now;
        match &event {
            Event::ProbeReply {
                id: probe, outcome, ..
            } => {
                if let Some(probe) = self.probes.get_mut(probe) {
                    match outcome {
                        ProbeOutcome::Echo => probe.answered = Some(now),
                        error => probe.error = Some(error.clone()),
                    }
                }
                return;
            }
            Event::RouteChanged { .. } => return,
            Event::Stopped => {
                let host = &mut self.hosts[id.0 as usize];
                host.stopped = Some(now);
                host.node = None;
                host.wake = None;
            }
            _ => {}
        }
        self.log.push((now, id, event));
    }
}

/// With the headers of UDP and IPv4.
fn on_the_wire(datagram: &[u8]) -> u64 {
    (datagram.len() + OUTER_HEADERS) as u64
}
