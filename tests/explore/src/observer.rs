//! What an omniscient listener knows: it hears every packet when it is sent and when it is delivered, and keeps
//! from that alone, by the letter of RFC 8966, everybody's feasibility distance and what every neighbour told.
//! After each event of a node it compares that account with what the node's speaker says it does.
//!
//! Why there are no loops: the feasibility distance (seqno, metric) of a next hop is strictly better than ours,
//! hop by hop, for one prefix and router-id. That is what [`Observer::after`] checks for each selected route of
//! the node at hand, besides following the next hops. A distance is excused from the comparison in two cases
//! that Babel does not cover: the route was told by an earlier life of the next hop, which lost its memory since
//! ([`Tally::former_self`]); or clocks stopped or leapt, and the route lives longer than the next hop must
//! remember to have told it ([`Tally::outslept`]).

mod checks;

use crate::case::{Kind, PREFIXES};
use crate::names::NAMES;
use crate::said::Said;
use core::net::IpAddr;
use osier_babel::INFINITY;

/// A source entry may be forgotten after this, or after four update intervals if that is longer.
const SOURCE_LIFETIME_US: u64 = 180_000_000;
/// A Hello seqno further off than this, in either direction, cannot be taken for the same life: 16 is the
/// limit, and 16 may have been counted as missed.
const FAR: u16 = 64;

/// A feasibility distance.
#[derive(Clone, Copy, Debug)]
struct Distance {
    seqno: u16,
    metric: u16,
    /// By its owner's clock: it may be forgotten from then on.
    until: u64,
    /// How often it was forgotten in this life.
    era: u32,
}

/// Whether the first (seqno, metric) is strictly better: newer, or as new and less.
fn better(a: (u16, u16), b: (u16, u16)) -> bool {
    newer(a.0, b.0) || (a.0 == b.0 && a.1 < b.1)
}

fn newer(a: u16, b: u16) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 0x8000
}

/// What a neighbour told about a prefix.
#[derive(Clone, Copy, Debug)]
struct Told {
    router: usize,
    seqno: u16,
    metric: u16,
    /// Which of the neighbour's lives told it.
    life: u32,
    era: u32,
    /// By the hearer's clock.
    expires: u64,
    /// What it told since, unfeasibly for the hearer, who used the route and may go on: seqno, metric, expiry.
    since: Option<(u16, u16, u64)>,
}

/// The last Hello heard from a neighbour.
#[derive(Clone, Copy, Debug)]
struct LastHello {
    seqno: u16,
    interval_us: u64,
    /// By the hearer's clock.
    at: u64,
    life: u32,
}

/// A selected route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    pub link: usize,
    pub next: usize,
    pub router: usize,
    pub seqno: u16,
    pub metric: u16,
}

/// What was seen that is worth a number, but is no violation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Loops among routes of several origins of one prefix: RFC 8966 section 2.4 allows them for a moment.
    pub mixed_loops: u64,
    /// Selected routes that an earlier life of the next hop told.
    pub former_self: u64,
    /// Loops through such a route.
    pub former_self_loops: u64,
    /// Selected routes that live longer than the next hop must remember, for clocks stopped or leapt.
    pub outslept: u64,
    pub selections: u64,
    pub claims: u64,
    pub seqnos_raised: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.mixed_loops += other.mixed_loops;
        self.former_self += other.former_self;
        self.former_self_loops += other.former_self_loops;
        self.outslept += other.outslept;
        self.selections += other.selections;
        self.claims += other.claims;
        self.seqnos_raised += other.seqnos_raised;
    }
}

#[derive(Clone, Debug)]
struct Seen {
    life: u32,
    seqno: Option<u16>,
    via: [Option<Via>; PREFIXES],
    /// As the events tell it.
    fib: [Option<(usize, IpAddr, usize)>; PREFIXES],
    /// Whether its clock ever stopped or leapt.
    slept: bool,
    /// Own router-id.
    name: usize,
}

#[derive(Debug)]
pub struct Observer {
    nodes: Vec<Seen>,
    routers: usize,
    /// By node, prefix, router.
    distances: Vec<Option<Distance>>,
    /// By link: its members, and where its part of `told` begins.
    links: Vec<(Vec<usize>, usize)>,
    /// By link, hearer, teller, prefix.
    told: Vec<Option<Told>>,
    /// By link, hearer, teller: the last Hello.
    hellos: Vec<Option<LastHello>>,
    /// Unfeasible updates of the packet at hand: pair, prefix, teller.
    unfeasible: Vec<(usize, usize, usize)>,
    pub tally: Tally,
}

/// What [`Observer::after`] needs to know of an event.
#[allow(missing_debug_implementations)]
pub struct Happened<'a> {
    pub node: usize,
    /// The node's clock.
    pub local: u64,
    /// What any node's clock shows.
    pub clock: &'a dyn Fn(usize) -> u64,
    /// Requests for the node's own router-id in the packet.
    pub asked: usize,
    /// What it sent.
    pub sent: &'a mut [Said],
    /// Longest update interval of its interfaces.
    pub update_us: u64,
    /// No timer is overdue: what had to expire has.
    pub punctual: bool,
}

type Check = Result<(), (Kind, String)>;

impl Observer {
    pub fn new(nodes: usize, links: impl Iterator<Item = Vec<usize>>) -> Self {
        let routers = nodes * NAMES;
        let seen = Seen {
            life: 0,
            seqno: None,
            via: [None; PREFIXES],
            fib: [None; PREFIXES],
            slept: false,
            name: 0,
        };
        let mut base = 0;
        let links: Vec<_> = links
            .map(|members| {
                let here = base;
                base += members.len() * members.len();
                (members, here)
            })
            .collect();
        Self {
            nodes: vec![seen; nodes],
            routers,
            distances: vec![None; nodes * PREFIXES * routers],
            links,
            told: vec![None; base * PREFIXES],
            hellos: vec![None; base],
            unfeasible: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub fn via(&self, node: usize, prefix: usize) -> Option<Via> {
        self.nodes[node].via[prefix]
    }

    pub fn vias(&self, node: usize) -> [Option<Via>; PREFIXES] {
        self.nodes[node].via
    }

    pub fn life(&self, node: usize) -> u32 {
        self.nodes[node].life
    }

    fn distance(&mut self, node: usize, prefix: usize, router: usize) -> &mut Option<Distance> {
        &mut self.distances[(node * PREFIXES + prefix) * self.routers + router]
    }

    /// The distance that the node must still remember.
    fn remembered(&self, node: usize, prefix: usize, router: usize, local: u64) -> Option<(u16, u16)> {
        self.distances[(node * PREFIXES + prefix) * self.routers + router]
            .filter(|distance| local < distance.until)
            .map(|distance| (distance.seqno, distance.metric))
    }

    fn pair(&self, link: usize, hearer: usize, teller: usize) -> Option<usize> {
        let (members, base) = &self.links[link];
        let slot = |node| members.iter().position(|member| *member == node);
        Some(base + slot(hearer)? * members.len() + slot(teller)?)
    }

    /// A node begins a life without memory.
    pub fn started(&mut self, node: usize, name: usize) {
        self.ended(node);
        self.nodes[node].life += 1;
        self.nodes[node].name = name;
        let all = PREFIXES * self.routers;
        self.distances[node * all..(node + 1) * all].fill(None);
    }

    pub fn ended(&mut self, node: usize) {
        let seen = &mut self.nodes[node];
        (seen.seqno, seen.via, seen.fib) = (None, [None; PREFIXES], [None; PREFIXES]);
        for link in 0..self.links.len() {
            self.interface_gone(node, link);
        }
    }

    /// Its clock stopped or leapt.
    pub fn slept(&mut self, node: usize) {
        self.nodes[node].slept = true;
    }

    /// For the fault that a speaker forgets: its routes are gone, but the account of it stays.
    pub fn forgot(&mut self, node: usize) {
        self.nodes[node].fib = [None; PREFIXES];
    }

    /// What the node heard on the interface is void.
    pub fn interface_gone(&mut self, node: usize, link: usize) {
        let tellers = self.links[link].0.len();
        for teller in 0..tellers {
            let teller = self.links[link].0[teller];
            if let Some(pair) = self.pair(link, node, teller) {
                self.forget_pair(pair);
            }
        }
    }

    fn forget_pair(&mut self, pair: usize) {
        self.hellos[pair] = None;
        self.told[pair * PREFIXES..(pair + 1) * PREFIXES].fill(None);
    }

    /// The node's authority refuses the prefix from now on.
    pub fn refused(&mut self, node: usize, prefix: usize) {
        for link in 0..self.links.len() {
            for teller in 0..self.links[link].0.len() {
                let teller = self.links[link].0[teller];
                if let Some(pair) = self.pair(link, node, teller) {
                    self.told[pair * PREFIXES + prefix] = None;
                }
            }
        }
    }

    /// A packet of `teller` in its life `life` is about to be handed to `hearer`.
    pub fn delivered(
        &mut self,
        link: usize,
        (hearer, teller): (usize, usize),
        life: u32,
        said: &Said,
        local: u64,
        refused: u8,
    ) {
        let Some(pair) = self.pair(link, hearer, teller) else {
            return;
        };
        if let Some(hello) = said.hello {
            let last = self.hellos[pair];
            // Whose clock leapt, or who missed many Hellos, has forgotten the neighbour, and takes any Hello for
            // its first.
            let remembers =
                |last: &LastHello| !self.nodes[hearer].slept && local < last.at + 8 * last.interval_us;
            if last.filter(remembers).is_some_and(|last| {
                last.life != life && hello.0.wrapping_sub(last.seqno).wrapping_add(FAR) > 2 * FAR
            }) {
                self.forget_pair(pair);
            }
            self.hellos[pair] = Some(LastHello {
                seqno: hello.0,
                interval_us: hello.1,
                at: local,
                life,
            });
        }
        if said.wildcard {
            self.told[pair * PREFIXES..(pair + 1) * PREFIXES].fill(None);
        }
        for claim in &said.claims {
            let slot = pair * PREFIXES + claim.prefix;
            let usable = claim.metric != INFINITY && refused >> claim.prefix & 1 == 0;
            let Some(router) = claim.router.filter(|r| usable && *r != self.nodes[hearer].name) else {
                self.told[slot] = None;
                continue;
            };
            let offer = (claim.seqno, claim.metric);
            let feasible = self
                .remembered(hearer, claim.prefix, router, local)
                .is_none_or(|distance| better(offer, distance));
            let expires = local + (claim.interval_us * 7 / 2).max(1_000_000);
            match &mut self.told[slot] {
                // Whether it is in use shows after the event: a Hello before it in the packet may change that.
                Some(told) if !feasible && told.router == router => {
                    told.since = Some((claim.seqno, claim.metric, expires));
                    self.unfeasible.push((pair, claim.prefix, teller));
                }
                told => {
                    *told = Some(Told {
                        router,
                        seqno: claim.seqno,
                        metric: claim.metric,
                        life,
                        era: claim.era,
                        expires,
                        since: None,
                    });
                }
            }
        }
    }
}
