//! A virtual network of speakers: links with delay, jitter (hence reordering) and loss, in virtual time. After
//! every event that changes a route the next hops of that prefix are checked for loops.
#![allow(dead_code, clippy::unwrap_used)] // Each test binary uses a part.

use osier_babel::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ends: (usize, usize),
    pub(crate) up: bool,
    pub(crate) delay: Duration,
    /// Largest addition to the delay, drawn per packet.
    pub(crate) jitter: Duration,
    /// In percent, each way.
    pub(crate) loss: u64,
    pub(crate) cost: u16,
}

struct Packet {
    link: usize,
    to: usize,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    payload: Vec<u8>,
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Option<Speaker>>,
    pub(crate) links: Vec<Link>,
    pub(crate) model: CostModel,
    pub(crate) hello: Duration,
    pub(crate) update: Duration,
    /// Targets by node and prefix, as a forwarding table would have them.
    pub(crate) fib: Vec<BTreeMap<IpNet, Target>>,
    /// Octets sent by each node.
    pub(crate) octets: Vec<u64>,
    /// A digest of every packet and event in order.
    pub(crate) trace: u64,
    /// Checking for loops takes time in proportion to the network; large ones do without.
    pub(crate) checks_loops: bool,
    wire: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    rng: u64,
}

pub(crate) fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

pub(crate) fn prefix(node: usize) -> IpNet {
    format!("fd00:0:0:{:x}::/64", node + 1).parse().unwrap()
}

pub(crate) fn router_id(node: usize) -> RouterId {
    RouterId([0xaa, 0, 0, 0, 0, 0, (node >> 8) as u8, node as u8 + 1])
}

impl Net {
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            nodes: (0..nodes).map(|_| None).collect(),
            links: Vec::new(),
            model: CostModel::Etx,
            hello: Duration::from_secs(4),
            update: Duration::from_secs(60),
            fib: vec![BTreeMap::new(); nodes],
            octets: vec![0; nodes],
            trace: 0xcbf2_9ce4_8422_2325,
            checks_loops: true,
            wire: BTreeMap::new(),
            sent: 0,
            rng: seed,
        }
    }

    /// A network whose nodes all start at once, over the given links of cost 96 and 10 ms.
    pub(crate) fn started(nodes: usize, links: &[(usize, usize)], seed: u64) -> Self {
        let mut net = Self::new(nodes, seed);
        for ends in links {
            net.link(*ends);
        }
        (0..nodes).for_each(|node| net.start(node, 1));
        net
    }

    pub(crate) fn link(&mut self, ends: (usize, usize)) -> usize {
        let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(1));
        self.links.push(Link {
            ends,
            up: true,
            delay,
            jitter,
            loss: 0,
            cost: 96,
        });
        self.links.len() - 1
    }

    pub(crate) fn start(&mut self, node: usize, seqno: u16) {
        let seed = self.random();
        let config = Config {
            router_id: router_id(node),
            seqno,
            seed,
            limits: Limits::default(),
            forwarding: Forwarding::default(),
        };
        let mut speaker = Speaker::new(config, self.now);
        speaker.announce(prefix(node), 0, self.now);
        self.nodes[node] = Some(speaker);
        for link in 0..self.links.len() {
            if self.links[link].ends.0 == node || self.links[link].ends.1 == node {
                self.attach(node, link);
            }
        }
    }

    /// (Re)opens a link at one end.
    pub(crate) fn attach(&mut self, node: usize, link: usize) {
        let config = InterfaceConfig {
            cost_model: self.model,
            rx_cost: self.links[link].cost,
            hello_interval: self.hello,
            update_interval: self.update,
            link_local: address(node),
            ipv4: None,
            v4_via_v6: false,
            mtu: 1280,
            split_horizon: true,
            point_to_point: true,
            rtt: None,
        };
        let now = self.now;
        if let Some(speaker) = &mut self.nodes[node] {
            speaker.add_interface(InterfaceId(link as u32), config, now);
        }
        self.drain(node);
    }

    /// A node dies without a word. Links to it stay silent.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
        self.fib[node].clear();
    }

    /// Packets to and from a node that are still on their way are lost.
    pub(crate) fn forget_packets_of(&mut self, node: usize) {
        let links = &self.links;
        self.wire.retain(|_, packet| {
            let ends = links[packet.link].ends;
            ends.0 != node && ends.1 != node
        });
    }

    pub(crate) fn with<T>(&mut self, node: usize, act: impl FnOnce(&mut Speaker, Instant) -> T) -> T {
        let now = self.now;
        let result = act(self.nodes[node].as_mut().unwrap(), now);
        self.drain(node);
        result
    }

    pub(crate) fn speaker(&self, node: usize) -> &Speaker {
        self.nodes[node].as_ref().unwrap()
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.rng = self
            .rng
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let x = self.rng ^ (self.rng >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 17
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds; the time that took, or `None` when it was not met within `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if !self.step(start + limit) {
                return None;
            }
        }
        Some(self.now.saturating_since(start))
    }

    /// Jumps to the next event, unless that is after `end`.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        let packet = self.wire.keys().next().copied();
        let timer = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(n, speaker)| Some((speaker.as_ref()?.poll_timeout()?.0, n)))
            .min();
        let next = [packet.map(|(at, _)| at), timer.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if let Some(key) = packet.filter(|(at, _)| *at <= self.now) {
            let packet = self.wire.remove(&key).unwrap();
            self.deliver(packet);
        } else if let Some((_, node)) = timer {
            self.with(node, |speaker, now| speaker.handle_timeout(now));
        }
        true
    }

    fn deliver(&mut self, packet: Packet) {
        if !self.links[packet.link].up || self.nodes[packet.to].is_none() {
            return;
        }
        let id = InterfaceId(packet.link as u32);
        self.with(packet.to, |speaker, now| {
            speaker.handle_packet(id, packet.src, packet.dst, &packet.payload, &mut AcceptAll, now);
        });
    }

    fn drain(&mut self, node: usize) {
        let Some(speaker) = &mut self.nodes[node] else {
            return;
        };
        let mut transmits = Vec::new();
        while let Some(transmit) = speaker.poll_transmit() {
            transmits.push(transmit);
        }
        let mut changed = BTreeSet::new();
        while let Some(event) = speaker.poll_event() {
            self.trace = format!("{event:?}").bytes().fold(self.trace, mix);
            if let Event::RouteChanged { prefix, target, .. } = event {
                changed.insert(prefix);
                match target {
                    Target::Gone => self.fib[node].remove(&prefix),
                    target => self.fib[node].insert(prefix, target),
                };
            }
        }
        for transmit in transmits {
            self.trace = transmit.payload.iter().copied().fold(self.trace, mix);
            self.octets[node] += transmit.payload.len() as u64;
            self.transmit(node, transmit);
        }
        for prefix in changed.into_iter().filter(|_| self.checks_loops) {
            self.check_loops(&prefix);
        }
    }

    fn transmit(&mut self, from: usize, transmit: Transmit) {
        assert!(
            transmit.payload.len() <= 1280 - 48,
            "packet of {} octets",
            transmit.payload.len()
        );
        let index = transmit.interface.0 as usize;
        let link = self.links[index].clone();
        let to = if link.ends.0 == from {
            link.ends.1
        } else {
            link.ends.0
        };
        let dst = match transmit.destination {
            Destination::Multicast => MULTICAST,
            Destination::Unicast(address) => address,
        };
        if !link.up || self.random() % 100 < link.loss {
            return;
        }
        let jitter = Duration::from_micros(self.random() % (link.jitter.as_micros() as u64 + 1));
        self.sent += 1;
        let packet = Packet {
            link: index,
            to,
            src: address(from),
            dst,
            payload: transmit.payload,
        };
        self.wire
            .insert((self.now + link.delay + jitter, self.sent), packet);
    }

    /// The node that `node` forwards to for a prefix.
    pub(crate) fn next_hop(&self, node: usize, prefix: &IpNet) -> Option<usize> {
        let route = self.nodes[node].as_ref()?.selected(prefix)?;
        let link = &self.links[route.interface.0 as usize];
        Some(if link.ends.0 == node {
            link.ends.1
        } else {
            link.ends.0
        })
    }

    fn check_loops(&self, prefix: &IpNet) {
        for start in 0..self.nodes.len() {
            let (mut at, mut hops) = (start, 0);
            while let Some(next) = self.next_hop(at, prefix) {
                at = next;
                hops += 1;
                assert!(
                    hops <= self.nodes.len(),
                    "loop for {prefix} from node {start} at {:?}",
                    self.now
                );
            }
        }
    }

    /// Whether every live node reaches every other that is connected to it by usable links, and no other.
    pub(crate) fn is_converged(&self) -> bool {
        (0..self.nodes.len()).all(|to| {
            let distances = self.distances(to);
            (0..self.nodes.len())
                .filter(|n| *n != to && self.nodes[*n].is_some())
                .all(|from| {
                    let reaches = self.path_cost(from, to).is_some();
                    reaches == distances.contains_key(&from)
                })
        })
    }

    /// Whether, besides, all paths are shortest.
    pub(crate) fn is_optimal(&self) -> bool {
        (0..self.nodes.len()).all(|to| {
            let distances = self.distances(to);
            (0..self.nodes.len())
                .filter(|n| *n != to && self.nodes[*n].is_some())
                .all(|from| self.path_cost(from, to) == distances.get(&from).copied())
        })
    }

    /// Cost along the selected next hops.
    pub(crate) fn path_cost(&self, from: usize, to: usize) -> Option<u64> {
        let (mut at, mut cost) = (from, 0);
        for _ in 0..self.nodes.len() {
            if at == to {
                return self.nodes[to].as_ref().map(|_| cost);
            }
            let route = self.nodes[at].as_ref()?.selected(prefix(to))?;
            let link = &self.links[route.interface.0 as usize];
            if !link.up {
                return None;
            }
            cost += u64::from(link.cost);
            at = if link.ends.0 == at {
                link.ends.1
            } else {
                link.ends.0
            };
        }
        None
    }

    /// True distances to a node over live nodes and links.
    pub(crate) fn distances(&self, to: usize) -> BTreeMap<usize, u64> {
        let mut known = BTreeMap::new();
        let mut queue = BTreeSet::new();
        if self.nodes[to].is_some() {
            queue.insert((0, to));
        }
        while let Some((cost, node)) = queue.pop_first() {
            if known.contains_key(&node) {
                continue;
            }
            known.insert(node, cost);
            for link in self.links.iter().filter(|link| link.up) {
                let other = match link.ends {
                    (a, b) if a == node => b,
                    (a, b) if b == node => a,
                    _ => continue,
                };
                if self.nodes[other].is_some() {
                    queue.insert((cost + u64::from(link.cost), other));
                }
            }
        }
        known
    }
}

fn mix(hash: u64, octet: u8) -> u64 {
    (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
}
