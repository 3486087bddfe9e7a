//! Asking for newer seqnos, and passing on what others ask (RFC 8966 section 3.8).
//!
//! Neighbours may never ask by themselves (some daemons do not), so we ask whenever a newer seqno would give us
//! a route or a clearly better one. A request is kept in the prefix's entry until it is answered or has been
//! repeated a few times; meanwhile the same question from others is not passed on again.

use super::Speaker;
use crate::entry::{Entry, Key, NeighbourKey, Request, Selection};
use crate::output::MAX_WAITING;
use crate::select::clearly_better;
use crate::seqno::Seqno;
use crate::table::Alarm;
use crate::{Duration, Event, INFINITY, Instant, InterfaceId, RouteKey, RouterId, wire};
use std::collections::BTreeSet;

/// Hop count of our own requests.
const HOPS: u8 = 64;
/// Sendings of a request after the first.
const REPEATS: u8 = 3;
/// Before the first repetition; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// After the last repetition, before the same may be asked again.
const QUIET: Duration = Duration::from_secs(5);
/// Between questions that only improve a route we have.
const IMPROVE_GAP: Duration = Duration::from_secs(2);
/// The same, when the improvement is small.
const SMALL_GAIN_GAP: Duration = Duration::from_secs(300);
/// Neighbours asked at once, and askers remembered, for one prefix and router-id.
const MAX_TARGETS: usize = 3;
const MAX_ASKERS: usize = 64;
/// So many requests in a row raise our seqno, and one more for each such time. Who asks faster would soon have
/// gone once round all seqnos, and old ones would pass for new.
const RAISES: u32 = 16;
const RAISE_EVERY: Duration = Duration::from_millis(250);

impl Speaker {
    /// Asks for a newer seqno where that would help.
    pub(super) fn consider_requests(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let wanted = entry.wanted(now);
        if wanted.is_empty() {
            return;
        }
        if matches!(entry.selected, Selection::Via { .. }) {
            if let Some(again) = entry
                .asked_at
                .map(|at| at + IMPROVE_GAP)
                .filter(|again| now < *again)
            {
                return self.table.ring_key_by(&key, Alarm::Request, again);
            }
            entry.asked_at = Some(now);
        }
        for (router_id, seqno, targets) in wanted {
            self.ask(key, router_id, seqno, &targets, now);
        }
    }

    fn ask(&mut self, key: Key, router_id: RouterId, seqno: Seqno, to: &[NeighbourKey], now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let mut askers = BTreeSet::new();
        match entry.requests.get_mut(&router_id) {
            Some(request) if !seqno.newer_than(request.seqno) => {
                let (seqno, hops) = (request.seqno, request.hop_count);
                // Whose route is gone cannot help: make room for those who can.
                let routes = &entry.routes;
                request
                    .targets
                    .retain(|t| routes.get(t).is_some_and(|r| r.metric != INFINITY));
                let mut new = Vec::new();
                for target in to {
                    if request.targets.len() < MAX_TARGETS && request.targets.insert(*target) {
                        new.push(*target);
                    }
                }
                return new
                    .into_iter()
                    .for_each(|to| self.send_request(key, router_id, seqno, hops, to, now));
            }
            Some(request) => askers = core::mem::take(&mut request.askers),
            None => {}
        }
        let targets: BTreeSet<_> = to.iter().copied().take(MAX_TARGETS).collect();
        self.start_request(
            key,
            router_id,
            Request::new(seqno, HOPS, targets, askers, now),
            now,
        );
    }

    fn start_request(&mut self, key: Key, router_id: RouterId, request: Request, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        if !entry.requests.contains_key(&router_id) {
            if self.pending_requests >= self.config.limits.pending_requests {
                self.counters.limit_drops += 1;
                return;
            }
            self.pending_requests += 1;
        }
        let (seqno, hops, targets) = (request.seqno, request.hop_count, request.targets.clone());
        let next = request.next;
        entry.requests.insert(router_id, request);
        self.table.ring_key_by(&key, Alarm::Request, next);
        for target in targets {
            self.send_request(key, router_id, seqno, hops, target, now);
        }
    }

    fn send_request(
        &mut self,
        key: Key,
        router_id: RouterId,
        seqno: Seqno,
        hop_count: u8,
        to: NeighbourKey,
        now: Instant,
    ) {
        if self
            .neighbour(to.0, to.1)
            .is_none_or(|neighbour| !neighbour.is_up())
        {
            return;
        }
        let at = self.urgent(now);
        self.enqueue(to.0, Some(to.1), at, |queue| {
            queue
                .seqno_requests
                .insert((key, router_id), (seqno, hop_count.max(1)));
        });
    }

    /// Repeats and forgets the requests of one prefix.
    pub(super) fn expire_requests(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let before = entry.requests.len();
        // Of our own questions only those are repeated whose answer would still help.
        let wanted: BTreeSet<RouterId> = entry.wanted(now).into_iter().map(|(id, ..)| id).collect();
        entry.requests.retain(|id, request| {
            let helps = !request.askers.is_empty() || wanted.contains(id);
            request.next > now || (request.tries_left > 0 && helps)
        });
        self.pending_requests -= before - entry.requests.len();
        let mut repeat = Vec::new();
        for (router_id, request) in entry
            .requests
            .iter_mut()
            .filter(|(_, request)| request.next <= now)
        {
            request.tries_left -= 1;
            request.wait *= 2;
            request.next = now
                + if request.tries_left > 0 {
                    request.wait
                } else {
                    QUIET
                };
            for target in &request.targets {
                repeat.push((*router_id, request.seqno, request.hop_count, *target));
            }
        }
        for (router_id, seqno, hop_count, target) in repeat {
            self.send_request(key, router_id, seqno, hop_count, target, now);
        }
        self.consider_requests(key, now);
        if let Some(next) = self.table.get(&key).and_then(Entry::next_request) {
            self.table.ring_key_by(&key, Alarm::Request, next);
        }
        self.settle(key);
    }

    /// After a change: who waited for what is now true hears it at once (3.8.1.2).
    pub(super) fn answer_requests(&mut self, key: Key, now: Instant) {
        let own = (self.config.router_id, self.seqno);
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        if entry.requests.is_empty() {
            return;
        }
        let selected = entry.current(own);
        let mut askers = BTreeSet::new();
        let answered: Vec<RouterId> = entry
            .requests
            .iter()
            .filter(|(router_id, request)| {
                let enough = |seqno: Seqno| !request.seqno.newer_than(seqno);
                let in_use = selected.is_some_and(|(id, seqno)| id == **router_id && enough(seqno));
                if in_use {
                    askers.extend(request.askers.iter().copied());
                }
                in_use
                    || (request.askers.is_empty()
                        && entry
                            .routes
                            .values()
                            .any(|r| r.router_id == **router_id && enough(r.seqno)))
            })
            .map(|(router_id, _)| *router_id)
            .collect();
        for router_id in answered {
            entry.requests.remove(&router_id);
            self.pending_requests -= 1;
        }
        let at = self.urgent(now);
        for asker in askers {
            self.answer(asker, key, at);
        }
    }

    /// Sends a neighbour what we have for a prefix: an update, or a retraction when that is nothing.
    pub(super) fn answer(&mut self, to: NeighbourKey, key: Key, at: Instant) {
        let known = self.table.contains_key(&key);
        let mut full = false;
        self.enqueue(to.0, Some(to.1), at, |queue| {
            full = !known && queue.updates.len() >= MAX_WAITING;
            if !full {
                queue.add_update(key, 0);
            }
        });
        self.counters.limit_drops += u64::from(full);
    }

    /// Somebody asks for a newer seqno (3.8.1.2).
    pub(super) fn seqno_request(&mut self, from: NeighbourKey, asked: &wire::SeqnoRequest, now: Instant) {
        let (prefix, source) = (asked.prefix, asked.source);
        let Some(key) = Key::new(RouteKey { prefix, source }) else {
            return;
        };
        let own = (self.config.router_id, self.seqno);
        let (router_id, seqno) = (asked.router_id, Seqno(asked.seqno));
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        if let Some((current, newest)) = entry.current(own) {
            if current != router_id || !seqno.newer_than(newest) {
                let at = self.urgent(now);
                return self.answer(from, key, at);
            }
            if current == own.0 {
                return self.raise_seqno(key, from.0, now);
            }
        }
        if router_id == own.0 || asked.hop_count <= 1 {
            return;
        }
        let Some(next) = entry.forwarder(router_id, from) else {
            return;
        };
        match entry.requests.get_mut(&router_id) {
            Some(request) if !seqno.newer_than(request.seqno) => {
                // Asked already: whoever asks shares the answer.
                if request.askers.len() < MAX_ASKERS {
                    request.askers.insert(from);
                }
                // We asked nobody but the one who asks us now: somebody else may know more.
                if request.targets.iter().all(|target| *target == from) {
                    request.targets.insert(next);
                    let (seqno, hops) = (request.seqno, asked.hop_count - 1);
                    self.send_request(key, router_id, seqno, hops, next, now);
                }
            }
            earlier => {
                let mut askers = earlier
                    .map(|r| core::mem::take(&mut r.askers))
                    .unwrap_or_default();
                askers.insert(from);
                let request = Request::new(seqno, asked.hop_count - 1, [next].into(), askers, now);
                self.start_request(key, router_id, request, now);
            }
        }
    }

    /// Our own seqno rises by one, whatever was asked for, and never otherwise (3.2.2, 3.8.1.2), but for those that we
    /// have lent. Where nobody asked it is told with the next update: a mere seqno is no news.
    fn raise_seqno(&mut self, key: Key, asked_on: InterfaceId, now: Instant) {
        if self.raised_until.saturating_since(now) >= RAISE_EVERY * RAISES {
            self.counters.seqno_raises_refused += 1;
            return;
        }
        self.raised_until = self.raised_until.max(now) + RAISE_EVERY;
        if !self.reclaim() {
            self.seqno = self.seqno.next();
            self.events.push_back(Event::SeqnoChanged(self.seqno.0));
        } else if self.interfaces.values().any(|interface| interface.quiet) {
            self.lend();
        }
        let at = self.urgent(now);
        self.enqueue(asked_on, None, at, |queue| queue.add_update(key, 0));
    }
}

/// A router-id, the seqno to ask for, and whom to ask.
type Wanted = (RouterId, Seqno, Vec<NeighbourKey>);

impl Entry {
    /// Router-id and seqno of what is in use; `own` are ours.
    fn current(&self, own: (RouterId, Seqno)) -> Option<(RouterId, Seqno)> {
        match &self.selected {
            Selection::Own => Some(own),
            _ => self
                .selected_route()
                .map(|(_, route)| (route.router_id, route.seqno)),
        }
    }

    /// What a newer seqno would help with.
    fn wanted(&self, now: Instant) -> Vec<Wanted> {
        match &self.selected {
            Selection::Own => Vec::new(),
            Selection::Via { .. } => self.improvable(now),
            Selection::Nothing | Selection::Held { .. } => self.missing(),
        }
    }

    /// With nothing selected: every router-id that some neighbour can reach, though unfeasibly for us.
    fn missing(&self) -> Vec<Wanted> {
        let mut routes: Vec<_> = self
            .routes
            .iter()
            .filter(|(_, route)| route.is_candidate() && !self.is_feasible(route))
            .map(|(from, route)| (route.router_id, route.metric, *from))
            .collect();
        routes.sort_unstable();
        let mut wanted: Vec<Wanted> = Vec::new();
        for (router_id, _, from) in routes {
            match wanted.last_mut() {
                Some((id, _, targets)) if *id == router_id => targets.push(from),
                _ => wanted.extend(self.newer(router_id).map(|seqno| (router_id, seqno, vec![from]))),
            }
        }
        wanted
    }

    /// With a route in use: the neighbour it leads through when that says something unfeasible about it
    /// (3.8.2.2), and the best unfeasible route that is clearly better.
    fn improvable(&self, now: Instant) -> Vec<Wanted> {
        let Some((current, used)) = self.selected_route() else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        if used.worse.is_some() {
            wanted.extend(
                self.newer(used.router_id)
                    .map(|seqno| (used.router_id, seqno, vec![current])),
            );
        }
        // A small gain is worth a question now and then, so that the shortest path is found in the end.
        let patient = self.asked_at.is_none_or(|at| now >= at + SMALL_GAIN_GAP);
        let better = self
            .routes
            .iter()
            .filter(|(from, route)| {
                **from != current
                    && (clearly_better(route.metric, used.metric) || (patient && route.metric < used.metric))
            })
            .filter(|(_, route)| route.installable && !self.is_feasible(route))
            .min_by_key(|(from, route)| (route.metric, **from));
        if let Some((from, route)) = better {
            wanted.extend(
                self.newer(route.router_id)
                    .map(|seqno| (route.router_id, seqno, vec![*from])),
            );
        }
        wanted
    }

    /// The seqno that makes any route of this router-id feasible.
    fn newer(&self, router_id: RouterId) -> Option<Seqno> {
        self.sources.get(&router_id).map(|source| source.seqno.next())
    }

    /// Who gets a request passed on: the next hop in use, else a feasible one, else any, those that lead to the
    /// origin in question first; never the asker.
    fn forwarder(&self, router_id: RouterId, asker: NeighbourKey) -> Option<NeighbourKey> {
        let selected = self.selected_route().map(|(from, _)| from);
        self.routes
            .iter()
            .filter(|(from, route)| **from != asker && route.metric != INFINITY)
            .min_by_key(|(from, route)| {
                (
                    route.router_id != router_id,
                    selected != Some(**from),
                    !self.is_feasible(route),
                    route.metric,
                    **from,
                )
            })
            .map(|(from, _)| *from)
    }

    fn next_request(&self) -> Option<Instant> {
        self.requests.values().map(|request| request.next).min()
    }
}

impl Request {
    fn new(
        seqno: Seqno,
        hop_count: u8,
        targets: BTreeSet<NeighbourKey>,
        askers: BTreeSet<NeighbourKey>,
        now: Instant,
    ) -> Self {
        let wait = FIRST_WAIT;
        Self {
            seqno,
            hop_count,
            targets,
            askers,
            tries_left: REPEATS,
            wait,
            next: now + wait,
        }
    }
}
