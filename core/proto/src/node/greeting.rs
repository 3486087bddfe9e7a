//! The exchange of certificates inside a fresh session: Hello until Accept, both ways.
//!
//! The nonce of a Hello lasts as long as its tunnel, so a Hello with another nonce on an open tunnel means that
//! the peer has started anew: what we knew of the link is void and the exchange begins again.

use super::{
    DownReason, Event, Node,
    doze::Doze,
    timers::Timer,
    tunnel::{Greeting, Phase, Rtt},
    tunnels::interface,
};
use crate::{
    Duration, Instant,
    certificate::{Certificate, CertificateError},
    link::{self, ByeReason, Message},
    mesh::path_mtu::{LINK_SIZES, PathMtu},
    relay::RelayKey,
    snapshot::MIN_MTU,
    tunnel::TunnelId,
};
use core::net::Ipv6Addr;

const FIRST_REPEAT: Duration = Duration::from_millis(250);
const LONGEST_REPEAT: Duration = Duration::from_secs(2);
/// A member that refused us, or has enough neighbours, is left alone for about this long.
const AVOID_REFUSED: Duration = Duration::from_secs(300);
const AVOID_FULL: Duration = Duration::from_secs(60);
const AVOID_STOPPED: Duration = Duration::from_secs(5);
/// Members told to somebody we have no room for.
const CONSOLATION: usize = 6;

impl Node {
    /// Sends our Hello, and again until the peer accepts.
    pub(super) fn say_hello(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.greeting.peer_accepted || tunnel.phase == Phase::Dialling {
            return;
        }
        let repeat = (FIRST_REPEAT * 2u32.pow(tunnel.greeting.repeats.min(4))).min(LONGEST_REPEAT);
        tunnel.greeting.repeats += 1;
        tunnel.greeting.sent_at = Some(now);
        let hello = Message::Hello {
            version: link::VERSION,
            certificate: self.certificate.encode(),
            capabilities: if self.parameters.leaf { link::LEAF } else { 0 },
            nonce: tunnel.greeting.nonce,
            relay: Some(tunnel.relay_key.key.clone()),
        };
        self.timers.set(Timer::Hello(id), now + repeat);
        self.send_link(id, &hello, now);
    }

    pub(super) fn give_up(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if tunnel.is_open() {
            return;
        }
        self.counters.count("greeting-timeout");
        if tunnel.outgoing
            && let Some(endpoint) = tunnel.handle.endpoint()
        {
            self.backoff.failed(endpoint, now);
        }
        self.close_tunnel(id, DownReason::Silent, now);
    }

    /// The peer's certificate came.
    pub(super) fn take_hello(
        &mut self,
        id: TunnelId,
        source: Ipv6Addr,
        (version, nonce): (u16, u64),
        certificate: &[u8],
        relay: Option<RelayKey>,
        now: Instant,
    ) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if tunnel.greeting.accepted == Some(nonce) {
            return self.send_link(id, &Message::Accept { nonce }, now);
        }
        if version < link::VERSION {
            return self.refuse(id, ByeReason::Version, DownReason::Refused, now);
        }
        let certificate = match self.judge(id, source, certificate, now) {
            Ok(certificate) => certificate,
            Err((bye, reason)) => return self.refuse(id, bye, reason, now),
        };
        if self.stop.is_stopping() {
            return self.refuse(id, ByeReason::Closing, DownReason::Closed, now);
        }
        self.reset_link(id, now);
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if !tunnel.outgoing && self.incoming(tunnel.leaf) >= self.parameters.incoming {
            self.counters.count("neighbour-limit");
            return self.turn_away(id, now);
        }
        // One tunnel per node: of two with different tunnel keys, the newer certificate's stays.
        if let Some(other) = self.by_peer.insert(certificate.node, id)
            && other != id
        {
            self.dismiss(other, ByeReason::Replaced, DownReason::Replaced, now);
            self.by_peer.insert(certificate.node, id);
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.certificate = Some(certificate);
        tunnel.handle.set_peer_relay_key(relay);
        tunnel.greeting.accepted = Some(nonce);
        let said_hello = tunnel
            .greeting
            .sent_at
            .is_some_and(|at| now.saturating_since(at) < FIRST_REPEAT);
        self.send_link(id, &Message::Accept { nonce }, now);
        if !said_hello {
            self.say_hello(id, now);
        }
        self.open_when_agreed(id, now);
    }

    /// Whether the certificate is good and the peer's.
    fn judge(
        &mut self,
        id: TunnelId,
        source: Ipv6Addr,
        encoded: &[u8],
        now: Instant,
    ) -> Result<Certificate, (ByeReason, DownReason)> {
        const REFUSED: (ByeReason, DownReason) = (ByeReason::Refused, DownReason::Refused);
        let Ok(certificate) = Certificate::decode(encoded) else {
            self.counters.count("certificate-malformed");
            return Err(REFUSED);
        };
        match self.verify(&certificate, now) {
            Ok(()) => {}
            Err(CertificateError::Expired(_)) => {
                self.counters.count("certificate-expired");
                return Err((ByeReason::Expired, DownReason::Expired));
            }
            Err(CertificateError::NotYetValid(_)) => {
                self.counters.count("certificate-not-yet-valid");
                return Err((ByeReason::Expired, DownReason::Expired));
            }
            Err(CertificateError::Revoked) => {
                self.counters.count("certificate-revoked");
                return Err((ByeReason::Revoked, DownReason::Revoked));
            }
            Err(_) => {
                self.counters.count("certificate-refused");
                return Err(REFUSED);
            }
        }
        let Some(tunnel) = self.tunnels.get(&id) else {
            return Err(REFUSED);
        };
        let is_peers = certificate.tunnel_key == tunnel.peer_key
            && certificate.node != self.id
            && certificate.node.link_local() == source
            && tunnel.expected.is_none_or(|node| node == certificate.node);
        if !is_peers {
            self.counters.count("certificate-of-another");
            return Err(REFUSED);
        }
        Ok(certificate)
    }

    /// The Hello came through the session, so it is the peer itself that has no good certificate.
    fn refuse(&mut self, id: TunnelId, bye: ByeReason, reason: DownReason, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        self.avoid(tunnel.expected, AVOID_REFUSED, now);
        self.dismiss(id, bye, reason, now);
    }

    /// No room: tells the peer of a few others, so that it goes there.
    fn turn_away(&mut self, id: TunnelId, now: Instant) {
        let mut others: Vec<_> = self
            .tunnels
            .values()
            .filter(|t| t.is_usable())
            .filter_map(|t| self.directory.get(&t.peer()?))
            .filter(|m| !m.bundle.record.endpoints.is_empty())
            .map(|m| m.bundle.clone())
            .collect();
        self.random.choose(&mut others, CONSOLATION);
        for message in Message::bundles(&others) {
            self.send_link(id, &message, now);
        }
        self.dismiss(id, ByeReason::Limit, DownReason::Limit, now);
    }

    /// Leaves are counted apart: they are no use to anybody as neighbours, and cost little.
    fn incoming(&self, leaves: bool) -> usize {
        self.tunnels
            .values()
            .filter(|t| t.is_open() && !t.outgoing && t.leaf == leaves)
            .count()
    }

    pub(super) fn take_accept(&mut self, id: TunnelId, nonce: u64, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if nonce == tunnel.greeting.nonce {
            tunnel.greeting.peer_accepted = true;
            self.timers.clear(Timer::Hello(id));
            self.open_when_agreed(id, now);
        }
    }

    /// The peer sends what only follows an Accept, which was lost on the way.
    pub(super) fn take_implied_accept(&mut self, id: TunnelId, now: Instant) -> bool {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return false;
        };
        if tunnel.phase == Phase::Greeting
            && tunnel.greeting.accepted.is_some()
            && tunnel.greeting.sent_at.is_some()
        {
            let nonce = tunnel.greeting.nonce;
            self.take_accept(id, nonce, now);
        }
        self.tunnels.get(&id).is_some_and(|t| t.is_open())
    }

    fn open_when_agreed(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.is_open() || !tunnel.greeting.peer_accepted || tunnel.greeting.accepted.is_none() {
            return;
        }
        let Some(certificate) = tunnel.certificate.clone() else {
            return;
        };
        self.newcomers.remove(&id);
        tunnel.phase = Phase::Open;
        tunnel.opened_at = Some(now);
        tunnel.digests = 0;
        tunnel.liveness.heard = now;
        if !tunnel.outgoing {
            self.endpoints.reached();
        }
        self.timers.clear(Timer::GiveUp(id));
        self.timers.clear(Timer::Hello(id));
        let may_relay = self.may_relay(&certificate);
        if let Some(tunnel) = self.tunnels.get(&id) {
            tunnel.handle.set_sources(may_relay, &certificate.prefixes);
            tunnel.handle.set_open(true);
        }
        self.start_routing(id, now);
        self.introduce_ourselves(id, now);
        self.start_liveness(id, now);
        self.start_path_mtu(id, now);
        self.replacement_opened(id, now);
        self.wake_up(now);
        let (node, name) = (certificate.node, certificate.name.clone());
        self.push_event(Event::NeighbourUp { node, name });
    }

    /// Back to the exchange of certificates on a tunnel that was open: the peer has restarted.
    fn reset_link(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let was_open = tunnel.is_open();
        tunnel.phase = Phase::Greeting;
        let nonce = tunnel.greeting.nonce;
        let (sent_at, peer_accepted) = if was_open {
            (None, false)
        } else {
            (tunnel.greeting.sent_at, tunnel.greeting.peer_accepted)
        };
        tunnel.greeting = Greeting {
            sent_at,
            peer_accepted,
            ..Greeting::new(nonce)
        };
        if !was_open {
            return;
        }
        tunnel.handle.set_open(false);
        tunnel.rtt = Rtt::default();
        tunnel.mtu = PathMtu::new(LINK_SIZES);
        tunnel.handle.set_mtu(MIN_MTU);
        tunnel.liveness.usable = true;
        tunnel.liveness.dead_since = None;
        tunnel.doze = Doze::default();
        tunnel.closing = false;
        let down = tunnel.certificate.take();
        self.renew_relay_key(id, now);
        self.timers.clear_tunnel(id);
        self.waiting.forget_tunnel(id);
        self.timers
            .set(Timer::GiveUp(id), now + super::handshake::GREETING_TIME);
        self.babel.remove_interface(interface(id), now);
        if let Some(certificate) = down {
            let (node, name) = (certificate.node, certificate.name.clone());
            let reason = DownReason::Restarted;
            self.push_event(Event::NeighbourDown { node, name, reason });
        }
    }

    pub(super) fn take_bye(&mut self, id: TunnelId, bye: ByeReason, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let peer = tunnel.peer().or(tunnel.expected);
        let is_lonely = !self.tunnels.values().any(|t| t.is_usable());
        let (reason, avoid) = match bye {
            ByeReason::Closing => (DownReason::Closed, AVOID_STOPPED),
            ByeReason::Replaced => (DownReason::Replaced, AVOID_FULL),
            ByeReason::Limit if is_lonely => (DownReason::Limit, AVOID_STOPPED),
            ByeReason::Limit => (DownReason::Limit, AVOID_FULL),
            ByeReason::Revoked => (DownReason::Revoked, AVOID_REFUSED),
            ByeReason::Expired => (DownReason::Expired, AVOID_REFUSED),
            ByeReason::Refused | ByeReason::Version | ByeReason::Other(_) => {
                (DownReason::Refused, AVOID_REFUSED)
            }
        };
        self.avoid(peer, avoid, now);
        self.close_tunnel(id, reason, now);
    }

    /// Does not dial the member for about this long.
    fn avoid(&mut self, peer: Option<crate::identity::NodeId>, time: Duration, now: Instant) {
        let until = now + self.random.around(time);
        if let Some(member) = peer.and_then(|node| self.directory.get_mut(&node)) {
            member.avoid_until = member.avoid_until.max(until);
        }
    }
}
