//! A large network of speakers in virtual time: each node announces one prefix and has links to a few random
//! others.

use osier_babel::{
    AcceptAll, Config, CostModel, Destination, Duration, Forwarding, Instant, InterfaceConfig, InterfaceId,
    IpNet, Limits, MULTICAST, RouterId, Speaker, Transmit,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::Ipv6Addr;

const NEVER: Instant = Instant::from_micros(u64::MAX);

/// The network to build.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub nodes: usize,
    /// Links of each node: even, less than the number of nodes.
    pub degree: usize,
    /// In percent, each way.
    pub loss: u64,
    pub seed: u64,
}

#[derive(Debug)]
struct Link {
    ends: (usize, usize),
    cost: u16,
    delay: Duration,
}

#[derive(Debug)]
struct Packet {
    link: usize,
    to: usize,
    transmit: Transmit,
}

#[derive(Debug)]
pub struct Mesh {
    plan: Plan,
    now: Instant,
    speakers: Vec<Speaker>,
    links: Vec<Link>,
    /// When nodes want to be woken; what differs from `armed` is out of date.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    armed: Vec<Instant>,
    flying: BTreeMap<(Instant, u64), Packet>,
    packets: u64,
    octets: u64,
    random: u64,
}

impl Mesh {
    /// All nodes start at once.
    pub fn start(plan: Plan) -> Self {
        let mut mesh = Self {
            plan,
            now: Instant::ZERO,
            speakers: Vec::new(),
            links: Vec::new(),
            alarms: BinaryHeap::new(),
            armed: vec![NEVER; plan.nodes],
            flying: BTreeMap::new(),
            packets: 0,
            octets: 0,
            random: plan.seed,
        };
        mesh.wire();
        for node in 0..plan.nodes {
            let seed = mesh.draw();
            let config = Config {
                router_id: RouterId([0xaa, 0, 0, 0, 0, 1, (node >> 8) as u8, node as u8]),
                seqno: 1,
                seed,
                limits: Limits::default(),
                forwarding: Forwarding::default(),
            };
            let mut speaker = Speaker::new(config, mesh.now);
            speaker.announce(prefix(node), 0, mesh.now);
            mesh.speakers.push(speaker);
        }
        for link in 0..mesh.links.len() {
            let (a, b) = mesh.links[link].ends;
            mesh.attach(a, link);
            mesh.attach(b, link);
        }
        for node in 0..plan.nodes {
            mesh.drain(node);
        }
        mesh
    }

    /// A ring keeps it connected; the rest of the links are random.
    fn wire(&mut self) {
        let nodes = self.plan.nodes;
        let mut pairs: BTreeSet<(usize, usize)> = (0..nodes).map(|n| ordered(n, (n + 1) % nodes)).collect();
        let mut degrees = vec![2; nodes];
        // The last few nodes may find no partner with a free place; then a link is missing.
        for _ in 0..nodes * self.plan.degree * 4 {
            let (a, b) = (self.draw() as usize % nodes, self.draw() as usize % nodes);
            if a != b
                && degrees[a] < self.plan.degree
                && degrees[b] < self.plan.degree
                && pairs.insert(ordered(a, b))
            {
                degrees[a] += 1;
                degrees[b] += 1;
            }
        }
        for ends in pairs {
            let (cost, delay) = (96 + self.draw() % 160, 5 + self.draw() % 45);
            self.links.push(Link {
                ends,
                cost: cost as u16,
                delay: Duration::from_millis(delay),
            });
        }
    }

    fn attach(&mut self, node: usize, link: usize) {
        let config = InterfaceConfig {
            cost_model: CostModel::Etx,
            rx_cost: self.links[link].cost,
            hello_interval: Duration::from_secs(4),
            update_interval: Duration::from_secs(60),
            link_local: address(node),
            ipv4: None,
            v4_via_v6: true,
            mtu: 1280,
            split_horizon: true,
            point_to_point: true,
            rtt: None,
        };
        self.speakers[node].add_interface(InterfaceId(link as u32), config, self.now);
    }

    /// Runs until every node reaches every other; the virtual time that took, or `None` after `limit`.
    pub fn converge(&mut self, limit: Duration) -> Option<Duration> {
        self.run_until(limit, Self::is_connected)
    }

    /// Runs until all routes are the shortest.
    pub fn settle(&mut self, limit: Duration) -> Option<Duration> {
        self.run_until(limit, Self::is_optimal)
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let mut pause = Duration::from_millis(250);
        let mut look = start;
        while self.now <= start + limit {
            if self.now >= look {
                if done(self) {
                    return Some(self.now.saturating_since(start));
                }
                // Looking takes a while in a large network.
                look = self.now + pause;
                pause = pause * 5 / 4;
            }
            self.step();
        }
        None
    }

    fn step(&mut self) {
        let packet = self.flying.first_key_value().map(|(key, _)| *key);
        let alarm = self.alarms.peek().map(|Reverse(alarm)| *alarm);
        let packet_first = match (packet, alarm) {
            (Some((at, _)), Some((wake, _))) => at <= wake,
            (packet, _) => packet.is_some(),
        };
        let node = if packet_first {
            let Some(((at, _), packet)) = self.flying.pop_first() else {
                return;
            };
            self.now = self.now.max(at);
            let Packet { link, to, transmit } = packet;
            let (a, b) = self.links[link].ends;
            let from = if a == to { b } else { a };
            let destination = match transmit.destination {
                Destination::Multicast => MULTICAST,
                Destination::Unicast(address) => address,
            };
            self.speakers[to].handle_packet(
                transmit.interface,
                address(from),
                destination,
                &transmit.payload,
                &mut AcceptAll,
                self.now,
            );
            to
        } else {
            let Some(Reverse((at, node))) = self.alarms.pop() else {
                return;
            };
            if self.armed[node] != at {
                return;
            }
            self.now = self.now.max(at);
            self.speakers[node].handle_timeout(self.now);
            self.armed[node] = NEVER;
            node
        };
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while self.speakers[node].poll_event().is_some() {}
        while let Some(transmit) = self.speakers[node].poll_transmit() {
            self.packets += 1;
            self.octets += transmit.payload.len() as u64;
            let link = transmit.interface.0 as usize;
            let Link {
                ends: (a, b), delay, ..
            } = self.links[link];
            if self.draw() % 100 < self.plan.loss {
                continue;
            }
            let at = self.now + delay + Duration::from_micros(self.draw() % 1000);
            let to = if a == node { b } else { a };
            self.flying
                .insert((at, self.packets), Packet { link, to, transmit });
        }
        if let Some((at, _)) = self.speakers[node].poll_timeout()
            && self.armed[node] != at
        {
            self.armed[node] = at;
            self.alarms.push(Reverse((at, node)));
        }
    }

    fn draw(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let x = self.random ^ (self.random >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 17
    }

    fn next_hop(&self, node: usize, prefix: &IpNet) -> Option<(usize, u16)> {
        let route = self.speakers[node].selected(*prefix)?;
        let Link {
            ends: (a, b), cost, ..
        } = self.links[route.interface.0 as usize];
        Some((if a == node { b } else { a }, cost))
    }

    /// Cost of the way from each node to `to` by the selected routes; `None` where there is none.
    fn costs(&self, to: usize) -> Vec<Option<u64>> {
        let prefix = prefix(to);
        let hops: Vec<_> = (0..self.plan.nodes)
            .map(|node| self.next_hop(node, &prefix))
            .collect();
        let mut costs = vec![None; self.plan.nodes];
        costs[to] = Some(0);
        for start in 0..self.plan.nodes {
            let (mut way, mut at) = (Vec::new(), start);
            while costs[at].is_none() && way.len() <= self.plan.nodes {
                let Some((next, _)) = hops[at] else { break };
                way.push(at);
                at = next;
            }
            for node in way.into_iter().rev() {
                costs[node] = hops[node].and_then(|(next, cost)| Some(costs[next]? + u64::from(cost)));
            }
        }
        costs
    }

    /// Whether every node reaches every other by the selected routes.
    fn is_connected(&self) -> bool {
        (0..self.plan.nodes).all(|to| self.costs(to).iter().all(Option::is_some))
    }

    /// Whether every way is the shortest.
    fn is_optimal(&self) -> bool {
        let mut around = vec![Vec::new(); self.plan.nodes];
        for link in &self.links {
            around[link.ends.0].push((link.ends.1, u64::from(link.cost)));
            around[link.ends.1].push((link.ends.0, u64::from(link.cost)));
        }
        (0..self.plan.nodes).all(|to| self.costs(to) == shortest(&around, to))
    }

    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Routes held by all nodes together.
    pub fn routes(&self) -> usize {
        self.speakers.iter().map(|speaker| speaker.routes().count()).sum()
    }

    /// Packets and octets sent so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.packets, self.octets)
    }
}

/// Dijkstra.
fn shortest(around: &[Vec<(usize, u64)>], to: usize) -> Vec<Option<u64>> {
    let mut known = vec![None; around.len()];
    let mut queue = BinaryHeap::from([Reverse((0, to))]);
    while let Some(Reverse((cost, node))) = queue.pop() {
        if known[node].is_none() {
            known[node] = Some(cost);
            queue.extend(
                around[node]
                    .iter()
                    .map(|(next, more)| Reverse((cost + more, *next))),
            );
        }
    }
    known
}

fn ordered(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

fn prefix(node: usize) -> IpNet {
    IpNet::new_assert(
        Ipv6Addr::new(0xfd00, 0, 0, node as u16 + 1, 0, 0, 0, 0).into(),
        64,
    )
}
