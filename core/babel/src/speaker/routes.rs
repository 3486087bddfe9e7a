//! From a received update to a new selection, and from a new selection to what others must hear.

use super::{Speaker, penalty_of};
use crate::entry::{Entry, Key, MAX_SOURCES, NeighbourKey, Route, Selection};
use crate::filter::Subject;
use crate::seqno::Seqno;
use crate::source::Source;
use crate::table::Alarm;
use crate::wire::Update;
use crate::{
    Authority, Duration, Event, INFINITY, Instant, IpNet, RouteKey, RouterId, Target, UpdateInfo, select,
};
use core::net::IpAddr;
use std::collections::BTreeSet;

/// A route is believed for this many milliseconds at least, however short the interval of its updates.
const MIN_HOLD: u32 = 1000;

/// A finite update that was admitted.
struct Offer {
    router_id: RouterId,
    seqno: Seqno,
    reference: u16,
    penalty: u16,
    next_hop: IpAddr,
    hold: u32,
}

impl Speaker {
    pub(super) fn update(
        &mut self,
        from: NeighbourKey,
        update: &Update,
        authority: &mut dyn Authority,
        now: Instant,
    ) {
        let Some(prefix) = update.prefix else {
            // Everything the neighbour announced on this interface is gone.
            let keys = self
                .neighbour_mut(from.0, from.1)
                .map(|n| core::mem::take(&mut n.routes));
            let keys = keys.map(|slots| self.table.keys_of(&slots));
            keys.into_iter()
                .flatten()
                .for_each(|key| self.drop_route(key, from, now));
            return;
        };
        let source = update.source;
        let Some(key) = Key::new(RouteKey { prefix, source }) else {
            self.counters.ignored_tlvs += 1;
            return;
        };
        // The parser lets no finite update pass without either.
        let (false, Some(router_id), Some(next_hop)) =
            (update.is_retraction(), update.router_id, update.next_hop)
        else {
            return self.drop_route(key, from, now);
        };
        if is_martian(&prefix) || source.is_some_and(|source| is_martian(&source)) {
            self.counters.ignored_tlvs += 1;
            return;
        }
        // What we originated ourselves leads nowhere but back to us.
        if router_id == self.config.router_id {
            let stranger = Seqno(update.seqno).newer_than(self.seqno);
            self.counters.router_id_conflicts += u64::from(stranger);
            return self.drop_route(key, from, now);
        }
        let verdict = authority.authorise(&UpdateInfo {
            interface: from.0,
            neighbour: from.1,
            prefix: key.prefix,
            source: key.source,
            router_id,
            seqno: update.seqno,
            metric: update.metric,
        });
        let Some(penalty) = penalty_of(verdict) else {
            self.counters.refused_updates += 1;
            return self.drop_route(key, from, now);
        };
        let by_rule = self.filters.import(&Subject {
            interface: from.0,
            neighbour: Some(from.1),
            prefix: key.prefix,
            source: key.source,
            router_id,
        });
        self.counters.filtered_updates += u64::from(by_rule == INFINITY);
        let offer = Offer {
            router_id,
            seqno: Seqno(update.seqno),
            reference: update.metric,
            penalty: penalty.saturating_add(by_rule),
            next_hop,
            // 3.5 intervals, which are hundredths of a second.
            hold: (u32::from(update.interval.0) * 35).max(MIN_HOLD),
        };
        self.store(key, from, &offer, now);
        self.note_told(from.0, router_id, Seqno(update.seqno));
    }

    /// As if the neighbour had said the same route again with a newer seqno.
    pub(super) fn renumber(&mut self, key: Key, from: NeighbourKey, seqno: Seqno, now: Instant) {
        let entry = self.table.get(&key);
        let Some(route) = entry.and_then(|entry| entry.routes.get(&from)) else {
            return;
        };
        if seqno.newer_than(route.seqno) {
            let offer = Offer {
                router_id: route.router_id,
                seqno,
                reference: route.reference,
                penalty: route.penalty,
                next_hop: route.next_hop,
                hold: route.hold,
            };
            self.store(key, from, &offer, now);
        }
    }

    /// Route acquisition (RFC 8966 section 3.5.3).
    fn store(&mut self, key: Key, from: NeighbourKey, offer: &Offer, now: Instant) {
        let limits = self.config.limits;
        let known = self.table.len();
        let Some(neighbour) = self
            .interfaces
            .get_mut(&from.0)
            .and_then(|interface| interface.neighbours.get_mut(&from.1))
        else {
            return;
        };
        let cost = neighbour.cost;
        let slot = self.table.slot(&key);
        let over_limit = !slot.is_some_and(|slot| neighbour.routes.contains(slot))
            && (neighbour.routes.len() >= limits.prefixes_per_neighbour
                || (known >= limits.prefixes && slot.is_none()));
        if over_limit {
            self.counters.limit_drops += 1;
            return;
        }
        let slot = slot.unwrap_or_else(|| self.table.slot_or_new(key));
        let Some(entry) = self.table.at_mut(slot) else {
            return;
        };
        let known = entry.routes.get_mut_near(&neighbour.key, &mut neighbour.place);
        if let Some(route) = known.filter(|route| route.says(offer)) {
            // The usual refresh: nothing but time changes, and nothing else is fetched from memory.
            route.refresh(offer.hold, now);
            let next = route.next_check();
            self.table.ring_by(slot, Alarm::Expiry, next);
            return;
        }
        let source = entry.sources.get(&offer.router_id);
        if source.is_none() && entry.sources.len() >= MAX_SOURCES {
            self.counters.limit_drops += 1;
            return self.drop_route(key, from, now);
        }
        let feasible = Source::admits(source, offer.seqno, offer.reference);
        self.counters.unfeasible_updates += u64::from(!feasible);
        let is_selected = matches!(&entry.selected, Selection::Via { neighbour, .. } if *neighbour == from);
        match entry.routes.get_mut_near(&neighbour.key, &mut neighbour.place) {
            Some(route) if !feasible && is_selected && route.router_id == offer.router_id => {
                route.worse = Some((offer.seqno, offer.reference));
                route.penalty = offer.penalty;
                route.set_cost(cost);
            }
            _ => {
                neighbour.routes.insert(slot);
                let mut route = Route {
                    router_id: offer.router_id,
                    seqno: offer.seqno,
                    reference: offer.reference,
                    worse: None,
                    penalty: offer.penalty,
                    next_hop: offer.next_hop,
                    installable: key.is_installable(offer.next_hop, self.config.forwarding),
                    metric: INFINITY,
                    hold: offer.hold,
                    expires: now + millis(offer.hold),
                    reminders: 0,
                };
                route.set_cost(cost);
                let (metric, next) = (route.metric, route.next_check());
                entry.routes.insert(&neighbour.key, route);
                if feasible && !is_selected && entry.is_content_beside(metric) {
                    self.table.ring_by(slot, Alarm::Expiry, next);
                    return;
                }
            }
        }
        self.reselect(key, now);
    }

    /// Takes a neighbour's route away: retracted, refused or expired.
    pub(super) fn drop_route(&mut self, key: Key, from: NeighbourKey, now: Instant) {
        let Some(slot) = self.table.slot(&key) else {
            return;
        };
        if let Some(neighbour) = self.neighbour_mut(from.0, from.1) {
            neighbour.routes.remove(slot);
        }
        if let Some(entry) = self.table.at_mut(slot) {
            entry.routes.remove(&from);
            self.reselect(key, now);
        }
    }

    pub(super) fn reauthorise_entry(&mut self, key: Key, authority: &mut dyn Authority, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let (mut refused, mut changed) = (Vec::new(), false);
        for (from, route) in entry.routes.iter_mut() {
            let (seqno, metric) = route.worse.unwrap_or((route.seqno, route.reference));
            let verdict = authority.authorise(&UpdateInfo {
                interface: from.0,
                neighbour: from.1,
                prefix: key.prefix,
                source: key.source,
                router_id: route.router_id,
                seqno: seqno.0,
                metric,
            });
            let by_rule = self.filters.import(&Subject {
                interface: from.0,
                neighbour: Some(from.1),
                prefix: key.prefix,
                source: key.source,
                router_id: route.router_id,
            });
            match penalty_of(verdict).map(|penalty| penalty.saturating_add(by_rule)) {
                None => refused.push(*from),
                Some(penalty) if penalty != route.penalty => {
                    route.penalty = penalty;
                    let interface = self.interfaces.get(&from.0);
                    let neighbour = interface.and_then(|interface| interface.neighbours.get(&from.1));
                    changed |= route.set_cost(neighbour.map_or(INFINITY, |neighbour| neighbour.cost));
                }
                Some(_) => {}
            }
        }
        for from in refused {
            self.counters.refused_updates += 1;
            self.drop_route(key, from, now);
        }
        if changed {
            self.reselect(key, now);
        }
    }

    /// Selects anew for one prefix, and lets everything follow from it: events, updates, requests, timers.
    pub(super) fn reselect(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let chosen = if entry.own.is_some() {
            // Nobody waits to replace our own route; a wait left over would be over again and again.
            entry.challenged = None;
            None
        } else {
            select::choose(entry, now)
        };
        let next = match (entry.own, chosen) {
            (Some(_), _) => Selection::Own,
            (None, Some(neighbour)) => entry.via(neighbour),
            (None, None) => match &entry.selected {
                Selection::Via { .. } | Selection::Own => {
                    let awaiting = entry
                        .told_interfaces()
                        .filter_map(|id| Some((id, self.interfaces.get(&id).filter(|i| !i.quiet)?)))
                        .flat_map(|(id, interface)| interface.neighbours_up().map(move |a| (id, a)))
                        .collect::<BTreeSet<_>>();
                    Selection::Held {
                        since: now,
                        until: now + hold_time(&self.interfaces),
                        awaiting,
                    }
                }
                Selection::Held { until, .. } if *until <= now => Selection::Nothing,
                unchanged => unchanged.clone(),
            },
        };
        if next != entry.selected {
            let previous = core::mem::replace(&mut entry.selected, next);
            if let Selection::Via { neighbour, .. } = &previous {
                // No longer in use, so nothing protects it: it is worth what its neighbour says.
                if !matches!(&entry.selected, Selection::Via { neighbour: n, .. } if n == neighbour)
                    && let Some(route) = entry.routes.get_mut(neighbour)
                    && let Some((seqno, reference)) = route.worse.take()
                {
                    (route.seqno, route.reference) = (seqno, reference);
                }
            }
            if let Some(target) = change(&previous, entry) {
                self.counters.route_changes += 1;
                self.events.push_back(Event::RouteChanged {
                    prefix: key.prefix,
                    source: key.source,
                    target,
                });
            }
            self.trigger(key, now);
        }
        self.answer_requests(key, now);
        self.consider_requests(key, now);
        self.settle(key);
    }

    /// Arms the entry's timer, or removes the entry when nothing is left in it.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(entry) = self.table.get(&key) else { return };
        if entry.is_vacant() {
            self.table.remove(&key);
        } else if let Some(at) = entry.next_check() {
            self.table.ring_key_by(&key, Alarm::Expiry, at);
        }
    }

    /// Lets time act on one entry: routes and sources expire, neighbours are reminded, waits end.
    pub(super) fn expire_entry(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else {
            return;
        };
        let selected = entry.selected_route().map(|(neighbour, _)| neighbour);
        entry.sources.retain(|_, source| source.expires > now);
        let (mut expired, mut remind) = (Vec::new(), false);
        for (from, route) in entry.routes.iter_mut() {
            let is_kept = self.interfaces.get(&from.0).is_some_and(|i| i.quiet);
            if is_kept && route.next_check() <= now {
                route.renew(now);
            }
            while route.next_check() <= now && route.expires > now {
                route.reminders += 1;
                remind |= selected == Some(*from);
            }
            if route.expires <= now {
                expired.push(*from);
            }
        }
        for from in expired {
            let Some(slot) = self.table.slot(&key) else {
                continue;
            };
            if let Some(neighbour) = self.neighbour_mut(from.0, from.1) {
                neighbour.routes.remove(slot);
            }
            if let Some(entry) = self.table.at_mut(slot) {
                entry.routes.remove(&from);
            }
        }
        if let Some((id, address)) = selected.filter(|_| remind) {
            self.enqueue(id, Some(address), now, |queue| {
                queue.route_requests.insert(Some(key));
            });
        }
        self.reselect(key, now);
    }
}

impl Entry {
    fn via(&self, neighbour: NeighbourKey) -> Selection {
        match self.routes.get(&neighbour) {
            Some(route) => Selection::Via {
                neighbour,
                router_id: route.router_id,
                next_hop: route.next_hop,
                metric: route.metric,
            },
            None => Selection::Nothing,
        }
    }
}

impl Route {
    /// Whether an offer repeats what is stored.
    fn says(&self, offer: &Offer) -> bool {
        self.worse.is_none()
            && self.router_id == offer.router_id
            && self.seqno == offer.seqno
            && self.reference == offer.reference
            && self.penalty == offer.penalty
            && self.next_hop == offer.next_hop
    }

    fn refresh(&mut self, hold: u32, now: Instant) {
        self.hold = hold;
        self.renew(now);
    }

    /// As if its neighbour had said it again.
    pub(super) fn renew(&mut self, now: Instant) {
        self.expires = now + millis(self.hold);
        self.reminders = 0;
    }
}

fn millis(time: u32) -> Duration {
    Duration::from_millis(time.into())
}

/// How long a neighbour that missed our retraction may go on using us: 3.5 times the interval we promise.
fn hold_time(
    interfaces: &std::collections::BTreeMap<crate::InterfaceId, crate::interface::Interface>,
) -> Duration {
    longest_interval(interfaces) * 7 / 2
}

pub(super) fn longest_interval(
    interfaces: &std::collections::BTreeMap<crate::InterfaceId, crate::interface::Interface>,
) -> Duration {
    let intervals = interfaces
        .values()
        .map(|interface| interface.config.update_interval);
    intervals.max().unwrap_or(Duration::from_secs(16))
}

/// What a forwarding table must do after the selection moved on from `previous`. The metric alone is no change.
fn change(previous: &Selection, entry: &Entry) -> Option<Target> {
    match (previous, &entry.selected) {
        (
            Selection::Via {
                neighbour,
                router_id,
                next_hop,
                ..
            },
            Selection::Via {
                neighbour: n,
                router_id: r,
                next_hop: h,
                ..
            },
        ) if (neighbour.0, router_id, next_hop) == (n.0, r, h) => None,
        (_, Selection::Via { .. }) => entry.selected_route().map(|(from, route)| route.target(from.0)),
        (Selection::Via { .. } | Selection::Own, Selection::Held { .. }) => Some(Target::Unreachable),
        (Selection::Via { .. } | Selection::Held { .. }, Selection::Own | Selection::Nothing) => {
            Some(Target::Gone)
        }
        _ => None,
    }
}

/// Prefixes that nobody can route to.
fn is_martian(prefix: &IpNet) -> bool {
    let address = prefix.addr();
    match address {
        IpAddr::V4(_) if prefix.prefix_len() == 0 => false,
        IpAddr::V4(a) => a.is_loopback() || a.is_multicast(),
        IpAddr::V6(a) => {
            a.is_multicast()
                || (a.is_unicast_link_local() && prefix.prefix_len() >= 10)
                || (a.is_loopback() && prefix.prefix_len() == 128)
        }
    }
}
