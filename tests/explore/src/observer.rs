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

use crate::case::{Kind, PREFIXES};
use crate::world::{address_index, prefix, prefix_index, router_index};
use core::net::IpAddr;
use osier_babel::wire::{self, Tlv};
use osier_babel::{Event, INFINITY, Speaker, Target};

/// Router-ids that one node may bear one after the other.
pub const NAMES: usize = 4;
/// A source entry may be forgotten after this, or after four update intervals if that is longer.
const SOURCE_LIFETIME_US: u64 = 180_000_000;
/// A Hello seqno further off than this, in either direction, cannot be taken for the same life: 16 is the
/// limit, and 16 may have been counted as missed.
const FAR: u16 = 64;

/// An update as it stands in a packet.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub prefix: usize,
    /// None in some retractions.
    pub router: Option<usize>,
    pub seqno: u16,
    pub metric: u16,
    pub interval_us: u64,
    /// How often the sender had forgotten its feasibility distance when it sent this.
    pub era: u32,
}

/// A packet, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Seqno and interval in microseconds.
    pub hello: Option<(u16, u64)>,
    pub claims: Vec<Claim>,
    /// Everything is retracted.
    pub wildcard: bool,
    /// Router-ids for which a newer seqno is asked for.
    pub requests: Vec<usize>,
}

impl Said {
    /// `None`: it cannot be read, or names what does not exist.
    pub fn read(payload: &[u8], from: core::net::Ipv6Addr) -> Option<Self> {
        let mut said = Self::default();
        for tlv in wire::parse(payload, from).ok()? {
            match tlv.ok()? {
                Tlv::Hello { seqno, interval, .. } => {
                    said.hello = Some((seqno, u64::from(interval.0) * 10_000));
                }
                Tlv::Update(update) => match update.prefix {
                    None => said.wildcard = true,
                    Some(net) => said.claims.push(Claim {
                        prefix: prefix_index(net, update.source)?,
                        router: match update.router_id {
                            Some(id) => Some(router_index(id)?),
                            None => None,
                        },
                        seqno: update.seqno,
                        metric: update.metric,
                        interval_us: u64::from(update.interval.0) * 10_000,
                        era: 0,
                    }),
                },
                Tlv::SeqnoRequest(request) => said.requests.push(router_index(request.router_id)?),
                _ => {}
            }
        }
        Some(said)
    }
}

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

macro_rules! demand {
    ($condition:expr, $kind:expr, $($text:tt)*) => {
        if !$condition {
            return Err(($kind, format!($($text)*)));
        }
    };
}

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

    /// Checks the node's speaker after an event.
    pub fn after(&mut self, speaker: &mut Speaker, mut happened: Happened<'_>) -> Check {
        let node = happened.node;
        self.events(node, speaker)?;
        self.own_seqno(node, speaker, &happened)?;
        let before = self.nodes[node].via;
        let mut changed = [false; PREFIXES];
        let mut unfeasible = core::mem::take(&mut self.unfeasible);
        for (at, changed) in changed.iter_mut().enumerate() {
            let via = self.selection(node, at, speaker)?;
            if via != before[at] {
                *changed = before[at].map(|v| (v.next, v.router)) != via.map(|v| (v.next, v.router));
                self.nodes[node].via[at] = via;
                self.tally.selections += u64::from(*changed);
                if *changed && let Some(pair) = before[at].and_then(|via| self.pair(via.link, node, via.next))
                {
                    self.unused(pair, at);
                }
            }
        }
        for (pair, at, teller) in unfeasible.drain(..) {
            if self.nodes[node].via[at]
                .is_none_or(|via| self.pair(via.link, node, teller) != Some(pair) || via.next != teller)
            {
                self.unused(pair, at);
            }
        }
        self.unfeasible = unfeasible;
        self.sent(&mut happened, &before, speaker.seqno())?;
        for (at, changed) in changed.into_iter().enumerate() {
            if let Some(via) = self.nodes[node].via[at] {
                self.route(&happened, at, via)?;
                if changed {
                    self.no_loop(node, at, happened.clock)?;
                }
            }
        }
        Ok(())
    }

    /// The events must add up to what is selected.
    fn events(&mut self, node: usize, speaker: &mut Speaker) -> Check {
        let mut told = None;
        while let Some(event) = speaker.poll_event() {
            match event {
                Event::RouteChanged {
                    prefix: net,
                    source,
                    target,
                } => {
                    let Some(at) = prefix_index(net, source) else {
                        return Err((Kind::Events, format!("node {node} has a route to {net}")));
                    };
                    self.nodes[node].fib[at] = match target {
                        Target::Via {
                            interface,
                            next_hop,
                            router_id,
                            ..
                        } => {
                            let router = router_index(router_id).unwrap_or(usize::MAX);
                            Some((interface.0 as usize, next_hop, router))
                        }
                        Target::Unreachable | Target::Gone => None,
                    };
                }
                Event::SeqnoChanged(seqno) => told = Some(seqno),
                Event::NeighbourUp { .. } | Event::NeighbourDown { .. } => {}
            }
        }
        let own = speaker.seqno();
        demand!(
            told.is_none_or(|told| told == own),
            Kind::Seqno,
            "node {node} says it has seqno {told:?}, and has {own}"
        );
        Ok(())
    }

    fn own_seqno(&mut self, node: usize, speaker: &Speaker, happened: &Happened<'_>) -> Check {
        let now = speaker.seqno();
        let risen = now.wrapping_sub(self.nodes[node].seqno.replace(now).unwrap_or(now));
        self.tally.seqnos_raised += u64::from(risen);
        demand!(
            usize::from(risen) <= happened.asked,
            Kind::Seqno,
            "node {node} raised its seqno by {risen} to {now}, asked {} times",
            happened.asked
        );
        Ok(())
    }

    fn selection(&self, node: usize, at: usize, speaker: &Speaker) -> Result<Option<Via>, (Kind, String)> {
        let fib = self.nodes[node].fib[at];
        let net = prefix(at);
        let Some(view) = speaker.selected(net) else {
            demand!(
                fib.is_none(),
                Kind::Events,
                "node {node} selected nothing for {net}, events say {fib:?}"
            );
            return Ok(None);
        };
        demand!(
            view.feasible && view.metric != INFINITY && view.metric > view.reference_metric,
            Kind::Selection,
            "node {node} selected {view:?}"
        );
        let (Some(next), Some(router)) = (address_index(view.neighbour), router_index(view.router_id)) else {
            return Err((
                Kind::Selection,
                format!("node {node} selected {view:?}, from nobody"),
            ));
        };
        let link = view.interface.0 as usize;
        demand!(
            fib == Some((link, view.next_hop, router)),
            Kind::Events,
            "node {node} selected {view:?}, events say {fib:?}"
        );
        Ok(Some(Via {
            link,
            next,
            router,
            seqno: view.seqno,
            metric: view.metric,
        }))
    }

    /// A route that is no longer used is worth what its neighbour last told.
    fn unused(&mut self, pair: usize, at: usize) {
        if let Some(told) = &mut self.told[pair * PREFIXES + at]
            && let Some((seqno, metric, expires)) = told.since.take()
        {
            (told.seqno, told.metric, told.expires) = (seqno, metric, expires);
        }
    }

    /// Updates sent must be backed by a route, and move the feasibility distance.
    fn sent(&mut self, happened: &mut Happened<'_>, before: &[Option<Via>; PREFIXES], own: u16) -> Check {
        let node = happened.node;
        let lifetime = SOURCE_LIFETIME_US.max(happened.update_us * 4);
        for said in happened.sent.iter_mut() {
            for claim in said.claims.iter_mut().filter(|claim| claim.metric != INFINITY) {
                self.tally.claims += 1;
                let Some(router) = claim.router else {
                    return Err((
                        Kind::Packet,
                        format!("node {node} sent {claim:?} without a router-id"),
                    ));
                };
                if router == self.nodes[node].name {
                    demand!(
                        claim.seqno == own,
                        Kind::Seqno,
                        "node {node} announced seqno {} of its own, and has {own}",
                        claim.seqno
                    );
                    continue;
                }
                let backed = |via: &Option<Via>| {
                    via.is_some_and(|via| {
                        (via.router, via.seqno) == (router, claim.seqno) && claim.metric >= via.metric
                    })
                };
                demand!(
                    backed(&before[claim.prefix]) || backed(&self.nodes[node].via[claim.prefix]),
                    Kind::Boast,
                    "node {node} sent {claim:?}, and has {:?}",
                    self.nodes[node].via[claim.prefix]
                );
                let (local, until) = (happened.local, happened.local + lifetime);
                let kept = *self.distance(node, claim.prefix, router);
                let forgotten = kept.is_some_and(|kept| local >= kept.until);
                claim.era = kept.map_or(0, |kept| kept.era + u32::from(forgotten));
                let known = self
                    .remembered(node, claim.prefix, router, local)
                    .unwrap_or((claim.seqno, claim.metric));
                demand!(
                    !newer(known.0, claim.seqno),
                    Kind::Seqno,
                    "node {node} sent {claim:?} after seqno {}",
                    known.0
                );
                let claimed = (claim.seqno, claim.metric);
                let (seqno, metric) = if better(claimed, known) { claimed } else { known };
                let era = claim.era;
                *self.distance(node, claim.prefix, router) = Some(Distance {
                    seqno,
                    metric,
                    until,
                    era,
                });
            }
        }
        Ok(())
    }

    /// A selected route: told, in time, feasible, and its next hop nearer than we are.
    fn route(&mut self, happened: &Happened<'_>, at: usize, via: Via) -> Check {
        let (node, local) = (happened.node, happened.local);
        let told = self
            .pair(via.link, node, via.next)
            .and_then(|pair| self.told[pair * PREFIXES + at]);
        let Some(told) = told.filter(|told| (told.router, told.seqno) == (via.router, via.seqno)) else {
            return Err((
                Kind::Selection,
                format!("node {node} selected {via:?} for {at}, told {told:?}"),
            ));
        };
        demand!(
            !happened.punctual || local <= told.expires,
            Kind::Expiry,
            "node {node} uses {via:?} for {at}, which expired {} us ago",
            local - told.expires
        );
        let ours = self.remembered(node, at, via.router, local);
        demand!(
            ours.is_none_or(|ours| better((told.seqno, told.metric), ours)),
            Kind::Selection,
            "node {node} selected {via:?} for {at}, told {told:?}, with a feasibility distance of {ours:?}"
        );
        let Some(ours) = ours.filter(|_| self.nodes[via.next].name != via.router) else {
            return Ok(());
        };
        let theirs = *self.distance(via.next, at, via.router);
        if theirs.is_some_and(|theirs| better((theirs.seqno, theirs.metric), ours)) {
            return Ok(());
        }
        if told.life < self.nodes[via.next].life {
            self.tally.former_self += 1;
            return Ok(());
        }
        let slept = self.nodes[node].slept || self.nodes[via.next].slept;
        demand!(
            slept && theirs.is_some_and(|theirs| told.era < theirs.era),
            Kind::Order,
            "node {node} uses {via:?} for {at} with a feasibility distance of {ours:?}, its next hop's is {theirs:?}"
        );
        self.tally.outslept += 1;
        Ok(())
    }

    /// Follows the next hops.
    fn no_loop(&mut self, start: usize, at: usize, clock: &dyn Fn(usize) -> u64) -> Check {
        let mut path = vec![start];
        let (mut node, mut pure, mut former) = (start, true, false);
        while let Some(via) = self.nodes[node].via[at] {
            let told = self
                .pair(via.link, node, via.next)
                .and_then(|pair| self.told[pair * PREFIXES + at]);
            pure &= Some(via.router) == self.nodes[start].via[at].map(|v| v.router);
            let theirs = *self.distance(via.next, at, via.router);
            let forgotten = theirs.is_some_and(|theirs| clock(via.next) >= theirs.until);
            former |= told.is_some_and(|told| {
                let slept = self.nodes[node].slept || self.nodes[via.next].slept;
                let later = theirs.is_some_and(|theirs| told.era < theirs.era);
                told.life < self.nodes[via.next].life || slept && (forgotten || later)
            });
            node = via.next;
            path.push(node);
            if node == start {
                if former {
                    self.tally.former_self_loops += 1;
                } else if !pure {
                    self.tally.mixed_loops += 1;
                } else {
                    return Err((Kind::Loop, format!("for prefix {at}: {path:?}")));
                }
                return Ok(());
            }
            if path.len() > self.nodes.len() {
                // A loop without us, known already.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the next hops from here lead round in a circle.
    pub fn circles(&self, start: usize, at: usize) -> bool {
        let mut node = start;
        for _ in 0..=self.nodes.len() {
            match self.nodes[node].via[at] {
                Some(via) => node = via.next,
                None => return false,
            }
        }
        true
    }
}
