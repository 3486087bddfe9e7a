//! All about one prefix in one place: whether it is ours, the routes we were given, what was announced, what
//! was asked. A received update touches one [`Entry`] and nothing else.

use crate::map::{Map, Routes};
use crate::seqno::Seqno;
use crate::source::Source;
use crate::{Duration, Forwarding, INFINITY, Instant, InterfaceId, IpNet, RouteKey, RouterId, Target};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

/// What routes are about: a [`RouteKey`] that makes sense, in its one normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) prefix: IpNet,
    /// Of the same family and longer than 0 (RFC 9079).
    pub(crate) source: Option<IpNet>,
}

impl Key {
    /// `None`: the prefixes are of different families.
    pub(crate) fn new(key: impl Into<RouteKey>) -> Option<Self> {
        let RouteKey { prefix, source } = key.into();
        match (prefix, source) {
            (IpNet::V4(_), Some(IpNet::V6(_))) | (IpNet::V6(_), Some(IpNet::V4(_))) => None,
            _ => Some(Self {
                prefix: prefix.trunc(),
                source: source
                    .filter(|source| source.prefix_len() > 0)
                    .map(|source| source.trunc()),
            }),
        }
    }

    /// Whether the owner can forward by a route to this over `next_hop`.
    pub(crate) fn is_installable(&self, next_hop: IpAddr, forwarding: Forwarding) -> bool {
        match self.prefix {
            IpNet::V4(_) => {
                (forwarding.v4_via_v6 || next_hop.is_ipv4())
                    && (forwarding.source_v4 || self.source.is_none())
            }
            IpNet::V6(_) => forwarding.source_v6 || self.source.is_none(),
        }
    }
}

impl From<Key> for RouteKey {
    fn from(key: Key) -> Self {
        let Key { prefix, source } = key;
        Self { prefix, source }
    }
}

/// A neighbour on an interface.
pub(crate) type NeighbourKey = (InterfaceId, Ipv6Addr);

/// A neighbour may bring at most this many router-ids for one prefix into our source table.
pub(crate) const MAX_SOURCES: usize = 64;

/// One neighbour's route (RFC 8966 section 3.2.6). Retracted and expired routes are not kept: what outlives
/// them is the hold time of the whole prefix.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) router_id: RouterId,
    pub(crate) seqno: Seqno,
    /// As announced by the neighbour; finite.
    pub(crate) reference: u16,
    /// A selected route whose neighbour now says something unfeasible about it keeps its seqno and reference
    /// metric: the neighbour's feasibility distance can only have improved since, so the route stays free of
    /// loops (3.5.3 allows to ignore the update). What the neighbour really says is kept here and counts in
    /// comparisons and in what we announce.
    pub(crate) worse: Option<(Seqno, u16)>,
    /// Added by the owner's verdict and the import rules; infinite when a rule denies the route.
    pub(crate) penalty: u16,
    pub(crate) next_hop: IpAddr,
    /// Whether the owner can forward by it; never selected otherwise.
    pub(crate) installable: bool,
    /// With the link cost; infinite while the link is down.
    pub(crate) metric: u16,
    /// Time from the last update to expiry, in milliseconds.
    pub(crate) hold: u32,
    pub(crate) expires: Instant,
    /// Route requests sent because it is about to expire.
    pub(crate) reminders: u8,
}

/// Route requests before a selected route expires (3.8.2.3).
const REMINDERS: u8 = 3;

impl Route {
    /// Whether an import rule denies it. It is kept for the day when the rules change.
    pub(crate) fn is_denied(&self) -> bool {
        self.penalty == INFINITY
    }

    /// Computes the metric anew; `true` when it changed. M(c, m) = c + m, saturating: strictly monotone as
    /// 3.5.2 asks, because a cost is at least 1.
    pub(crate) fn set_cost(&mut self, cost: u16) -> bool {
        // What it says now may be an older seqno's metric, come late: no reason to promise more than we hold.
        let reference = self.worse.map_or(0, |(_, metric)| metric).max(self.reference);
        let metric = match cost {
            INFINITY => INFINITY,
            cost => reference.saturating_add(cost.max(1)).saturating_add(self.penalty),
        };
        core::mem::replace(&mut self.metric, metric) != metric
    }

    /// Whether it can carry traffic, feasibility aside.
    pub(crate) fn is_candidate(&self) -> bool {
        self.metric != INFINITY && self.installable
    }

    /// Half an interval before the end, then a quarter, then an eighth.
    pub(crate) fn next_check(&self) -> Instant {
        if self.reminders < REMINDERS {
            self.expires - Duration::from_millis(u64::from(self.hold)) / 7 / (1 << self.reminders)
        } else {
            self.expires
        }
    }

    pub(crate) fn target(&self, interface: InterfaceId) -> Target {
        Target::Via {
            interface,
            next_hop: self.next_hop,
            metric: self.metric,
            router_id: self.router_id,
            seqno: self.seqno.0,
        }
    }
}

/// A seqno request that we sent or passed on (RFC 8966 section 3.2.7).
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) seqno: Seqno,
    pub(crate) hop_count: u8,
    pub(crate) targets: BTreeSet<NeighbourKey>,
    /// Who waits for the answer; empty when only we do.
    pub(crate) askers: BTreeSet<NeighbourKey>,
    pub(crate) tries_left: u8,
    pub(crate) wait: Duration,
    /// When to repeat it or, without tries left, to forget it. Until then it also suppresses duplicates.
    pub(crate) next: Instant,
}

/// What traffic for the prefix does. Holds copies of what was selected, to be compared after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Nothing,
    Own,
    Via {
        neighbour: NeighbourKey,
        router_id: RouterId,
        next_hop: IpAddr,
        metric: u16,
    },
    /// Retracted; unreachable until the time is over or all who were told otherwise acknowledged (3.5.4).
    Held {
        since: Instant,
        until: Instant,
        awaiting: BTreeSet<NeighbourKey>,
    },
}

/// What the neighbours on one interface were last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) interface: InterfaceId,
    pub(crate) router_id: RouterId,
    pub(crate) metric: u16,
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// Our metric, when we originate the prefix.
    pub(crate) own: Option<u16>,
    pub(crate) routes: Routes,
    pub(crate) sources: Map<RouterId, Source>,
    pub(crate) requests: BTreeMap<RouterId, Request>,
    pub(crate) selected: Selection,
    /// Since when another route is better, though not by enough to switch at once.
    pub(crate) challenged: Option<Instant>,
    /// When we last asked for a newer seqno without being in need of one.
    pub(crate) asked_at: Option<Instant>,
    /// Sorted by interface; those told a finite metric only.
    told: Vec<Told>,
}

impl Entry {
    pub(crate) fn new() -> Self {
        Self {
            own: None,
            routes: Routes::new(),
            sources: Map::new(),
            requests: BTreeMap::new(),
            selected: Selection::Nothing,
            challenged: None,
            asked_at: None,
            told: Vec::new(),
        }
    }

    /// Whether nothing is left worth keeping.
    pub(crate) fn is_vacant(&self) -> bool {
        self.own.is_none()
            && self.routes.is_empty()
            && self.sources.is_empty()
            && self.requests.is_empty()
            && self.selected == Selection::Nothing
    }

    pub(crate) fn is_feasible(&self, route: &Route) -> bool {
        Source::admits(self.sources.get(&route.router_id), route.seqno, route.reference)
    }

    /// Whether a feasible route with this metric, from a neighbour that is not in use, leaves all as it is: the
    /// one in use is no worse, no better one waits, and nobody asked for anything.
    pub(crate) fn is_content_beside(&self, metric: u16) -> bool {
        let no_worse = matches!(&self.selected, Selection::Via { metric: used, .. } if *used <= metric);
        no_worse && self.challenged.is_none() && self.requests.is_empty()
    }

    pub(crate) fn selected_route(&self) -> Option<(NeighbourKey, &Route)> {
        match &self.selected {
            Selection::Via { neighbour, .. } => Some((*neighbour, self.routes.get(neighbour)?)),
            _ => None,
        }
    }

    pub(crate) fn told(&self, interface: InterfaceId) -> Option<&Told> {
        let at = self
            .told
            .binary_search_by_key(&interface, |told| told.interface)
            .ok()?;
        self.told.get(at)
    }

    pub(crate) fn set_told(&mut self, interface: InterfaceId, what: Option<(RouterId, u16)>) {
        let at = self.told.binary_search_by_key(&interface, |told| told.interface);
        match (at, what) {
            (Ok(at), Some((router_id, metric))) => {
                self.told[at] = Told {
                    interface,
                    router_id,
                    metric,
                }
            }
            (Err(at), Some((router_id, metric))) => {
                self.told.insert(
                    at,
                    Told {
                        interface,
                        router_id,
                        metric,
                    },
                );
            }
            (Ok(at), None) => {
                self.told.remove(at);
            }
            (Err(_), None) => {}
        }
    }

    pub(crate) fn told_interfaces(&self) -> impl Iterator<Item = InterfaceId> + '_ {
        self.told.iter().map(|told| told.interface)
    }

    /// When routes, sources, hold time or a pending switch next need a look.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let routes = self.routes.values().map(Route::next_check).min();
        let sources = self.sources.values().map(|source| source.expires).min();
        let hold = match self.selected {
            Selection::Held { until, .. } => Some(until),
            _ => None,
        };
        let switch = self.challenged.map(|since| since + crate::select::PATIENCE);
        [routes, sources, hold, switch].into_iter().flatten().min()
    }
}
