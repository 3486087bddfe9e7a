//! Speakers, links and virtual time, which jumps to the next event. What is done to them is in [`crate::run`].

use crate::case::{Case, Fault, Kind, LinkSpec, PREFIXES, Violation, Weather};
use crate::observer::{Happened, NAMES, Observer, Said};
use crate::random::{Random, mix};
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use osier_babel::*;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

const MTU: u16 = 1280;
const RTT: RttCost = RttCost {
    min: Duration::from_millis(10),
    max: Duration::from_millis(120),
    cost: 150,
};
/// Every clock shows something else; far enough from zero to be set back.
const EPOCH: u64 = 1 << 40;
/// Packets that one event may cause, per interface.
const MAX_BURST: usize = 64;
/// Packets of a link that may be replayed.
const MEMORY: usize = 32;
/// A case never takes so many.
const MAX_EVENTS: u64 = 3_000_000;

pub fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

pub fn address_index(address: Ipv6Addr) -> Option<usize> {
    usize::from(address.segments()[7]).checked_sub(1)
}

/// Plain prefixes, one from a source only, one that covers others, and the same of IPv4.
pub fn prefix(index: usize) -> RouteKey {
    let v6 = |third, length| {
        let net = Ipv6Addr::new(0xfd00, 0, third, 0, 0, 0, 0, 0);
        IpNet::new_assert(IpAddr::V6(net), length)
    };
    let v4 = |second, length| IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(10, second, 0, 0)), length);
    let (prefix, source) = match index {
        0..=2 => (v6(index as u16 + 1, 48), None),
        3 => (v6(3, 48), Some(v6(9, 48))),
        4 => (v6(5, 48), None),
        5 => (v6(0, 16), None),
        6 => (v4(6, 16), None),
        _ => (v4(0, 8), Some(v4(9, 16))),
    };
    RouteKey { prefix, source }
}

pub fn prefix_index(net: IpNet, source: Option<IpNet>) -> Option<usize> {
    let index = match (net.addr(), source) {
        (IpAddr::V6(_), Some(_)) => 3,
        (IpAddr::V6(_), None) if net.prefix_len() == 16 => 5,
        (IpAddr::V6(a), None) => usize::from(a.segments()[2]).checked_sub(1)?,
        (IpAddr::V4(_), None) => 6,
        (IpAddr::V4(_), Some(_)) => 7,
    };
    let key = RouteKey { prefix: net, source };
    (index < PREFIXES && prefix(index) == key).then_some(index)
}

/// A node's `name`th router-id.
pub fn router_id(node: usize, name: usize) -> RouterId {
    RouterId([0xaa, 0, 0, 0, 0, name as u8, 0, node as u8 + 1])
}

/// Numbers router-ids of all nodes.
pub fn router_index(id: RouterId) -> Option<usize> {
    let [0xaa, 0, 0, 0, 0, name, 0, node] = id.0 else {
        return None;
    };
    Some(usize::from(node).checked_sub(1)? * NAMES + usize::from(name))
}

#[derive(Debug)]
pub struct Node {
    pub speaker: Option<Speaker>,
    /// Which of its router-ids it bears.
    pub name: usize,
    /// What it would find on its disk.
    pub saved_seqno: u16,
    /// Its clock shows the world's time plus this.
    pub offset: u64,
    /// Since when it stands still.
    pub asleep: Option<u64>,
    /// When the speaker wants to be woken, in the world's time.
    wake: u64,
    /// What it originates while it lives.
    pub originates: [Option<u16>; PREFIXES],
    /// Prefixes that its authority refuses, as bits.
    pub refused: u8,
    /// When it last forgot, for [`Fault::Forget`].
    forgot: u64,
}

impl Node {
    fn local(&self, now: u64) -> u64 {
        self.asleep.unwrap_or(now) + self.offset
    }
}

#[derive(Debug)]
pub struct Link {
    pub spec: LinkSpec,
    pub weather: Weather,
    /// By sender and receiver.
    pub blocked: Vec<bool>,
    /// By member.
    pub costs: Vec<u16>,
    pub attached: Vec<bool>,
    /// Whether the speaker has been told so.
    pub present: Vec<bool>,
    /// The session of a tunnel, and the one that each end knows.
    pub session: u32,
    pub known_session: Vec<u32>,
    /// The last packets delivered, on a link with MACs.
    heard: VecDeque<Packet>,
    chance: Vec<Random>,
}

impl Link {
    pub fn slot(&self, node: usize) -> Option<usize> {
        self.spec.members.iter().position(|member| *member == node)
    }
}

#[derive(Clone, Debug)]
struct Packet {
    /// Delivered before.
    again: bool,
    link: usize,
    from: usize,
    to: usize,
    dst: Ipv6Addr,
    life: u32,
    session: u32,
    payload: Rc<(Vec<u8>, Said)>,
}

#[derive(Debug)]
pub struct World {
    /// In microseconds.
    pub now: u64,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub observer: Observer,
    pub events: u64,
    /// A digest of all packets in order.
    pub trace: u64,
    /// Nodes that are apart from the others.
    pub partition: u64,
    pub packets_sent: u64,
    /// Interfaces that were given keys so far.
    keyed: u64,
    /// Orders packets that arrive at one instant.
    carried: u64,
    fault: Option<Fault>,
    seed: u64,
    wire: BinaryHeap<Reverse<(u64, u64, usize)>>,
    packets: Vec<Option<Packet>>,
    free: Vec<usize>,
    said: Vec<Said>,
    transmits: Vec<Transmit>,
}

/// The authority of a node.
struct Refusals(u8);

impl Authority for Refusals {
    fn authorise(&mut self, update: &UpdateInfo) -> Verdict {
        match prefix_index(update.prefix, update.source) {
            Some(at) if self.0 >> at & 1 == 1 => Verdict::Refuse,
            _ => Verdict::Accept,
        }
    }
}

type Step = Result<(), Violation>;

static TRACE: AtomicBool = AtomicBool::new(false);

/// From now on every event is printed.
pub fn trace() {
    TRACE.store(true, Ordering::Relaxed);
}

impl World {
    /// Says what happens, to who wants to know.
    #[allow(clippy::print_stdout)]
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if TRACE.load(Ordering::Relaxed) {
            println!("{:>14.6} {}", self.now as f64 / 1e6, what());
        }
    }
}

impl World {
    pub fn new(case: &Case) -> Self {
        let node = |(index, spec): (usize, &crate::case::NodeSpec)| Node {
            speaker: None,
            name: 0,
            saved_seqno: spec.seqno,
            offset: EPOCH + mix(case.seed, index as u64) % EPOCH,
            asleep: None,
            wake: u64::MAX,
            originates: [None; PREFIXES],
            refused: 0,
            forgot: 0,
        };
        let link = |(index, spec): (usize, &LinkSpec)| Link {
            weather: spec.weather,
            blocked: vec![false; spec.members.len() * spec.members.len()],
            costs: spec.costs.clone(),
            attached: vec![true; spec.members.len()],
            present: vec![false; spec.members.len()],
            session: 0,
            known_session: vec![0; spec.members.len()],
            heard: VecDeque::new(),
            chance: (0..spec.members.len())
                .map(|slot| Random::new(mix(case.seed, (1000 + index * 100 + slot) as u64)))
                .collect(),
            spec: spec.clone(),
        };
        Self {
            now: 0,
            nodes: case.nodes.iter().enumerate().map(node).collect(),
            links: case.links.iter().enumerate().map(link).collect(),
            observer: Observer::new(
                case.nodes.len(),
                case.links.iter().map(|link| link.members.clone()),
            ),
            events: 0,
            trace: case.seed,
            partition: 0,
            packets_sent: 0,
            carried: 0,
            keyed: 0,
            fault: case.fault,
            seed: case.seed,
            wire: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            said: Vec::new(),
            transmits: Vec::new(),
        }
    }

    pub fn violation(&self, kind: Kind, detail: String) -> Violation {
        Violation {
            kind,
            at_us: self.now,
            event: self.events,
            detail,
        }
    }

    /// What the node's clock shows.
    pub fn local(&self, node: usize) -> u64 {
        self.nodes[node].local(self.now)
    }

    /// What the node's speaker is told that the time is.
    fn instant(&self, node: usize) -> Instant {
        let local = self.local(node);
        Instant::from_micros(match self.fault {
            Some(Fault::SlowClock { node: slow }) if slow == node => EPOCH + (local - EPOCH) / 8,
            _ => local,
        })
    }

    /// Gives a node a speaker. What it remembers is decided already.
    pub fn bear(&mut self, node: usize, seqno: u16) -> Step {
        let name = self.nodes[node].name;
        self.observer.started(node, node * NAMES + name);
        let life = self.observer.life(node);
        self.make_speaker(node, seqno, life);
        for link in 0..self.links.len() {
            let Some(slot) = self.links[link].slot(node) else {
                continue;
            };
            self.links[link].present[slot] = false;
            if self.links[link].attached[slot] {
                self.renew_session(link, slot)?;
                self.add_interface(node, link);
            }
        }
        let now = self.instant(node);
        for at in 0..PREFIXES {
            if let (Some(metric), Some(speaker)) =
                (self.nodes[node].originates[at], self.nodes[node].speaker.as_mut())
            {
                speaker.announce(prefix(at), metric, now);
            }
        }
        self.drain(node, 0)
    }

    fn make_speaker(&mut self, node: usize, seqno: u16, life: u32) {
        let seed = mix(self.seed, (node as u64) << 32 | u64::from(life));
        let config = Config {
            router_id: router_id(node, self.nodes[node].name),
            seqno,
            seed,
            limits: Limits::default(),
            forwarding: Forwarding::default(),
        };
        let now = self.instant(node);
        self.nodes[node].speaker = Some(Speaker::new(config, now));
    }

    /// The far end of a tunnel sees a new interface; on other links nobody sees anything.
    pub fn renew_session(&mut self, link: usize, slot: usize) -> Step {
        if !self.links[link].spec.tunnel {
            return Ok(());
        }
        self.links[link].session += 1;
        self.links[link].known_session[slot] = self.links[link].session;
        let far = 1 - slot;
        self.meet_session(link, far)
    }

    /// This end of a tunnel takes note of a new session, when it is there and awake.
    pub fn meet_session(&mut self, link: usize, slot: usize) -> Step {
        let node = self.links[link].spec.members[slot];
        let current = self.links[link].session;
        if self.links[link].known_session[slot] == current
            || self.nodes[node].asleep.is_some()
            || self.nodes[node].speaker.is_none()
        {
            return Ok(());
        }
        self.links[link].known_session[slot] = current;
        if self.links[link].attached[slot] {
            self.add_interface(node, link);
            self.drain(node, 0)?;
        }
        Ok(())
    }

    /// Starts the interface, anew when it is there.
    pub fn add_interface(&mut self, node: usize, link: usize) {
        let here = &self.links[link];
        let Some(slot) = here.slot(node) else { return };
        let config = InterfaceConfig {
            cost_model: if here.spec.etx {
                CostModel::Etx
            } else {
                CostModel::TwoOutOfThree
            },
            rx_cost: here.costs[slot],
            hello_interval: Duration::from_millis(here.spec.hello_ms),
            update_interval: Duration::from_millis(here.spec.update_ms),
            link_local: address(node),
            ipv4: here
                .spec
                .ipv4
                .then_some(Ipv4Addr::new(10, 255, link as u8, node as u8 + 1)),
            v4_via_v6: true,
            mtu: MTU,
            split_horizon: here.spec.tunnel,
            point_to_point: here.spec.tunnel,
            rtt: here.spec.rtt.then_some(RTT),
        };
        self.links[link].present[slot] = true;
        let now = self.instant(node);
        self.observer.interface_gone(node, link);
        if let Some(speaker) = &mut self.nodes[node].speaker {
            let id = InterfaceId(link as u32);
            speaker.add_interface(id, config, now);
            if self.links[link].spec.mac
                && let Ok(key) = MacKey::blake2s(&[link as u8 + 1; 16])
            {
                // A seed is all the entropy that there is here, but it never comes twice.
                self.keyed += 1;
                let mut entropy = [0; 32];
                entropy[..8].copy_from_slice(&mix(self.seed, self.keyed).to_be_bytes());
                entropy[8..16].copy_from_slice(&self.keyed.to_be_bytes());
                let authentication = Authentication {
                    keys: vec![key],
                    mode: if self.fault == Some(Fault::BelievesAll { node }) {
                        AuthenticationMode::SignOnly
                    } else {
                        AuthenticationMode::Require
                    },
                    entropy,
                };
                speaker.set_authentication(id, Some(authentication), now);
            }
        }
    }

    /// Lets somebody do something with a node that is there and awake, and deals with what follows.
    pub fn with(&mut self, node: usize, act: impl FnOnce(&mut Speaker, Instant)) -> Step {
        let now = self.instant(node);
        match &mut self.nodes[node] {
            Node {
                speaker: Some(speaker),
                asleep: None,
                ..
            } => act(speaker, now),
            _ => return Ok(()),
        }
        self.drain(node, 0)
    }

    /// What the node's authority says now is applied to what was accepted earlier, if the node is awake.
    pub fn reauthorise(&mut self, node: usize) -> Step {
        let refused = self.nodes[node].refused;
        if self.nodes[node].asleep.is_some() {
            return Ok(());
        }
        (0..PREFIXES)
            .filter(|at| refused >> at & 1 == 1)
            .for_each(|at| self.observer.refused(node, at));
        self.with(node, |speaker, now| {
            speaker.reauthorise(&mut Refusals(refused), now)
        })
    }

    pub fn end_life(&mut self, node: usize) {
        if let Some(speaker) = self.nodes[node].speaker.take() {
            self.nodes[node].saved_seqno = speaker.seqno();
        }
        self.nodes[node].asleep = None;
        self.nodes[node].wake = u64::MAX;
        self.observer.ended(node);
    }

    /// Runs until the time is `end`.
    pub fn run_until(&mut self, end: u64) -> Step {
        while self.step(end)? {}
        self.now = self.now.max(end);
        Ok(())
    }

    /// The next event, unless that is after `end`.
    fn step(&mut self, end: u64) -> Result<bool, Violation> {
        if self.events > MAX_EVENTS {
            return Err(self.violation(Kind::Bounds, "this never ends".into()));
        }
        let arrival = self.wire.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let (mut wake, mut node) = (u64::MAX, 0);
        for (index, candidate) in self.nodes.iter().enumerate() {
            if candidate.wake < wake {
                (wake, node) = (candidate.wake, index);
            }
        }
        let next = arrival.min(wake);
        if next > end {
            return Ok(false);
        }
        self.now = self.now.max(next);
        if arrival <= wake {
            if let Some(Reverse((_, _, slot))) = self.wire.pop() {
                self.free.push(slot);
                if let Some(packet) = self.packets[slot].take() {
                    self.deliver(packet)?;
                }
            }
        } else {
            self.wake(node)?;
        }
        Ok(true)
    }

    fn wake(&mut self, node: usize) -> Step {
        self.events += 1;
        let now = self.instant(node);
        if let Some(Fault::Forget { node: one, every_ms }) = self.fault
            && one == node
            && self.now >= self.nodes[node].forgot + every_ms * 1000
        {
            return self.forget(node);
        }
        let Some(speaker) = &mut self.nodes[node].speaker else {
            return Ok(());
        };
        speaker.handle_timeout(now);
        if let Some((at, reason)) = speaker.poll_timeout().filter(|(at, _)| *at <= now) {
            let detail = format!("node {node}: {reason:?} at {at:?} is due again at {now:?}");
            return Err(self.violation(Kind::Timer, detail));
        }
        self.drain(node, 0)
    }

    fn forget(&mut self, node: usize) -> Step {
        self.nodes[node].forgot = self.now;
        let seqno = self.nodes[node].speaker.as_ref().map_or(0, Speaker::seqno);
        self.make_speaker(node, seqno, 1);
        self.observer.forgot(node);
        for link in 0..self.links.len() {
            if self.links[link]
                .slot(node)
                .is_some_and(|slot| self.links[link].attached[slot])
            {
                self.add_interface(node, link);
            }
        }
        self.drain(node, 0)
    }

    fn deliver(&mut self, packet: Packet) -> Step {
        self.events += 1;
        let Packet { link, from, to, .. } = packet;
        let here = &self.links[link];
        let Some(slot) = here.slot(to).filter(|slot| here.attached[*slot]) else {
            return Ok(());
        };
        let stale =
            here.spec.tunnel && (packet.session != here.session || here.known_session[slot] != here.session);
        if stale || self.nodes[to].speaker.is_none() || self.nodes[to].asleep.is_some() {
            return Ok(());
        }
        let (now, local, refused) = (self.instant(to), self.local(to), self.nodes[to].refused);
        let tampered = self.tamper(&packet);
        let (payload, said) = tampered.as_ref().unwrap_or(&packet.payload);
        self.tell(|| format!("link {link}: {from} -> {to} {} {said:?}", packet.dst));
        let name = to * NAMES + self.nodes[to].name;
        let asked = said.requests.iter().filter(|router| **router == name).count();
        let (again, life) = (packet.again, packet.life);
        let mac = self.links[link].spec.mac;
        let mut heard = true;
        if let Some(speaker) = &mut self.nodes[to].speaker {
            let (id, src) = (InterfaceId(link as u32), address(from));
            let before = speaker.counters();
            speaker.handle_packet(id, src, packet.dst, payload, &mut Refusals(refused), now);
            // Only the speaker can tell which packets it believes: one of a restarted neighbour waits for a
            // challenge.
            heard = !mac || believed(speaker, before, (id, src), now);
        }
        if again && heard {
            let detail = format!("node {to} believed a packet of node {from} twice: {said:?}");
            return Err(self.violation(Kind::Replay, detail));
        }
        if heard {
            self.observer
                .delivered(link, (to, from), life, said, local, refused);
        }
        let asked = if heard { asked } else { 0 };
        if mac && heard && tampered.is_none() {
            let memory = &mut self.links[link].heard;
            memory.truncate(MEMORY - 1);
            memory.push_front(packet);
        }
        self.drain(to, asked)
    }

    /// Somebody on the link repeats what it has heard.
    pub fn replay(&mut self, link: usize) {
        for packet in core::mem::take(&mut self.links[link].heard) {
            self.carry(
                self.now + 1_000,
                Packet {
                    again: true,
                    ..packet
                },
            );
        }
    }

    /// Faults of the wire.
    fn tamper(&self, packet: &Packet) -> Option<(Vec<u8>, Said)> {
        let change: fn(&mut [u8]) = match self.fault? {
            Fault::HalveMetrics { link } if link == packet.link => halve_metric,
            Fault::RaiseSeqnos { link } if link == packet.link => raise_seqno,
            Fault::DeafToRequests { node } if node == packet.to && !packet.payload.1.requests.is_empty() => {
                return Some((vec![42, 2, 0, 0], Said::default()));
            }
            _ => return None,
        };
        let mut payload = packet.payload.0.clone();
        each_update(&mut payload, change);
        let said = Said::read(&payload, address(packet.from))?;
        Some((payload, said))
    }

    /// Sends what a speaker wants to send, and has it checked. `asked` seqno requests were for it.
    pub fn drain(&mut self, node: usize, asked: usize) -> Step {
        let Some(mut speaker) = self.nodes[node].speaker.take() else {
            return Ok(());
        };
        let mut transmits = core::mem::take(&mut self.transmits);
        while let Some(mut transmit) = speaker.poll_transmit() {
            if self.fault == Some(Fault::Boast { node }) {
                each_update(&mut transmit.payload, halve_metric);
            }
            let Some(said) = Said::read(&transmit.payload, address(node)) else {
                let detail = format!("node {node} sent what it cannot read: {:02x?}", transmit.payload);
                return Err(self.violation(Kind::Packet, detail));
            };
            if transmit.payload.len() > usize::from(MTU) - 48 {
                let detail = format!("node {node} sent {} octets", transmit.payload.len());
                return Err(self.violation(Kind::Packet, detail));
            }
            self.said.push(said);
            transmits.push(transmit);
        }
        if transmits.len() > MAX_BURST * self.links.len().max(1) {
            let detail = format!("node {node} sent {} packets at once", transmits.len());
            return Err(self.violation(Kind::Bounds, detail));
        }
        let now = self.instant(node);
        let due = speaker.poll_timeout().map(|(at, _)| at);
        let mut said = core::mem::take(&mut self.said);
        let before = self.observer.vias(node);
        let (nodes, world_now) = (&self.nodes, self.now);
        let clock = |node: usize| nodes[node].local(world_now);
        let happened = Happened {
            node,
            local: clock(node),
            clock: &clock,
            asked,
            sent: &mut said,
            update_us: self.longest_update(node),
            punctual: due.is_none_or(|due| due > now),
        };
        let checked = self.observer.after(&mut speaker, happened);
        self.nodes[node].wake = due.map_or(u64::MAX, |due| self.world_time(node, due));
        self.nodes[node].speaker = Some(speaker);
        if self.observer.vias(node) != before {
            self.tell(|| format!("node {node}: {:?}", self.observer.vias(node)));
        }
        if let Err((kind, detail)) = checked {
            return Err(self.violation(kind, detail));
        }
        for (transmit, said) in transmits.drain(..).zip(said.drain(..)) {
            self.send(node, transmit, said);
        }
        (self.said, self.transmits) = (said, transmits);
        Ok(())
    }

    /// When a node's clock will show `at`.
    fn world_time(&self, node: usize, at: Instant) -> u64 {
        let local = match self.fault {
            Some(Fault::SlowClock { node: slow }) if slow == node => {
                EPOCH + (at.as_micros() - EPOCH).saturating_mul(8)
            }
            _ => at.as_micros(),
        };
        local.saturating_sub(self.nodes[node].offset)
    }

    fn longest_update(&self, node: usize) -> u64 {
        let here = self
            .links
            .iter()
            .filter(|link| link.slot(node).is_some_and(|slot| link.attached[slot]));
        here.map(|link| link.spec.update_ms * 1000).max().unwrap_or(0)
    }

    fn send(&mut self, from: usize, transmit: Transmit, said: Said) {
        self.packets_sent += 1;
        let link = transmit.interface.0 as usize;
        let dst = match transmit.destination {
            Destination::Multicast => MULTICAST,
            Destination::Unicast(address) => address,
        };
        for octets in transmit.payload.chunks(8) {
            let mut word = [0; 8];
            word[..octets.len()].copy_from_slice(octets);
            self.trace = (self.trace ^ u64::from_le_bytes(word))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        self.trace ^= self.now;
        self.throw(link, from, dst, Rc::new((transmit.payload, said)));
    }

    /// Puts a packet on a link, to be lost, delayed and doubled.
    pub fn throw(&mut self, link: usize, from: usize, dst: Ipv6Addr, payload: Rc<(Vec<u8>, Said)>) {
        let life = self.observer.life(from);
        let here = &mut self.links[link];
        let Some(sender) = here.slot(from) else { return };
        let (members, weather, session) = (here.spec.members.len(), here.weather, here.known_session[sender]);
        for receiver in 0..members {
            let here = &mut self.links[link];
            let to = here.spec.members[receiver];
            if receiver == sender || !(dst.is_multicast() || dst == address(to)) {
                continue;
            }
            let chance = &mut here.chance[sender];
            let lost = chance.percent(weather.loss);
            let copies = 1 + u64::from(chance.percent(weather.copies));
            let apart = (self.partition >> from ^ self.partition >> to) & 1 == 1;
            if lost || apart || here.blocked[sender * members + receiver] {
                continue;
            }
            for _ in 0..copies {
                let jitter = self.links[link].chance[sender].below(weather.jitter_us + 1);
                let packet = Packet {
                    again: false,
                    link,
                    from,
                    to,
                    dst,
                    life,
                    session,
                    payload: Rc::clone(&payload),
                };
                self.carry(self.now + weather.delay_us + jitter, packet);
            }
        }
    }

    fn carry(&mut self, at: u64, packet: Packet) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(None);
            self.packets.len() - 1
        });
        self.packets[slot] = Some(packet);
        self.carried += 1;
        self.wire.push(Reverse((at, self.carried, slot)));
    }

    /// A node that stands still wants nothing.
    pub fn set_wake(&mut self, node: usize) {
        let due = match &self.nodes[node] {
            Node {
                speaker: Some(speaker),
                asleep: None,
                ..
            } => speaker.poll_timeout(),
            _ => None,
        };
        self.nodes[node].wake = due.map_or(u64::MAX, |(at, _)| self.world_time(node, at));
    }
}

/// Whether the speaker acted on the packet that it was just given.
fn believed(speaker: &Speaker, before: Counters, from: (InterfaceId, Ipv6Addr), now: Instant) -> bool {
    let refused = |counters: Counters| counters.mac_failed + counters.mac_missing + counters.mac_replayed;
    let mut neighbours = speaker.neighbours();
    refused(speaker.counters()) == refused(before)
        && speaker.counters().challenges_sent == before.challenges_sent
        && neighbours.any(|n| (n.interface, n.address) == from && n.last_heard == Some(now))
}

/// Hands the body of every Update TLV to `change`.
fn each_update(payload: &mut [u8], change: fn(&mut [u8])) {
    let mut at = 4;
    while at + 1 < payload.len() {
        if payload[at] == 0 {
            at += 1;
            continue;
        }
        let end = at + 2 + usize::from(payload[at + 1]);
        if payload[at] == 8
            && let Some(body) = payload.get_mut(at + 2..end).filter(|body| body.len() >= 10)
        {
            change(body);
        }
        at = end;
    }
}

fn halve_metric(update: &mut [u8]) {
    let metric = u16::from_be_bytes([update[8], update[9]]);
    if metric != INFINITY {
        update[8..10].copy_from_slice(&(metric / 2).to_be_bytes());
    }
}

fn raise_seqno(update: &mut [u8]) {
    let seqno = u16::from_be_bytes([update[6], update[7]]).wrapping_add(1);
    update[6..8].copy_from_slice(&seqno.to_be_bytes());
}
