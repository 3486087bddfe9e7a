//! Speakers, links and virtual time, which jumps to the next event. What is done to them is in [`crate::run`].

mod carriage;
mod lives;

use crate::case::{Case, Fault, Kind, LinkSpec, PREFIXES, Violation, Weather};
use crate::names::{address, prefix_index};
use crate::observer::{Happened, Observer};
use crate::random::{Random, mix};
use crate::said::{Said, each_update, halve_metric};
use core::cmp::Reverse;
use core::net::Ipv6Addr;
use osier_babel::*;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

const MTU: u16 = 1280;
/// Every clock shows something else; far enough from zero to be set back.
const EPOCH: u64 = 1 << 40;
/// Packets that one event may cause, per interface.
const MAX_BURST: usize = 64;
/// A case never takes so many.
const MAX_EVENTS: u64 = 3_000_000;

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
