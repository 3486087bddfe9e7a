//! The comparison after each event of a node.

use super::{Check, Distance, Happened, Observer, SOURCE_LIFETIME_US, Via, better, newer};
use crate::case::{Kind, PREFIXES};
use crate::names::{address_index, prefix, prefix_index, router_index};
use osier_babel::{Event, INFINITY, Speaker, Target};

macro_rules! demand {
    ($condition:expr, $kind:expr, $($text:tt)*) => {
        if !$condition {
            return Err(($kind, format!($($text)*)));
        }
    };
}

impl Observer {
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
