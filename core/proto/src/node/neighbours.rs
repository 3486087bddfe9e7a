//! How many neighbours, and which: enough outgoing ones at random, replacements at once when some fail, and
//! now and then another one for the least useful, so that the graph stays random and connected.

use super::{
    DownReason, Node,
    stop::PENALTY,
    timers::Timer,
    tunnel::{Phase, Tunnel},
    tunnels::interface,
};
use crate::{
    Duration, Instant, IpNet,
    accounting::carried,
    identity::NodeId,
    link::ByeReason,
    mesh::choice::{self, Usefulness},
    tunnel::TunnelId,
};
use core::{cmp::Reverse, net::SocketAddr};

/// A dialled tunnel that has not opened by then no longer counts as one: another is dialled beside it.
const HEDGE: Duration = Duration::from_secs(1);
/// A neighbour that fell silent is not replaced for this long while enough tunnels work, whoever began them: most
/// come back, and a new tunnel costs more than a gap among many.
const RETURN: Duration = Duration::from_secs(60);
/// Routes leave a tunnel that is being replaced for this long before it closes.
const LEAVE: Duration = Duration::from_secs(3);
const SOONEST: Duration = Duration::from_millis(100);

impl Node {
    /// Dials as many members as neighbours are missing.
    pub(super) fn seek_neighbours(&mut self, now: Instant) {
        if self.stop.is_stopping() || self.upkeep.excluded.is_some() {
            return;
        }
        let rejoining = self.sleep.rejoining();
        if rejoining > now {
            return self.timers.advance(Timer::Dial, rejoining);
        }
        let (mut have, mut dialling) = (0, 0);
        let target = self.parameters.outgoing;
        let can_wait = self.tunnels.values().filter(|t| t.is_usable() && !t.leaf).count() >= target;
        let mut replace_at = None::<Instant>;
        for tunnel in self.tunnels.values().filter(|t| t.outgoing) {
            let returns_until = tunnel.liveness.dead_since.map(|at| at + RETURN);
            match tunnel.phase {
                Phase::Open if tunnel.is_usable() => have += 1,
                Phase::Open if can_wait && !tunnel.closing && returns_until > Some(now) => {
                    have += 1;
                    replace_at = returns_until.min(replace_at.or(returns_until));
                }
                Phase::Open => {}
                Phase::Dialling | Phase::Greeting => {
                    dialling += 1;
                    have += usize::from(now.saturating_since(tunnel.created) < HEDGE);
                }
            }
        }
        if let Some(at) = replace_at {
            self.timers.advance(Timer::Dial, at);
        }
        let want = target
            .saturating_sub(have)
            .min((2 * target).saturating_sub(dialling));
        if dialling > 0 && have < 2 * target {
            self.timers.advance(Timer::Dial, now + HEDGE);
        }
        if want == 0 {
            return;
        }
        let (mut candidates, retry) = self.candidates(now);
        let enough = candidates.len() >= want;
        self.random.choose(&mut candidates, want);
        for (peer, endpoints) in candidates {
            self.dial(peer, endpoints, now);
        }
        if !enough && let Some(at) = retry {
            self.timers.advance(Timer::Dial, at.max(now + SOONEST));
        }
    }

    /// Members that can be dialled now, and when another one can be. Leaves only when nobody else is there: they
    /// lead nowhere, and sleep.
    fn candidates(&self, now: Instant) -> (Vec<(NodeId, Vec<SocketAddr>)>, Option<Instant>) {
        let (others, retry) = self.candidates_among(false, now);
        let has_relay = || self.tunnels.values().any(|t| t.is_usable() && !t.leaf);
        if !others.is_empty() || has_relay() {
            return (others, retry);
        }
        let (leaves, sooner) = self.candidates_among(true, now);
        (leaves, [retry, sooner].into_iter().flatten().min())
    }

    fn candidates_among(
        &self,
        leaves: bool,
        now: Instant,
    ) -> (Vec<(NodeId, Vec<SocketAddr>)>, Option<Instant>) {
        let own = self.endpoints.own(now);
        let (mut candidates, mut retry) = (Vec::new(), None::<Instant>);
        for member in self.directory.iter() {
            let node = member.bundle.record.node;
            let connected = self.by_key.contains_key(&member.bundle.certificate.tunnel_key)
                || self.by_peer.contains_key(&node);
            if node == self.id || connected || member.bundle.record.leaf != leaves {
                continue;
            }
            let endpoints = choice::reachable(member, &self.backoff, &own, now);
            if !endpoints.is_empty() {
                candidates.push((node, endpoints));
            } else if let Some(at) = choice::retry_at(member, &self.backoff, &own) {
                retry = Some(retry.map_or(at, |earlier| earlier.min(at)));
            }
        }
        (candidates, retry)
    }

    /// Replaces the least useful outgoing neighbour: another one first, then this one goes.
    pub(super) fn refresh(&mut self, now: Instant) {
        let next = self.random.around(self.parameters.refresh);
        self.timers.set(Timer::Refresh, now + next);
        if self.stop.is_stopping() || self.upkeep.excluded.is_some() {
            return;
        }
        let outgoing = self
            .tunnels
            .values()
            .filter(|t| t.outgoing && t.is_usable())
            .count();
        if self.replacing.is_none() && outgoing >= self.parameters.outgoing {
            self.replace_one(outgoing, now);
        }
        for tunnel in self.tunnels.values_mut() {
            tunnel.weighed = carried(&tunnel.handle);
        }
    }

    fn replace_one(&mut self, outgoing: usize, now: Instant) {
        let Some(old) = self.least_useful(now) else { return };
        if outgoing > self.parameters.outgoing {
            // There is one more than wanted already.
            return self.begin_replacing(old, now);
        }
        let (mut candidates, _) = self.candidates(now);
        self.random.choose(&mut candidates, 1);
        if let Some((peer, endpoints)) = candidates.pop()
            && let Some(new) = self.dial(peer, endpoints, now)
        {
            self.replacing = Some((old, new));
        }
    }

    /// Only one that has been there for a while, and whose node others reach as well: nobody is cut off.
    pub(super) fn least_useful(&self, now: Instant) -> Option<TunnelId> {
        let settled = |t: &Tunnel| {
            t.opened_at
                .is_some_and(|at| now.saturating_since(at) >= self.parameters.refresh / 2)
        };
        let mut routes: std::collections::BTreeMap<TunnelId, usize> = std::collections::BTreeMap::new();
        let mut reached_by: std::collections::BTreeMap<IpNet, Vec<TunnelId>> =
            std::collections::BTreeMap::new();
        for route in self.babel.routes() {
            let id = TunnelId(route.interface.0);
            if route.selected {
                *routes.entry(id).or_default() += 1;
            }
            if route.metric < osier_babel::INFINITY {
                reached_by.entry(route.prefix).or_default().push(id);
            }
        }
        self.tunnels
            .iter()
            .filter(|(_, t)| t.outgoing && t.is_usable() && settled(t))
            .filter(|(id, t)| {
                let prefixes = t.certificate.iter().flat_map(|c| &c.prefixes);
                prefixes.into_iter().all(|p| {
                    reached_by
                        .get(p)
                        .is_some_and(|via| via.iter().any(|other| other != *id))
                })
            })
            .map(|(id, t)| Usefulness {
                usable: t.liveness.usable,
                traffic: Usefulness::traffic_class(t.recent_octets()),
                routes: routes.get(id).copied().unwrap_or(0),
                nearness: Reverse(t.rtt.smoothed.unwrap_or(Duration::MAX)),
                tunnel: *id,
            })
            .min()
            .map(|least| least.tunnel)
    }

    /// A tunnel opened: if it was dialled to replace another, that one goes now.
    pub(super) fn replacement_opened(&mut self, id: TunnelId, now: Instant) {
        if let Some((old, new)) = self.replacing
            && new == id
        {
            self.replacing = None;
            self.begin_replacing(old, now);
        }
    }

    /// Both ends stop using the tunnel before it closes.
    pub(super) fn begin_replacing(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.is_usable() {
            return;
        }
        tunnel.closing = true;
        self.babel.set_rx_cost(interface(id), PENALTY, now);
        self.reauthorise(now);
        self.timers.set(Timer::Close(id), now + LEAVE);
    }

    pub(super) fn finish_replacing(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if let Some(peer) = tunnel.peer()
            && let Some(member) = self.directory.get_mut(&peer)
        {
            member.avoid_until = now + self.parameters.refresh / 2;
        }
        self.dismiss(id, ByeReason::Replaced, DownReason::Replaced, now);
    }
}
