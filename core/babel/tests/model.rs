//! Random networks under random misfortune: no loop at any instant, and shortest paths once peace returns.
#![allow(clippy::unwrap_used)]

mod net;

use net::{Net, prefix};
use osier_babel::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Mishap {
    /// A link stops or starts to carry packets, and nobody is told.
    Silence(usize, bool),
    /// The owners notice.
    Usable(usize, bool),
    Cost(usize, u16),
    Loss(usize, u64),
    /// A node dies; it comes back with a seqno above its last one.
    Kill(usize),
    Restart(usize),
    Penalty(usize, u16),
    Withdraw(usize),
    Announce(usize),
    HelloInterval(usize, u64),
}

fn mishap(nodes: usize, links: usize) -> impl Strategy<Value = Mishap> {
    prop_oneof![
        3 => (0..links, any::<bool>()).prop_map(|(link, up)| Mishap::Silence(link, up)),
        3 => (0..links, any::<bool>()).prop_map(|(link, usable)| Mishap::Usable(link, usable)),
        3 => (0..links, 10u16..2000).prop_map(|(link, cost)| Mishap::Cost(link, cost)),
        2 => (0..links, 0u64..60).prop_map(|(link, loss)| Mishap::Loss(link, loss)),
        1 => (0..nodes).prop_map(Mishap::Kill),
        2 => (0..nodes).prop_map(Mishap::Restart),
        1 => (0..nodes, prop_oneof![Just(0), Just(3000)]).prop_map(|(n, p)| Mishap::Penalty(n, p)),
        1 => (0..nodes).prop_map(Mishap::Withdraw),
        1 => (0..nodes).prop_map(Mishap::Announce),
        1 => (0..links, 1u64..5).prop_map(|(link, seconds)| Mishap::HelloInterval(link, seconds)),
    ]
}

#[derive(Clone, Debug)]
struct Scenario {
    nodes: usize,
    links: Vec<(usize, usize, u16, u64, u64)>,
    mishaps: Vec<(Mishap, u64)>,
    seed: u64,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    (3usize..8, any::<u64>()).prop_flat_map(|(nodes, seed)| {
        let end = 0..nodes;
        let link = (end.clone(), end, 10u16..2000, 0u64..40, 0u64..200);
        let extra = proptest::collection::vec(link, 0..nodes);
        let line = proptest::collection::vec((10u16..2000, 0u64..40, 0u64..200), nodes - 1);
        (extra, line).prop_flat_map(move |(extra, line)| {
            let line = line
                .into_iter()
                .enumerate()
                .map(|(n, (c, l, j))| (n, n + 1, c, l, j));
            let links: Vec<_> = line.chain(extra.into_iter().filter(|l| l.0 != l.1)).collect();
            let mishaps = proptest::collection::vec((mishap(nodes, links.len()), 0u64..8000), 0..40);
            mishaps.prop_map(move |mishaps| Scenario {
                nodes,
                links: links.clone(),
                mishaps,
                seed,
            })
        })
    })
}

struct World {
    net: Net,
    seqnos: Vec<u16>,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let mut net = Net::new(scenario.nodes, scenario.seed);
        for (a, b, cost, loss, jitter) in &scenario.links {
            let link = net.link((*a, *b));
            net.links[link].cost = *cost;
            net.links[link].loss = *loss;
            net.links[link].jitter = Duration::from_millis(*jitter);
        }
        (0..scenario.nodes).for_each(|node| net.start(node, 1));
        Self {
            net,
            seqnos: vec![1; scenario.nodes],
        }
    }

    fn alive(&self, node: usize) -> bool {
        self.net.nodes[node].is_some()
    }

    fn at_ends(&mut self, link: usize, act: impl Fn(&mut Speaker, InterfaceId, Instant)) {
        let (a, b) = self.net.links[link].ends;
        for node in [a, b]
            .into_iter()
            .filter(|n| self.net.nodes[*n].is_some())
            .collect::<Vec<_>>()
        {
            self.net
                .with(node, |speaker, now| act(speaker, InterfaceId(link as u32), now));
        }
    }

    fn kill(&mut self, node: usize) {
        if self.alive(node) {
            self.seqnos[node] = self.net.speaker(node).seqno();
            self.net.kill(node);
        }
    }

    /// Its tunnels are new ones: what its neighbours knew about the old ones is gone.
    fn restart(&mut self, node: usize) {
        self.kill(node);
        self.seqnos[node] += 1;
        for link in 0..self.net.links.len() {
            let (a, b) = self.net.links[link].ends;
            if a == node || b == node {
                self.net.attach(if a == node { b } else { a }, link);
            }
        }
        self.net.forget_packets_of(node);
        self.net.start(node, self.seqnos[node]);
    }

    fn befall(&mut self, mishap: &Mishap) {
        match *mishap {
            Mishap::Silence(link, up) => self.net.links[link].up = up,
            Mishap::Usable(link, usable) => {
                self.at_ends(link, |speaker, id, now| speaker.set_link_usable(id, usable, now));
            }
            Mishap::Cost(link, cost) => {
                self.net.links[link].cost = cost;
                self.at_ends(link, |speaker, id, now| speaker.set_rx_cost(id, cost, now));
            }
            Mishap::Loss(link, loss) => self.net.links[link].loss = loss,
            Mishap::HelloInterval(link, seconds) => {
                let interval = Duration::from_secs(seconds);
                self.at_ends(link, |speaker, id, now| {
                    speaker.set_hello_interval(id, interval, now)
                });
            }
            Mishap::Kill(node) => self.kill(node),
            Mishap::Restart(node) => self.restart(node),
            Mishap::Penalty(node, penalty) if self.alive(node) => {
                self.net
                    .with(node, |speaker, now| speaker.set_announce_penalty(penalty, now));
            }
            Mishap::Withdraw(node) if self.alive(node) => {
                self.net
                    .with(node, |speaker, now| speaker.withdraw(prefix(node), now));
            }
            Mishap::Announce(node) if self.alive(node) => {
                self.net
                    .with(node, |speaker, now| speaker.announce(prefix(node), 0, now));
            }
            _ => {}
        }
    }

    /// Everything works from now on.
    fn peace(&mut self) {
        for link in 0..self.net.links.len() {
            self.net.links[link].up = true;
            self.net.links[link].loss = 0;
            self.net.links[link].jitter = Duration::from_millis(1);
            self.at_ends(link, |speaker, id, now| speaker.set_link_usable(id, true, now));
        }
        for node in 0..self.net.nodes.len() {
            if !self.alive(node) {
                self.restart(node);
            }
            self.befall(&Mishap::Penalty(node, 0));
            self.befall(&Mishap::Announce(node));
        }
    }
}

proptest! {

    #[test]
    fn no_loop_ever_and_shortest_paths_in_the_end(scenario in scenario()) {
        let mut world = World::new(&scenario);
        for (mishap, pause) in &scenario.mishaps {
            world.befall(mishap);
            world.net.run_for(Duration::from_millis(*pause));
        }
        world.peace();
        prop_assert!(world.net.run_until(Duration::from_secs(60), Net::is_converged).is_some(), "reach");
        world.net.run_for(Duration::from_secs(150));
        let settled = world.net.run_until(Duration::from_secs(900), Net::is_optimal);
        prop_assert!(settled.is_some(), "shortest paths");
    }
}
