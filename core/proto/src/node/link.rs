//! Messages of the link protocol: who may send what when, and to which part of the node they go.

use super::{Node, timers::Timer, tunnel::Phase};
use crate::{
    Instant, RouterId,
    link::{LEAF, LinkCounters, MAX_REQUESTED, Message},
    mesh::gossip::GATHER,
    tunnel::TunnelId,
};
use core::net::Ipv6Addr;

/// Bundles that somebody we dialled may tell us before accepting (it has no room for us).
const EARLY_BUNDLES: u32 = 8;

impl Node {
    pub(super) fn handle_link_packet(
        &mut self,
        id: TunnelId,
        source: Ipv6Addr,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.phase == Phase::Dialling {
            // It came through the session, so there are keys: the report of that is still on its way.
            self.heard(id, now);
        }
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(_) => return self.counters.count("link-malformed"),
        };
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        match message {
            Message::Hello {
                version,
                certificate,
                capabilities,
                nonce,
                relay,
            } => {
                tunnel.leaf = capabilities & LEAF != 0;
                return self.take_hello(id, source, (version, nonce), &certificate, relay, now);
            }
            Message::Accept { nonce } => return self.take_accept(id, nonce, now),
            Message::Bye(reason) => return self.take_bye(id, reason, now),
            Message::Bundles(bundles) if !tunnel.is_open() && tunnel.outgoing => {
                for bundle in bundles {
                    let Some(tunnel) = self.tunnels.get_mut(&id) else {
                        return;
                    };
                    tunnel.early_bundles += 1;
                    if tunnel.early_bundles <= EARLY_BUNDLES {
                        self.learn(bundle, None, now);
                    }
                }
                return;
            }
            _ => {}
        }
        if tunnel.peer_link_local().is_some_and(|peer| peer != source) {
            return self.counters.count("link-wrong-source");
        }
        if !self.take_implied_accept(id, now) {
            // The peer thinks us further than we are (we restarted): our Hello tells it.
            if let Some(tunnel) = self.tunnels.get(&id)
                && tunnel.greeting.sent_at.is_none()
            {
                self.say_hello(id, now);
            }
            return self.counters.count("link-unauthenticated");
        }
        self.handle_member_message(id, message, now);
    }

    /// From a neighbour whose certificate we accepted.
    fn handle_member_message(&mut self, id: TunnelId, message: Message, now: Instant) {
        match message {
            Message::Observed(address) => {
                if let Some(peer) = self.tunnels.get(&id).and_then(|t| t.peer()) {
                    self.endpoints.observe(peer, address, now);
                    self.record_changed(now);
                }
            }
            Message::Bundles(bundles) => {
                for bundle in bundles {
                    self.learn(bundle, Some(id), now);
                }
            }
            Message::CertificateRequest(router_ids) | Message::BundleRequest(router_ids) => {
                self.answer_request(id, &router_ids, now);
            }
            Message::Revocations(part) => {
                let newest = self.revocations.as_ref().map_or(0, |list| list.number);
                let Some(tunnel) = self.tunnels.get_mut(&id) else {
                    return;
                };
                if part.number > newest
                    && let Some(list) = tunnel.reassembly.add(part)
                {
                    self.merge_revocations(list, Some(id), now);
                }
            }
            Message::Digest {
                members,
                hash,
                revocations,
            } => self.take_digest(id, (members, &hash), revocations, now),
            Message::Summary { entries, .. } => self.take_summary(id, &entries, now),
            Message::Echo { nonce, sent_at, .. } => {
                let counters = self.link_counters(id);
                let reply = Message::EchoReply {
                    nonce,
                    sent_at,
                    counters,
                };
                self.send_link(id, &reply, now);
            }
            Message::EchoReply { nonce, counters, .. } => {
                self.take_echo_reply(id, nonce, counters, now);
            }
            Message::MtuProbe { nonce, size } => self.send_link(id, &Message::MtuAck { nonce, size }, now),
            Message::MtuAck { nonce, size } => self.take_mtu_ack(id, nonce, size, now),
            Message::Silent(router_id) => self.heed_rumour(id, &router_id, now),
            Message::RelayKey(key) => self.take_relay_key(id, key, now),
            Message::RelayKeyTaken(receiver) => self.relay_key_taken(id, receiver, now),
            Message::Doze { interval } => self.take_doze(id, interval, now),
            Message::DozeTaken => self.take_doze_taken(id, now),
            Message::Unknown(_) => self.counters.count("link-unknown-message"),
            Message::Hello { .. } | Message::Accept { .. } | Message::Bye(_) => {}
        }
    }

    pub(super) fn link_counters(&self, id: TunnelId) -> LinkCounters {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return LinkCounters::default();
        };
        let packets =
            |t: crate::snapshot::TrafficByClass| t.own.packets + t.transit.packets + t.control.packets;
        LinkCounters {
            sent: packets(tunnel.handle.sent()),
            received: packets(tunnel.handle.received()),
        }
    }

    /// Puts the bundles asked for into the neighbour's outbox.
    fn answer_request(&mut self, id: TunnelId, router_ids: &[RouterId], now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        for router_id in router_ids.iter().take(MAX_REQUESTED) {
            if let Some(member) = self.directory.by_router_id(router_id) {
                tunnel.outbox.push(member.bundle.record.node);
            }
        }
        if !tunnel.outbox.is_empty() {
            self.timers.advance(Timer::Gossip(id), now + GATHER);
        }
    }
}
