//! Who belongs: certificates, bundles of other members, revocations, expiry.

use super::{DownReason, Event, Node, Request, timers::Timer};
use crate::{
    Duration, Instant,
    certificate::{Certificate, CertificateError},
    identity::NodeId,
    link::{ByeReason, Message},
    mesh::directory::Learnt,
    record::Bundle,
    revocation::RevocationList,
    tunnel::TunnelId,
    wallclock::{CLOCK_SKEW, UnixTime},
};

const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
const DORMANT: usize = 4096;
/// Nobody's clock is that wrong for that long.
const FORGET_EXPIRED: u64 = 90 * 86_400;

impl Node {
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
        self.adopt_record(&node);
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

    /// A neighbour says whether it is a leaf.
    fn adopt_record(&mut self, node: &NodeId) {
        if let Some(member) = self.directory.get(node)
            && let Some(id) = self.by_peer.get(node)
            && let Some(tunnel) = self.tunnels.get_mut(id)
        {
            tunnel.leaf = member.bundle.record.leaf;
        }
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

    pub(super) fn send_revocations(&mut self, id: TunnelId, now: Instant) {
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
}

/// Whether time has not run out for a certificate that was verified before.
pub(super) fn is_current(certificate: &Certificate, time: UnixTime, grace: u64) -> bool {
    let delegation = certificate
        .delegation()
        .map_or(UnixTime(u64::MAX), |d| d.not_after);
    let end = certificate.not_after.min(delegation);
    time <= end.saturating_add(CLOCK_SKEW).saturating_add(grace)
}
