//! Who belongs: certificates, bundles of other members and how they spread, revocations, expiry.
//!
//! Our own newest bundle goes to every neighbour; of others' they are told that there is a newer one, once, and
//! ask for it if nobody else was faster. What gets lost is found by comparing
//! digests of the directories, at link-up and about every minute: two neighbours whose digests differ send each
//! other summaries, and each asks for what it does not have.

use super::{DownReason, Event, Health, Node, Request, timers::Timer};
use crate::{
    Duration, Instant, RouterId,
    certificate::{Certificate, CertificateError},
    fib::Hop,
    identity::NodeId,
    link::{ByeReason, MAX_REQUESTED, Message},
    mesh::{
        directory::Learnt,
        gossip::{BATCH, GATHER, LINGER, PACE},
    },
    record::Bundle,
    revocation::RevocationList,
    tunnel::TunnelId,
    wallclock::{CLOCK_SKEW, UnixTime},
};
use std::collections::BTreeMap;

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
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// With a neighbour the registry is asked for members after 2 s, 4 s, 1 min and then every 10 min.
const SERVED_STEP: u32 = 4;
/// Members' certificates in the future that make our own clock suspect.
const SUSPICIOUS: u64 = 3;

/// What is done now and then, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// The registry's last answer.
    pub(super) registry: Option<Result<(), String>>,
    pub(super) excluded: Option<String>,
    renewals: u32,
    pub(super) fetches: u32,
    /// Members from the disk, the registry or the directory whose time has not come or is over: by our clock,
    /// which may be wrong. They stay in the cache and get another chance.
    pub(super) dormant: BTreeMap<NodeId, Bundle>,
}

const DORMANT: usize = 4096;
/// Nobody's clock is that wrong for that long.
const FORGET_EXPIRED: u64 = 90 * 86_400;

/// 2 s, doubling, up to 10 min.
fn retry(failures: u32) -> Duration {
    (FIRST_RETRY * 2u32.pow(failures.min(9))).min(LONGEST_RETRY)
}

impl Node {
    pub(super) fn start_upkeep(&mut self, now: Instant) {
        self.timers.set(Timer::Expiry, now + Duration::from_secs(1));
        self.timers.set(Timer::Directory, now + Duration::from_millis(10));
        self.schedule_renewal(now);
        self.record_changed(now);
        self.check_own(now);
    }

    /// Signature, network, time (with the network's grace while the registry cannot be reached), revocation.
    pub(super) fn verify(&self, certificate: &Certificate, now: Instant) -> Result<(), CertificateError> {
        let time = self.unix_now(now);
        if self.grace() > 0 {
            certificate.verify_with_grace(&self.network, time)?;
        } else {
            certificate.verify(&self.network, time)?;
        }
        if self
            .revocations
            .as_ref()
            .is_some_and(|list| list.revokes(certificate))
        {
            return Err(CertificateError::Revoked);
        }
        Ok(())
    }

    /// Expired certificates count for the network's grace, in seconds, unless we could renew ours.
    pub(super) fn grace(&self) -> u64 {
        match self.upkeep.registry {
            Some(Ok(())) => 0,
            _ => self.network.grace,
        }
    }

    /// Whether a bundle was new to us; verified, stored, passed on.
    pub(super) fn learn(&mut self, bundle: Bundle, from: Option<TunnelId>, now: Instant) -> bool {
        let node = bundle.record.node;
        let router_id = node.router_id();
        if !self.directory.is_news(&bundle) {
            self.asked.answered(&router_id);
            if let Some(tunnel) = from.and_then(|id| self.tunnels.get_mut(&id)) {
                tunnel.outbox.forget(&node);
            }
            return false;
        }
        let same_certificate = self
            .directory
            .get(&node)
            .is_some_and(|m| m.bundle.certificate == bundle.certificate);
        let verdict = if same_certificate {
            bundle.record.verify(&self.network).is_ok()
        } else {
            bundle.certificate.node == node
                && match self.verify(&bundle.certificate, now) {
                    Ok(()) => bundle.record.verify(&self.network).is_ok(),
                    Err(error @ (CertificateError::NotYetValid(_) | CertificateError::Expired(_))) => {
                        if matches!(error, CertificateError::NotYetValid(_)) {
                            self.counters.count("certificate-not-yet-valid");
                        }
                        // What neighbours tell may be anybody's invention: signatures were not looked at.
                        if from.is_none() {
                            self.keep_dormant(bundle);
                            return false;
                        }
                        false
                    }
                    Err(_) => false,
                }
        };
        if !verdict {
            self.counters.count("bundle-refused");
            return false;
        }
        if node == self.id {
            // An earlier life of ours signed it: ours must be newer to be believed.
            self.record.outdo(bundle.record.sequence);
            self.record_changed(now);
            return false;
        }
        let forward = match self.directory.insert(bundle, now) {
            Learnt::New => true,
            Learnt::Newer { forward } => forward,
            Learnt::Known => return false,
            Learnt::Full => {
                self.counters.count("directory-full");
                return false;
            }
        };
        self.asked.answered(&router_id);
        self.request(Request::SaveCache);
        self.adopt_certificate(&node, now);
        if !same_certificate {
            self.check_sessions();
        }
        self.waiting.certificate_came(&router_id, now);
        self.request_missing(now);
        if forward {
            self.tell_neighbours(node, from, now);
        }
        self.timers.advance(Timer::Dial, now + Duration::from_millis(20));
        true
    }

    fn keep_dormant(&mut self, bundle: Bundle) {
        let (node, dormant) = (bundle.record.node, &mut self.upkeep.dormant);
        let is_newer = dormant
            .get(&node)
            .is_none_or(|known| known.record.sequence < bundle.record.sequence);
        if is_newer && node != self.id && (dormant.len() < DORMANT || dormant.contains_key(&node)) {
            dormant.insert(node, bundle);
        }
    }

    /// Takes in those whose time has come after all.
    fn wake_dormant(&mut self, now: Instant) {
        let (time, grace) = (self.unix_now(now), self.grace());
        let is_due =
            |c: &Certificate| is_current(c, time, grace) && time.saturating_add(CLOCK_SKEW) >= c.not_before;
        let due: Vec<_> = self
            .upkeep
            .dormant
            .values()
            .filter(|b| is_due(&b.certificate))
            .map(|b| b.record.node)
            .collect();
        for bundle in due
            .iter()
            .filter_map(|node| self.upkeep.dormant.remove(node))
            .collect::<Vec<_>>()
        {
            self.learn(bundle, None, now);
        }
        self.upkeep
            .dormant
            .retain(|_, b| time < b.certificate.not_after.saturating_add(FORGET_EXPIRED));
    }

    /// A neighbour renewed its certificate, or no longer relays.
    fn adopt_certificate(&mut self, node: &NodeId, now: Instant) {
        let Some(id) = self.by_peer.get(node).copied() else {
            return;
        };
        let Some(newer) = self.directory.get(node).map(|m| m.bundle.certificate.clone()) else {
            return;
        };
        let may_relay = self.may_relay(&newer);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let Some(held) = &tunnel.certificate else { return };
        if newer.tunnel_key != tunnel.peer_key || newer.serial < held.serial {
            return;
        }
        tunnel.handle.set_sources(may_relay, &newer.prefixes);
        let fewer = held.prefixes != newer.prefixes || !may_relay;
        tunnel.certificate = Some(newer);
        if fewer {
            self.reauthorise(now);
        }
    }

    /// Whether routes through the member are used.
    pub(super) fn may_relay(&self, certificate: &Certificate) -> bool {
        let record = self.directory.get(&certificate.node).map(|m| &m.bundle.record);
        certificate.flags.relay && !record.is_some_and(|r| r.leaf)
    }

    /// All neighbours but one are to hear of a bundle: our own, or that there is a newer one of somebody else.
    pub(super) fn tell_neighbours(&mut self, node: NodeId, except: Option<TunnelId>, now: Instant) {
        let is_own = node == self.id;
        for (id, tunnel) in &mut self.tunnels {
            if !tunnel.is_open() || Some(*id) == except || tunnel.peer() == Some(node) {
                continue;
            }
            let mut wait = GATHER;
            if is_own {
                tunnel.outbox.push(node);
            } else {
                tunnel.outbox.push_news(node);
                wait += LINGER * (self.random.draw() % 256) as u32 / 256;
            }
            self.timers.advance(Timer::Gossip(*id), now + wait);
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
        if !tunnel.is_open() {
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
        if self.directory.digest() == *hash {
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

    fn send_revocations(&mut self, id: TunnelId, now: Instant) {
        let Some(list) = &self.revocations else { return };
        for message in Message::revocations(list) {
            self.send_link(id, &message, now);
        }
    }

    /// Takes a newer list: drops whom it names, looks at all routes again, passes it on.
    pub(super) fn merge_revocations(&mut self, list: RevocationList, from: Option<TunnelId>, now: Instant) {
        if self
            .revocations
            .as_ref()
            .is_some_and(|known| known.number >= list.number)
        {
            return;
        }
        if list.verify(&self.network, self.unix_now(now)).is_err() {
            return self.counters.count("revocations-refused");
        }
        self.revocations = Some(list);
        self.request(Request::SaveRevocations);
        self.check_own(now);
        let void: Vec<_> = self
            .directory
            .iter()
            .filter(|m| self.is_revoked(&m.bundle.certificate))
            .map(|m| m.bundle.record.node)
            .filter(|node| *node != self.id)
            .collect();
        let tunnels: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(_, t)| t.certificate.as_ref().is_some_and(|c| self.is_revoked(c)))
            .map(|(id, _)| *id)
            .collect();
        for id in tunnels {
            // So that it knows what has happened to it, and by whose word.
            self.send_revocations(id, now);
            self.dismiss(id, ByeReason::Revoked, DownReason::Revoked, now);
        }
        for node in void {
            self.directory.remove(&node);
            self.push_event(Event::Revoked(node));
            self.request(Request::SaveCache);
        }
        self.check_sessions();
        self.reauthorise(now);
        let others: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(id, t)| t.is_open() && Some(**id) != from)
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            self.send_revocations(id, now);
        }
    }

    pub(super) fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.revocations
            .as_ref()
            .is_some_and(|list| list.revokes(certificate))
    }

    /// Looks at every certificate again as time goes by.
    pub(super) fn check_expiry(&mut self, now: Instant) {
        self.timers.set(Timer::Expiry, now + EXPIRY_INTERVAL);
        self.check_own(now);
        self.wake_dormant(now);
        let (time, grace) = (self.unix_now(now), self.grace());
        let expired: Vec<_> = self
            .directory
            .iter()
            .filter(|m| !is_current(&m.bundle.certificate, time, grace))
            .map(|m| m.bundle.record.node)
            .filter(|node| *node != self.id)
            .collect();
        let tunnels: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(_, t)| {
                t.certificate
                    .as_ref()
                    .is_some_and(|c| !is_current(c, time, grace))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in tunnels {
            self.dismiss(id, ByeReason::Expired, DownReason::Expired, now);
        }
        if expired.is_empty() {
            return;
        }
        for node in expired {
            self.counters.count("certificate-expired");
            if let Some(member) = self.directory.remove(&node) {
                self.keep_dormant(member.bundle);
            }
        }
        self.request(Request::SaveCache);
        self.check_sessions();
        self.reauthorise(now);
    }

    /// Whether we still belong ourselves.
    fn check_own(&mut self, now: Instant) {
        let time = self.unix_now(now);
        let reason = if self.is_revoked(&self.certificate) {
            Some("this node was revoked; ask the network's operator for a new invite".to_owned())
        } else if !is_current(&self.certificate, time, self.network.grace) {
            Some(format!(
                "the certificate ended at {}; check the registry and this machine's clock, or join again",
                self.certificate.not_after
            ))
        } else {
            None
        };
        if reason == self.upkeep.excluded {
            return;
        }
        self.upkeep.excluded = reason;
        if let Some(reason) = self.upkeep.excluded.clone() {
            self.push_event(Event::Excluded(reason));
            for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
                self.dismiss(id, ByeReason::Closing, DownReason::Expired, now);
            }
            self.close_sessions();
        } else {
            self.timers.advance(Timer::Dial, now + Duration::from_millis(10));
        }
    }

    /// The registry renewed our certificate.
    pub(super) fn set_certificate(&mut self, certificate: Certificate, now: Instant) {
        let is_ours = certificate.node == self.id && certificate.tunnel_key == self.keys.tunnel_key();
        if !is_ours || self.verify(&certificate, now).is_err() {
            return self.counters.count("own-certificate-refused");
        }
        let old = core::mem::replace(&mut self.certificate, certificate);
        for prefix in old
            .prefixes
            .iter()
            .filter(|p| !self.certificate.prefixes.contains(p))
        {
            self.babel.withdraw(*prefix, now);
            self.snapshot.fib.remove(prefix);
        }
        for prefix in self
            .certificate
            .prefixes
            .iter()
            .filter(|p| !old.prefixes.contains(p))
        {
            self.babel.announce(*prefix, 0, now);
            self.snapshot.fib.insert(*prefix, Hop::Local);
        }
        self.snapshot.own = self.certificate.prefixes.clone();
        self.snapshot.address = self.certificate.address();
        self.snapshot_changed = true;
        self.upkeep.renewals = 0;
        self.schedule_renewal(now);
        self.check_own(now);
        self.record_changed(now);
    }

    pub(super) fn set_wall_clock(&mut self, time: UnixTime, now: Instant) {
        self.wall_clock = (time, now);
        self.schedule_renewal(now);
        self.check_expiry(now);
    }

    fn schedule_renewal(&mut self, now: Instant) {
        let wait = self.certificate.renew_at().seconds_since(self.unix_now(now));
        // A tenth of the remaining time at random, so that nodes enrolled together do not renew together.
        let jitter = Duration::from_secs(self.random.draw() % (wait / 10 + 1));
        let at = now + Duration::from_secs(wait) + jitter;
        self.timers
            .set(Timer::Renew, at.max(now + Duration::from_millis(100)));
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.request(Request::Renew);
        let wait = self.random.around(retry(self.upkeep.renewals));
        self.upkeep.renewals += 1;
        self.timers.set(Timer::Renew, now + wait);
    }

    /// Asks for members while we know too few to have neighbours.
    pub(super) fn fetch_directory(&mut self, now: Instant) {
        let dialable = self
            .directory
            .iter()
            .filter(|m| m.bundle.record.node != self.id && !m.bundle.record.endpoints.is_empty())
            .count();
        let lonely = !self.tunnels.values().any(|t| t.is_usable());
        let wait = if dialable < self.parameters.outgoing || lonely {
            self.request(Request::FetchDirectory);
            let wait = retry(self.upkeep.fetches);
            // With a neighbour, what the registry knows comes from there as well; the registry is asked again
            // in case this and another part of the network have not found each other.
            let is_served = !lonely && self.upkeep.fetches >= 1;
            self.upkeep.fetches += if is_served { SERVED_STEP } else { 1 };
            wait
        } else {
            self.upkeep.fetches = 0;
            LONGEST_RETRY
        };
        let wait = self.random.around(wait);
        self.timers.set(Timer::Directory, now + wait);
    }

    pub(super) fn registry_answered(&mut self, reachable: Result<(), String>, now: Instant) {
        let is_back = reachable.is_ok() && !matches!(self.upkeep.registry, Some(Ok(())));
        self.upkeep.registry = Some(reachable);
        if is_back && let Some(bundle) = self.record.bundle().cloned() {
            self.request(Request::Publish(bundle));
        }
        if is_back && self.upkeep.renewals > 0 {
            self.upkeep.renewals = 0;
            self.timers
                .advance(Timer::Renew, now + Duration::from_millis(100));
        }
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        Health {
            excluded: self.upkeep.excluded.clone(),
            registry: self.upkeep.registry.clone(),
            in_grace: !is_current(&self.certificate, self.unix_now(now), 0),
            clock_suspect: self.counters.get("certificate-not-yet-valid") >= SUSPICIOUS,
        }
    }
}

/// Whether time has not run out for a certificate that was verified before.
pub(super) fn is_current(certificate: &Certificate, time: UnixTime, grace: u64) -> bool {
    let delegation = certificate
        .delegation()
        .map_or(UnixTime(u64::MAX), |d| d.not_after);
    let end = certificate.not_after.min(delegation);
    time <= end.saturating_add(CLOCK_SKEW).saturating_add(grace)
}
