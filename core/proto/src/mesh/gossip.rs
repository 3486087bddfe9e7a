//! What we still have to tell a neighbour about members, and what we have asked others for.

use crate::{
    Duration, Instant, IpNet, RouterId,
    identity::NodeId,
    link::RevocationPart,
    revocation::{MAX_REVOCATION_LIST, RevocationList},
    tunnel::TunnelId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Bundles sent to one neighbour at a time, and the pause until the next ones.
pub const BATCH: usize = 24;
pub const PACE: Duration = Duration::from_millis(50);
/// How long the first of several bundles waits for others.
pub const GATHER: Duration = Duration::from_millis(20);
/// News of others waits up to this much longer, at random: what a neighbour tells us meanwhile it need not hear.
pub const LINGER: Duration = Duration::from_millis(1000);
/// Origins without a certificate that routes wait for.
const WAITING: usize = 4096;
/// Routes remembered per such origin.
const WAITING_ROUTES: usize = 16;
const ASK_AGAIN: Duration = Duration::from_secs(1);
const FIRST_REPEAT: Duration = Duration::from_millis(400);
const LONGEST_REPEAT: Duration = Duration::from_secs(8);
/// How often a certificate, and then a route, is asked for.
const CERTIFICATE_REQUESTS: u32 = 10;
const ROUTE_REQUESTS: u32 = 5;

/// What is to be told to one neighbour; bounded by the directory.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: BTreeSet<NodeId>,
    news: BTreeSet<NodeId>,
}

impl Outbox {
    /// The whole bundle: it is our own, or the neighbour asked for it.
    pub fn push(&mut self, node: NodeId) {
        self.pending.insert(node);
        self.news.remove(&node);
    }

    /// Only that there is a new one: somebody else may have told, and then it is not asked for.
    pub fn push_news(&mut self, node: NodeId) {
        if !self.pending.contains(&node) {
            self.news.insert(node);
        }
    }

    /// The neighbour knows it already.
    pub fn forget(&mut self, node: &NodeId) {
        self.news.remove(node);
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.news.is_empty()
    }

    pub fn take(&mut self, count: usize) -> Vec<NodeId> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(node) = self.pending.pop_first()
        {
            taken.push(node);
        }
        taken
    }

    pub fn take_news(&mut self) -> BTreeSet<NodeId> {
        core::mem::take(&mut self.news)
    }
}

/// What was asked of some neighbour lately, so that not everybody is asked for everything.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<RouterId, Instant>);

impl Asked {
    /// Whether to ask now; notes that we do.
    pub fn ask(&mut self, router_id: RouterId, now: Instant) -> bool {
        if self.0.len() >= WAITING {
            self.0.retain(|_, at| now.saturating_since(*at) < ASK_AGAIN);
        }
        let due = self
            .0
            .get(&router_id)
            .is_none_or(|at| now.saturating_since(*at) >= ASK_AGAIN);
        if due && self.0.len() < WAITING {
            self.0.insert(router_id, now);
        }
        due
    }

    pub fn answered(&mut self, router_id: &RouterId) {
        self.0.remove(router_id);
    }
}

/// Routes that were refused for want of their origin's certificate: the certificate is asked for, and when it has
/// come the route is. Either may get lost, so both are repeated at growing distances.
#[derive(Debug, Default)]
pub struct Waiting {
    origins: BTreeMap<RouterId, WaitingOrigin>,
    routes: BTreeMap<(TunnelId, IpNet), Repeat>,
}

#[derive(Debug)]
struct WaitingOrigin {
    repeat: Repeat,
    routes: BTreeSet<(TunnelId, IpNet)>,
}

/// Something to be done again until it has worked, some number of times.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    next: Instant,
    times: u32,
}

impl Repeat {
    fn new(now: Instant) -> Self {
        Self { next: now, times: 0 }
    }

    /// Whether it is time; notes that it is done.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + (FIRST_REPEAT * 2u32.pow(self.times.min(8))).min(LONGEST_REPEAT);
            self.times += 1;
        }
        due
    }
}

impl Waiting {
    /// Notes it; `false` when there is no room.
    pub fn add(&mut self, router_id: RouterId, tunnel: TunnelId, prefix: IpNet, now: Instant) -> bool {
        if !self.origins.contains_key(&router_id) && self.origins.len() >= WAITING {
            return false;
        }
        let waiting = self.origins.entry(router_id).or_insert_with(|| WaitingOrigin {
            repeat: Repeat::new(now),
            routes: BTreeSet::new(),
        });
        waiting.routes.len() < WAITING_ROUTES && {
            waiting.routes.insert((tunnel, prefix));
            true
        }
    }

    /// Whom to ask for which certificates now.
    pub fn due_certificates(&mut self, now: Instant) -> BTreeMap<TunnelId, Vec<RouterId>> {
        self.origins.retain(|_, w| w.repeat.times < CERTIFICATE_REQUESTS);
        let mut due: BTreeMap<TunnelId, Vec<RouterId>> = BTreeMap::new();
        for (router_id, waiting) in &mut self.origins {
            if !waiting.repeat.is_due(now) {
                continue;
            }
            // Those who announced it have the certificate; a second one in case the first does not answer.
            let mut tunnels: Vec<_> = waiting.routes.iter().map(|(tunnel, _)| *tunnel).collect();
            tunnels.dedup();
            for tunnel in tunnels.into_iter().take(2) {
                due.entry(tunnel).or_default().push(*router_id);
            }
        }
        due
    }

    /// The certificate came: its routes are asked for from now on.
    pub fn certificate_came(&mut self, router_id: &RouterId, now: Instant) {
        for route in self
            .origins
            .remove(router_id)
            .map(|w| w.routes)
            .unwrap_or_default()
        {
            if self.routes.len() < WAITING {
                self.routes.insert(route, Repeat::new(now));
            }
        }
    }

    /// Which routes to ask for now, of those that `is_there` does not know.
    pub fn due_routes(&mut self, now: Instant, is_there: impl Fn(&IpNet) -> bool) -> Vec<(TunnelId, IpNet)> {
        let mut due = Vec::new();
        self.routes.retain(|(tunnel, prefix), repeat| {
            if !repeat.is_due(now) {
                return true;
            }
            if repeat.times > ROUTE_REQUESTS || repeat.times > 1 && is_there(prefix) {
                return false;
            }
            due.push((*tunnel, *prefix));
            true
        });
        due
    }

    /// When something is due.
    pub fn next(&self) -> Option<Instant> {
        let origins = self.origins.values().map(|w| w.repeat.next);
        origins.chain(self.routes.values().map(|r| r.next)).min()
    }

    pub fn forget_tunnel(&mut self, tunnel: TunnelId) {
        for waiting in self.origins.values_mut() {
            waiting.routes.retain(|(t, _)| *t != tunnel);
        }
        self.origins.retain(|_, w| !w.routes.is_empty());
        self.routes.retain(|(t, _), _| *t != tunnel);
    }
}

/// Puts a revocation list together from its parts; one list at a time per neighbour.
#[derive(Debug, Default)]
pub struct Reassembly {
    hash: [u8; 32],
    parts: BTreeMap<u16, Vec<u8>>,
    octets: usize,
}

impl Reassembly {
    /// The list, when this was the part that was missing.
    pub fn add(&mut self, part: RevocationPart) -> Option<RevocationList> {
        if part.index >= part.total {
            return None;
        }
        if self.hash != part.hash {
            *self = Self {
                hash: part.hash,
                ..Self::default()
            };
        }
        if self.octets + part.octets.len() > MAX_REVOCATION_LIST {
            return None;
        }
        let (octets, total) = (part.octets.len(), usize::from(part.total));
        if self.parts.insert(part.index, part.octets).is_none() {
            self.octets += octets;
        }
        if self.parts.len() < total {
            return None;
        }
        let whole = core::mem::take(self)
            .parts
            .into_values()
            .flatten()
            .collect::<Vec<_>>();
        (*blake3::hash(&whole).as_bytes() == part.hash)
            .then(|| RevocationList::decode(&whole).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_together_are_forgotten() {
        let part = |hash, index, total, octets: &[u8]| RevocationPart {
            number: 1,
            hash,
            index,
            total,
            octets: octets.to_vec(),
        };
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(part([1; 32], 3, 3, b"beyond")).is_none());
        assert!(reassembly.add(part([1; 32], 0, 2, b"half")).is_none());
        assert!(reassembly.add(part([2; 32], 1, 2, b"of another")).is_none());
        assert_eq!(reassembly.parts.len(), 1);
        assert!(reassembly.add(part([2; 32], 0, 2, b"wrong hash")).is_none());
        assert!(reassembly.parts.is_empty());
        for index in 0..u16::MAX {
            let _ = reassembly.add(part([3; 32], index, u16::MAX, &[0; 1024]));
        }
        assert!(reassembly.octets <= MAX_REVOCATION_LIST);
    }

    #[test]
    fn what_is_missing_is_asked_for_a_bounded_number_of_times() {
        let mut waiting = Waiting::default();
        let (origin, prefix) = (RouterId([1; 8]), "fd00::/64".parse().unwrap());
        let mut now = Instant::ZERO;
        assert!(waiting.add(origin, TunnelId(1), prefix, now));
        let (mut certificates, mut routes) = (0, 0);
        while let Some(at) = waiting.next() {
            now = at.max(now);
            certificates += waiting.due_certificates(now).len();
            routes += waiting.due_routes(now, |_| false).len();
        }
        assert_eq!((certificates, routes), (10, 0));
        assert!(waiting.add(origin, TunnelId(1), prefix, now));
        waiting.certificate_came(&origin, now);
        while let Some(at) = waiting.next() {
            now = at.max(now);
            routes += waiting.due_routes(now, |_| routes >= 2).len();
        }
        assert_eq!(routes, 2, "until it is there");
    }
}
