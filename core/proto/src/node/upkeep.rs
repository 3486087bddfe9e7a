//! Our own standing: the certificate, renewed in time and looked at again as time goes by, and what the registry is
//! asked now and then.

use super::{DownReason, Event, Health, Node, Request, membership::is_current, timers::Timer};
use crate::{
    Duration, Instant, certificate::Certificate, fib::Hop, identity::NodeId, link::ByeReason, record::Bundle,
    wallclock::UnixTime,
};
use std::collections::BTreeMap;

const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// A leaf with a neighbour asks the registry this rarely, and then for revocations too.
const LEAF_RETRY: Duration = Duration::from_secs(3600);
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

/// 2 s, doubling.
fn retry(failures: u32, longest: Duration) -> Duration {
    (FIRST_RETRY * 2u32.pow(failures.min(11))).min(longest)
}

impl Node {
    pub(super) fn start_upkeep(&mut self, now: Instant) {
        self.timers.set(Timer::Expiry, now + Duration::from_secs(1));
        self.timers.set(Timer::Directory, now + Duration::from_millis(10));
        self.schedule_renewal(now);
        self.record_changed(now);
        self.check_own(now);
    }

    /// Expired certificates count for the network's grace, in seconds, unless we could renew ours.
    pub(super) fn grace(&self) -> u64 {
        match self.upkeep.registry {
            Some(Ok(())) => 0,
            _ => self.network.grace,
        }
    }

    /// Whether we still belong ourselves.
    pub(super) fn check_own(&mut self, now: Instant) {
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
        let wait = self.random.around(retry(self.upkeep.renewals, LONGEST_RETRY));
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
        let rests = self.parameters.leaf && !lonely;
        let longest = if rests { LEAF_RETRY } else { LONGEST_RETRY };
        let wait = if dialable < self.parameters.outgoing || lonely {
            self.request(Request::FetchDirectory);
            let wait = retry(self.upkeep.fetches, longest);
            // With a neighbour, what the registry knows comes from there as well; the registry is asked again
            // in case this and another part of the network have not found each other.
            let is_served = !lonely && self.upkeep.fetches >= 1;
            self.upkeep.fetches += if is_served { SERVED_STEP } else { 1 };
            wait
        } else {
            self.upkeep.fetches = 0;
            if self.parameters.leaf {
                self.request(Request::FetchRevocations);
            }
            longest
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
