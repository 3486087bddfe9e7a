//! Networks and misfortunes from a seed.

use crate::case::{Case, Deed, LinkSpec, Memory, NodeSpec, PREFIXES, Step, Weather};
use crate::random::{Random, mix};

/// The case of a seed: always the same one.
pub fn generate(seed: u64) -> Case {
    let mut random = Random::new(mix(seed, 3));
    let nodes = 2 + random.index(7);
    let mut links = topology(&mut random, nodes);
    links.iter_mut().for_each(|link| dress(&mut random, link));
    let used = 1 + random.index(PREFIXES);
    let origins = (0..used)
        .flat_map(|prefix| {
            // Sometimes an anycast prefix.
            let count = if random.percent(25) { 2 } else { 1 };
            let metric = if random.percent(80) {
                0
            } else {
                random.below(500) as u16
            };
            (0..count)
                .map(|_| (random.index(nodes), prefix, metric))
                .collect::<Vec<_>>()
        })
        .collect();
    // Some seqnos are about to wrap.
    let seqnos = (0..nodes).map(|_| NodeSpec {
        seqno: (0xfff8 + random.below(16)) as u16,
    });
    let seqnos = seqnos.collect();
    let mut making = Making {
        mood: Mood::draw(&mut random),
        random,
        nodes,
        links: &links,
        used,
    };
    let steps = making.steps();
    Case {
        note: String::new(),
        seed,
        nodes: seqnos,
        links,
        origins,
        steps,
        settle: true,
        fault: None,
        expect: None,
    }
}

fn bare(members: Vec<usize>, tunnel: bool) -> LinkSpec {
    LinkSpec {
        costs: vec![0; members.len()],
        members,
        tunnel,
        etx: false,
        ipv4: false,
        rtt: false,
        mac: false,
        hello_ms: 0,
        update_ms: 0,
        weather: Weather::FINE,
    }
}

fn topology(random: &mut Random, nodes: usize) -> Vec<LinkSpec> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    let line = (1..nodes).map(|node| (node - 1, node));
    match random.below(6) {
        0 => pairs.extend(line),
        1 => {
            pairs.extend(line);
            pairs.push((nodes - 1, 0));
        }
        2 => {
            // Diamonds in a row.
            for node in 0..nodes {
                pairs.extend(
                    [(node, node + 1), (node, node + 2)]
                        .iter()
                        .filter(|(_, b)| *b < nodes),
                );
            }
        }
        3 => pairs.extend((0..nodes.min(6)).flat_map(|b| (0..b).map(move |a| (a, b)))),
        4 => pairs.extend((1..nodes).map(|node| (0, node))),
        _ => {
            pairs.extend((1..nodes).map(|node| (random.index(node), node)));
            for _ in 0..random.index(nodes + 1) {
                pairs.push((random.index(nodes), random.index(nodes)));
            }
        }
    }
    // Two links between the same nodes are welcome.
    let tunnels = random.pick(&[0, 50, 100]);
    let mut links: Vec<LinkSpec> = pairs
        .into_iter()
        .filter(|(a, b)| a != b)
        .map(|(a, b)| bare(vec![a, b], random.percent(tunnels)))
        .collect();
    // And links with several members.
    for _ in 0..random.below(3) {
        let mut members: Vec<usize> = (0..nodes).filter(|_| random.percent(60)).collect();
        members.truncate(6);
        if members.len() >= 2 {
            links.push(bare(members, false));
        }
    }
    links
}

fn dress(random: &mut Random, link: &mut LinkSpec) {
    link.etx = random.percent(60);
    link.ipv4 = random.percent(50);
    link.rtt = random.percent(20);
    link.mac = random.percent(15);
    let even = random.percent(40).then_some(96);
    let costs = link.members.iter().map(|_| even.unwrap_or(0));
    link.costs = costs
        .map(|cost| {
            if cost > 0 {
                cost
            } else {
                random.between(1, 1500) as u16
            }
        })
        .collect();
    let (hello_ms, update_ms) =
        random.pick(&[(500, 2_000), (1_000, 4_000), (4_000, 16_000), (4_000, 60_000)]);
    (link.hello_ms, link.update_ms) = (hello_ms, update_ms);
    link.weather = weather(random);
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        delay_us: random.pick(&[200, 5_000, 50_000, 400_000]),
        jitter_us: random.pick(&[0, 1_000, 30_000, 500_000]),
        loss: random.pick(&[0, 0, 5, 30, 60]),
        copies: random.pick(&[0, 0, 10, 50]),
    }
}

/// How much of what happens: a case is about few things.
struct Mood {
    /// Chances of the kinds of deeds.
    weights: [u64; KINDS],
    /// Longest quiet between two deeds, in microseconds.
    longest_wait: u64,
    /// Deaths that lose the seqno, in percent.
    amnesia: u64,
    deeds: usize,
}

const KINDS: usize = 18;

impl Mood {
    fn draw(random: &mut Random) -> Self {
        let mut weights = [0; KINDS];
        for weight in &mut weights {
            *weight = random.pick(&[0, 0, 1, 3]);
        }
        // Something must happen.
        weights[random.index(KINDS)] += 2;
        Self {
            weights,
            longest_wait: random.pick(&[50_000, 500_000, 3_000_000, 20_000_000]),
            amnesia: random.pick(&[0, 0, 20, 80]),
            deeds: random.index(80),
        }
    }
}

struct Making<'a> {
    random: Random,
    mood: Mood,
    nodes: usize,
    links: &'a [LinkSpec],
    used: usize,
}

impl Making<'_> {
    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < self.mood.deeds {
            for deed in self.deed() {
                // Mostly short, sometimes long.
                let longest = self.random.between(1, self.mood.longest_wait);
                steps.push(Step {
                    wait_us: self.random.below(longest),
                    deed,
                });
            }
        }
        steps
    }

    fn member(&mut self) -> (usize, usize) {
        let link = self.random.index(self.links.len());
        (link, self.random.pick(&self.links[link].members))
    }

    fn deed(&mut self) -> Vec<Deed> {
        let total: u64 = self.mood.weights.iter().sum();
        let mut at = self.random.below(total);
        let kind = self
            .mood
            .weights
            .iter()
            .position(|weight| match at.checked_sub(*weight) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            });
        let node = self.random.index(self.nodes);
        let (link, member) = self.member();
        let prefix = self.random.index(self.used);
        let even = self.random.percent(50);
        vec![match kind.unwrap_or(0) {
            0 => {
                let to = self.random.pick(&self.links[link].members);
                let (from, on) = (member, even);
                if self.random.percent(50) {
                    return vec![
                        Deed::Block { link, from, to, on },
                        Deed::Block {
                            link,
                            from: to,
                            to: from,
                            on,
                        },
                    ];
                }
                Deed::Block { link, from, to, on }
            }
            1 => Deed::Partition {
                set: if even {
                    0
                } else {
                    self.random.below(1 << self.nodes)
                },
            },
            2 => Deed::Weather {
                link,
                weather: weather(&mut self.random),
            },
            3 => Deed::Cost {
                link,
                node: member,
                cost: self.random.between(1, 2000) as u16,
            },
            4 => Deed::Usable {
                link,
                node: member,
                usable: even,
            },
            5 => Deed::Interface {
                link,
                node: member,
                up: even,
            },
            6 => Deed::Hello {
                link,
                node: member,
                ms: self.random.pick(&[200, 1_000, 5_000]),
            },
            7 => Deed::Kill { node },
            8 => Deed::Stop { node },
            9 => {
                let memory = match self.random.percent(self.mood.amnesia) {
                    true if even => Memory::NewName,
                    true => Memory::Nothing,
                    false => Memory::Seqno,
                };
                Deed::Start { node, memory }
            }
            10 => {
                if even {
                    Deed::Sleep { node }
                } else {
                    Deed::Wake {
                        node,
                        clock_ran: self.random.percent(60),
                    }
                }
            }
            11 => Deed::Leap {
                node,
                ms: self.random.pick(&[100, 3_000, 30_000, 600_000]),
            },
            12 => {
                let metric = self.random.pick(&[0, 0, 1, 300]);
                if even {
                    // It moves to another node.
                    let withdraw = |node| Deed::Withdraw { node, prefix };
                    let mut all: Vec<Deed> = (0..self.nodes).filter(|n| *n != node).map(withdraw).collect();
                    let at = self.random.index(all.len() + 1);
                    all.insert(at, Deed::Announce { node, prefix, metric });
                    return all;
                }
                Deed::Announce { node, prefix, metric }
            }
            13 => Deed::Withdraw { node, prefix },
            14 => Deed::Penalty {
                node,
                penalty: self.random.pick(&[0, 100, 3_000]),
            },
            15 => {
                if even {
                    Deed::Ask {
                        node: member,
                        link,
                        prefix: self.random.percent(50).then_some(prefix),
                    }
                } else {
                    Deed::Storm {
                        node: member,
                        link,
                        prefix,
                        packets: self.random.between(1, 20) as u8,
                    }
                }
            }
            16 => Deed::Replay { link },
            _ => Deed::Refuse {
                node,
                prefix,
                on: even,
            },
        }]
    }
}
