//! How bundles of other members spread.
//!
//! Our own newest bundle goes to every neighbour; of others' they are told that there is a newer one, once, and
//! ask for it if nobody else was faster. What gets lost is found by comparing digests of the directories, often
//! after link-up and then every two minutes: two neighbours whose digests differ send each other summaries, and
//! each asks for what it does not have.
//!
//! A leaf takes no part in this but for its own bundle and its neighbours': it asks for the certificates that its
//! routes need, and nobody learns anything from it. While it dozes nothing is told at all.

use super::{Node, timers::Timer};
use crate::{
    Duration, Instant, RouterId,
    identity::NodeId,
    link::{MAX_REQUESTED, Message},
    mesh::gossip::{BATCH, GATHER, LINGER, PACE},
    tunnel::TunnelId,
};

/// Digests to one neighbour, and after link-up.
const DIGEST_INTERVAL: Duration = Duration::from_secs(120);
const FIRST_DIGESTS: Duration = Duration::from_secs(2);
/// Neighbours are told where we see them with the first digests and with every so-manieth; they forget it after
/// 10 min.
const FIRST_OBSERVED: u32 = 2;
const OBSERVED_EVERY: u32 = 2;
/// While news is younger than this it is still spreading, and digests differ for no other reason.
const SPREADING: Duration = Duration::from_secs(2);
/// Summaries sent to one neighbour before it has to wait for the next digest of ours.
const MAX_SUMMARIES: u32 = 2;

impl Node {
    /// All neighbours but one are to hear of a bundle: our own, or that there is a newer one of somebody else.
    pub(super) fn tell_neighbours(&mut self, node: NodeId, except: Option<TunnelId>, now: Instant) {
        let is_own = node == self.id;
        for (id, tunnel) in &mut self.tunnels {
            if !tunnel.is_open() || Some(*id) == except || tunnel.peer() == Some(node) {
                continue;
            }
            if !is_own && (tunnel.leaf || self.parameters.leaf) {
                continue;
            }
            let mut wait = GATHER;
            if is_own {
                tunnel.outbox.push(node);
            } else {
                tunnel.outbox.push_news(node);
                wait += LINGER * (self.random.draw() % 256) as u32 / 256;
            }
            if !tunnel.doze.peer_dozes() {
                self.timers.advance(Timer::Gossip(*id), now + wait);
            }
        }
    }

    /// First things to say on a new link.
    pub(super) fn introduce_ourselves(&mut self, id: TunnelId, now: Instant) {
        if self.record.bundle().is_none() {
            self.sign_record(now);
        }
        if let Some(bundle) = self.record.bundle().cloned() {
            for message in Message::bundles([&bundle]) {
                self.send_link(id, &message, now);
            }
        }
        self.compare_directories(id, now);
    }

    /// Sends some of what the neighbour is still to be told.
    pub(super) fn gossip(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let news = tunnel.outbox.take_news();
        let nodes = tunnel.outbox.take(BATCH);
        if !tunnel.outbox.is_empty() {
            self.timers.set(Timer::Gossip(id), now + PACE);
        }
        let bundles: Vec<_> = nodes
            .iter()
            .filter_map(|node| self.directory.get(node))
            .map(|member| member.bundle.clone())
            .collect();
        let mut entries: Vec<_> = news
            .iter()
            .filter_map(|node| self.directory.get(node))
            .map(|member| &member.bundle.record)
            .map(|record| (record.node.router_id(), record.sequence))
            .collect();
        entries.sort_unstable();
        let news = Message::summary(&entries);
        for message in Message::bundles(&bundles).into_iter().chain(news) {
            self.send_link(id, &message, now);
        }
    }

    /// Sends our digest, which the neighbour answers if it knows something else, and where we see it.
    pub(super) fn compare_directories(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.is_open() || tunnel.doze.is_quiet() {
            return;
        }
        tunnel.summaries = 0;
        let endpoint = tunnel.handle.endpoint();
        // Soon again at first: one side may not have heard the other.
        let interval = DIGEST_INTERVAL.min(FIRST_DIGESTS * 8u32.pow(tunnel.digests.min(4)));
        let says_where = tunnel.digests < FIRST_OBSERVED || tunnel.digests.is_multiple_of(OBSERVED_EVERY);
        tunnel.digests += 1;
        let next = self.random.around(interval);
        self.timers.set(Timer::Digest(id), now + next);
        let digest = self.digest();
        self.send_link(id, &digest, now);
        if let Some(endpoint) = endpoint.filter(|_| says_where) {
            self.send_link(id, &Message::Observed(endpoint), now);
        }
    }

    /// Not soon, but as ever.
    pub(super) fn schedule_digest(&mut self, id: TunnelId, now: Instant) {
        let next = self.random.around(DIGEST_INTERVAL);
        self.timers.set(Timer::Digest(id), now + next);
    }

    fn digest(&mut self) -> Message {
        Message::Digest {
            members: u32::try_from(self.directory.len()).unwrap_or(u32::MAX),
            hash: self.directory.digest(),
            revocations: self.revocations.as_ref().map_or(0, |list| list.number),
        }
    }

    pub(super) fn take_digest(
        &mut self,
        id: TunnelId,
        (members, hash): (u32, &[u8; 32]),
        number: u64,
        now: Instant,
    ) {
        if self.revocations.as_ref().is_some_and(|list| list.number > number) {
            self.send_revocations(id, now);
        }
        let with_leaf = self.parameters.leaf || self.tunnels.get(&id).is_some_and(|t| t.leaf);
        if with_leaf || self.directory.digest() == *hash {
            return;
        }
        // Who knows fewer members is new here, or they are; otherwise the next digest will tell.
        let is_spreading = now.saturating_since(self.directory.changed()) < SPREADING;
        if is_spreading && members as usize >= self.directory.len() {
            return;
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.summaries += 1;
        if tunnel.summaries > MAX_SUMMARIES {
            return self.counters.count("summary-limit");
        }
        for message in Message::summary(&self.directory.entries()) {
            self.send_link(id, &message, now);
        }
    }

    /// Asks for what the neighbour knows better.
    pub(super) fn take_summary(&mut self, id: TunnelId, entries: &[(RouterId, u64)], now: Instant) {
        let mut wanted = Vec::new();
        for (router_id, sequence) in entries {
            let member = self.directory.by_router_id(router_id);
            let known = member.map(|m| m.bundle.record.sequence);
            if let Some(member) = member
                && known <= Some(*sequence)
                && let Some(tunnel) = self.tunnels.get_mut(&id)
            {
                tunnel.outbox.forget(&member.bundle.record.node);
            }
            if known.is_none_or(|known| known < *sequence)
                && *router_id != self.router_id
                && self.asked.ask(*router_id, now)
            {
                wanted.push(*router_id);
            }
        }
        for part in wanted.chunks(MAX_REQUESTED) {
            self.send_link(id, &Message::BundleRequest(part.to_vec()), now);
        }
    }

    /// Asks neighbours for the certificates that their routes lack, and for the routes that lacked one.
    pub(super) fn request_missing(&mut self, now: Instant) {
        let babel = &self.babel;
        for (tunnel, prefix) in self.waiting.due_routes(now, |p| babel.selected(p).is_some()) {
            let interface = super::tunnels::interface(tunnel);
            self.babel.request_route(interface, Some(prefix), now);
        }
        for (id, router_ids) in self.waiting.due_certificates(now) {
            for part in router_ids.chunks(MAX_REQUESTED) {
                self.send_link(id, &Message::CertificateRequest(part.to_vec()), now);
            }
        }
    }
}
