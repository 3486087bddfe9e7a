//! Handshakes: dialling members at all their endpoints, and answering those who dial us.

use super::{
    DownReason, Node,
    timers::Timer,
    tunnel::{Dial, Phase},
};
use crate::{
    Duration, Instant,
    identity::NodeId,
    tunnel::{Opened, TunnelId},
};
use core::net::SocketAddr;
use std::sync::Arc;

/// Pause between two endpoints of one peer.
const STAGGER: Duration = Duration::from_millis(100);
/// How long the first round waits for an answer; each later one half as long again.
const ROUND: Duration = Duration::from_millis(400);
const LONGEST_ROUND: Duration = Duration::from_secs(16);
/// Rounds of a new tunnel; one that has been open is redialled until it is given up.
const ROUNDS: u32 = 6;
/// How long the ends of a tunnel have to accept each other.
pub(super) const GREETING_TIME: Duration = Duration::from_secs(10);
/// Tunnels at a time with strangers who have not shown a certificate, and with whom may be members; more where more
/// neighbours are accepted.
const MAX_STRANGERS: usize = 64;
const MAX_UNGREETED: usize = 256;
/// How long such a tunnel keeps its place when others want it: a round trip until the peer uses its new keys, and
/// some more to exchange certificates.
const TO_PROVE: Duration = Duration::from_millis(500);
const TO_GREET: Duration = Duration::from_secs(3);

impl Node {
    pub(super) fn dial(
        &mut self,
        peer: NodeId,
        endpoints: Vec<SocketAddr>,
        now: Instant,
    ) -> Option<TunnelId> {
        let key = self.directory.get(&peer)?.bundle.certificate.tunnel_key;
        let id = self.add_tunnel(key, Phase::Dialling, None, now)?;
        self.tunnels.get_mut(&id)?.expected = Some(peer);
        self.begin_dial(id, endpoints, now);
        Some(id)
    }

    pub(super) fn begin_dial(&mut self, id: TunnelId, endpoints: Vec<SocketAddr>, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if endpoints.is_empty() || tunnel.dial.is_some() {
            return;
        }
        tunnel.dial = Some(Dial {
            endpoints,
            next: 0,
            round: 0,
            initiation: Vec::new(),
        });
        self.step_dial(id, now);
    }

    /// Sends the round's initiation to the next endpoint, or begins another round.
    pub(super) fn step_dial(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let Some(dial) = &mut tunnel.dial else { return };
        if dial.next >= dial.endpoints.len() {
            dial.next = 0;
            dial.round += 1;
            if tunnel.phase == Phase::Dialling && dial.round >= ROUNDS {
                for endpoint in core::mem::take(&mut dial.endpoints) {
                    self.backoff.failed(endpoint, now);
                }
                self.counters.count("dial-unanswered");
                if let Some(peer) = tunnel.expected {
                    self.evidence.dialled_in_vain(peer);
                }
                self.close_tunnel(id, DownReason::Silent, now);
                return;
            }
        }
        if dial.next == 0 {
            match tunnel.handle.session().initiate(now, &mut self.scratch) {
                Some(initiation) => dial.initiation = initiation.to_vec(),
                None => dial.initiation.clear(),
            }
        }
        // `next` is below the length, which is not 0: `begin_dial` and the lines above see to it.
        let (remote, initiation) = (dial.endpoints[dial.next], dial.initiation.clone());
        dial.next += 1;
        let pause = if dial.next < dial.endpoints.len() {
            STAGGER
        } else {
            (ROUND * 3u32.pow(dial.round.min(10)) / 2u32.pow(dial.round.min(10))).min(LONGEST_ROUND)
        };
        self.timers.set(Timer::Dialling(id), now + pause);
        if !initiation.is_empty() {
            self.transmit(remote, initiation);
        }
    }

    /// Somebody begins a handshake.
    pub(super) fn accept_initiation(&mut self, remote: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(key) = self.factory.identify_initiation(datagram) else {
            return self.counters.count("handshake-rejected");
        };
        let known = self.by_key.get(&key).copied();
        if known.is_none() && self.stop.is_stopping() || key == self.certificate.tunnel_key {
            return self.counters.count("handshake-refused");
        }
        let id = match known {
            Some(id) => id,
            None => {
                let is_member = self.directory.by_tunnel_key(&key).is_some();
                if !self.make_room_for_newcomer(is_member, now) {
                    return self.counters.count("handshake-limit");
                }
                let Some(id) = self.add_tunnel(key, Phase::Greeting, Some(remote), now) else {
                    return self.counters.count("handshake-limit");
                };
                self.newcomers.insert(id, is_member);
                self.timers.set(Timer::GiveUp(id), now + GREETING_TIME);
                id
            }
        };
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let handle = Arc::clone(&tunnel.handle);
        match handle.session().open(now, remote, datagram, &mut self.scratch) {
            Opened::Reply(reply) => {
                let reply = reply.to_vec();
                self.transmit(remote, reply);
                if let Some(tunnel) = self.tunnels.get_mut(&id) {
                    tunnel.doze.answered = Some(now);
                }
            }
            Opened::Packet(_) | Opened::Nothing => {}
            Opened::Rejected => {
                self.counters.count("handshake-rejected");
                if known.is_none() {
                    self.close_tunnel(id, DownReason::Refused, now);
                }
            }
        }
    }

    /// Of strangers and of those who may be members, each kind has its places, so that neither keeps the other out.
    /// When they are used up, the oldest goes that has not yet sent anything by its new keys, as a replayed or
    /// invented initiation never does: else whoever fills the places faster than they expire would keep all others
    /// out. One that has had no time for it yet stays, and the newcomer has to try again.
    fn make_room_for_newcomer(&mut self, is_member: bool, now: Instant) -> bool {
        let places = if is_member {
            MAX_UNGREETED.max(self.parameters.incoming)
        } else {
            MAX_STRANGERS.max(self.parameters.incoming / 4)
        };
        let same_kind = || self.newcomers.iter().filter(|(_, member)| **member == is_member);
        if same_kind().count() < places {
            return true;
        }
        let standing = |id: &TunnelId| {
            let tunnel = self.tunnels.get(id)?;
            let is_proven = tunnel.handle.last_received().is_some();
            Some((is_proven, *id, now.saturating_since(tunnel.created)))
        };
        match same_kind().filter_map(|(id, _)| standing(id)).min() {
            Some((is_proven, oldest, age)) if age >= if is_proven { TO_GREET } else { TO_PROVE } => {
                self.counters.count("handshake-displaced");
                self.close_tunnel(oldest, DownReason::Limit, now);
                true
            }
            _ => false,
        }
    }

    /// An answer (or a cookie) to a handshake of ours.
    pub(super) fn accept_response(&mut self, remote: SocketAddr, index: u32, datagram: &[u8], now: Instant) {
        let Some(handle) = self.snapshot.receivers.get(&index).cloned() else {
            return self.counters.count("datagram-unknown-receiver");
        };
        match handle.session().open(now, remote, datagram, &mut self.scratch) {
            Opened::Reply(reply) => {
                let reply = reply.to_vec();
                self.transmit(remote, reply);
            }
            Opened::Packet(_) | Opened::Nothing => return,
            Opened::Rejected => return self.counters.count("handshake-rejected"),
        }
        handle.set_endpoint(Some(remote));
        while let Some(datagram) = handle.session().flush(now, &mut self.scratch) {
            let datagram = datagram.to_vec();
            self.transmit(remote, datagram);
        }
        self.backoff.succeeded(&remote);
        self.keys_agreed(handle.id(), now);
    }

    /// We began a handshake and the peer answered.
    fn keys_agreed(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.liveness.heard = now;
        tunnel.dial = None;
        self.timers.clear(Timer::Dialling(id));
        self.evidence.hear(now);
        match tunnel.phase {
            Phase::Dialling => {
                tunnel.phase = Phase::Greeting;
                self.timers.set(Timer::GiveUp(id), now + GREETING_TIME);
                self.say_hello(id, now);
            }
            Phase::Greeting => {}
            Phase::Open => {
                if let Some(peer) = tunnel.peer() {
                    self.evidence.verify(peer, super::Proof::Handshake, now);
                }
                self.revive(id, now);
            }
        }
    }

    /// The data plane opened something on the tunnel for the first time, or the first time since we asked.
    pub(super) fn heard(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.dial = None;
        self.timers.clear(Timer::Dialling(id));
        self.evidence.hear(now);
        match tunnel.phase {
            Phase::Dialling => {
                tunnel.phase = Phase::Greeting;
                self.timers.set(Timer::GiveUp(id), now + GREETING_TIME);
                self.say_hello(id, now);
            }
            Phase::Greeting if tunnel.greeting.sent_at.is_none() => self.say_hello(id, now),
            Phase::Greeting => {}
            Phase::Open => {
                self.revive(id, now);
                self.answer_beat(id, now);
            }
        }
    }

    /// The peer sends from another address now.
    pub(super) fn moved(&mut self, id: TunnelId, address: SocketAddr, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        self.backoff.succeeded(&address);
        if tunnel.is_open() {
            self.send_link(id, &crate::link::Message::Observed(address), now);
            self.recheck_path_mtu(id, crate::mesh::path_mtu::Reason::Changed, now);
        }
    }
}
