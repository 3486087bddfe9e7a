//! From a packet to what it changes.

use super::Speaker;
use crate::neighbour::Continuity;
use crate::output::{ACK_DELAY, MAX_WAITING};
use crate::seqno::Seqno;
use crate::wire::{self, Centis, Echo, Tlv};
use crate::{Authority, Duration, Instant, InterfaceId, RouteKey, entry::Key};
use core::net::{IpAddr, Ipv6Addr};

/// A new neighbour's first Hellos are each answered by an IHU: one of those may get lost.
const FRESH: u8 = 8;

impl Speaker {
    pub(super) fn receive(
        &mut self,
        id: InterfaceId,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        payload: &[u8],
        authority: &mut dyn Authority,
        now: Instant,
    ) {
        self.counters.packets_received += 1;
        self.counters.octets_received += payload.len() as u64;
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        // Our own multicast, looped back.
        if src == interface.config.link_local {
            return;
        }
        if !self.is_authentic(id, src, dst, payload, now) {
            return;
        }
        let Ok(tlvs) = wire::parse(payload, src) else {
            self.counters.malformed_packets += 1;
            return;
        };
        let (mut sent, mut echo, mut met) = (None, None, false);
        for tlv in tlvs {
            let Ok(tlv) = tlv else {
                self.counters.ignored_tlvs += 1;
                continue;
            };
            // The first good TLV makes a neighbour; what is all bad does not.
            if !met {
                if !self.meet_neighbour(id, src, now) {
                    return;
                }
                if let Some(neighbour) = self.neighbour_mut(id, src) {
                    neighbour.last_heard = Some(now);
                }
                met = true;
            }
            match tlv {
                Tlv::Hello {
                    unicast,
                    seqno,
                    interval,
                    timestamp,
                } => {
                    sent = timestamp.or(sent);
                    self.hello(id, src, unicast, Seqno(seqno), interval.duration(), now);
                }
                Tlv::Ihu {
                    address,
                    rx_cost,
                    interval,
                    timestamps,
                } => {
                    if self.is_for_us(id, address, dst) {
                        echo = timestamps.or(echo);
                        self.ihu(id, src, rx_cost, interval.duration(), now);
                    }
                }
                Tlv::AckRequest { opaque, interval } => self.ack_request(id, src, opaque, interval, now),
                Tlv::Ack { opaque } => self.acknowledged(id, src, opaque, now),
                Tlv::Update(update) => self.update((id, src), &update, authority, now),
                Tlv::RouteRequest { prefix: None, .. } => self.dump_to(id, src, now),
                Tlv::RouteRequest {
                    prefix: Some(prefix),
                    source,
                } => {
                    if let Some(key) = Key::new(RouteKey { prefix, source }) {
                        let at = self.urgent(now);
                        self.answer((id, src), key, at);
                    }
                }
                Tlv::SeqnoRequest(request) => self.seqno_request((id, src), &request, now),
            }
        }
        if let Some(sent) = sent {
            self.timestamped(id, src, sent, echo, now);
        }
    }

    /// A packet said when it was sent, and perhaps how long our own Hello took (RFC 9616 section 3.2).
    fn timestamped(&mut self, id: InterfaceId, src: Ipv6Addr, sent: u32, echo: Option<Echo>, now: Instant) {
        let ours = self.timestamp(now);
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let (Some(config), Some(neighbour)) = (interface.config.rtt, interface.neighbours.get_mut(&src))
        else {
            return;
        };
        if neighbour.rtt.heard(sent, echo, ours, &config) {
            self.recost(id, src, now);
        }
    }

    fn hello(
        &mut self,
        id: InterfaceId,
        src: Ipv6Addr,
        unicast: bool,
        seqno: Seqno,
        interval: Duration,
        now: Instant,
    ) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let assumed = interface.config.hello_interval;
        let Some(neighbour) = interface.neighbours.get_mut(&src) else {
            return;
        };
        let first = neighbour.heard_no_hello();
        let history = if unicast {
            &mut neighbour.unicast
        } else {
            &mut neighbour.multicast
        };
        if history.heard(seqno, interval, assumed, now) == Continuity::Restarted {
            // It lost all it knew, ours included: meet again from the start.
            self.drop_neighbour(id, src, now);
            if self.meet_neighbour(id, src, now) {
                self.hello(id, src, unicast, seqno, interval, now);
            }
            return;
        }
        let fresh = history.slots() <= FRESH;
        if let Some(neighbour) = self.neighbour_mut(id, src) {
            neighbour.last_heard = Some(now);
        }
        self.arm_neighbour(id, src);
        if first {
            let at = self.urgent(now);
            self.hello_by(id, at);
        }
        if fresh {
            self.ihu_soon(id, src, now);
        }
        self.recost(id, src, now);
    }

    /// An IHU is for us when it bears our address, or none and could reach nobody else.
    fn is_for_us(&self, id: InterfaceId, address: Option<IpAddr>, dst: Ipv6Addr) -> bool {
        let Some(config) = self.interfaces.get(&id).map(|interface| &interface.config) else {
            return false;
        };
        match address {
            None => config.point_to_point || !dst.is_multicast(),
            Some(IpAddr::V6(address)) => address == config.link_local,
            Some(IpAddr::V4(address)) => Some(address) == config.ipv4,
        }
    }

    fn ihu(&mut self, id: InterfaceId, src: Ipv6Addr, cost: u16, interval: Duration, now: Instant) {
        if let Some(neighbour) = self.neighbour_mut(id, src) {
            neighbour.ihu(cost, interval, now);
            self.arm_neighbour(id, src);
            self.recost(id, src, now);
        }
    }

    fn ack_request(&mut self, id: InterfaceId, src: Ipv6Addr, opaque: u16, interval: Centis, now: Instant) {
        // Well before the interval is over (RFC 8966 section 3.3). Where there are only two, what we have to say
        // meanwhile shares the packet.
        let is_alone = self
            .interfaces
            .get(&id)
            .is_some_and(|i| i.only_neighbour().is_some());
        let half = now + interval.duration() / 2;
        let at = if is_alone {
            half.min(now + ACK_DELAY)
        } else {
            self.urgent(now).min(half)
        };
        let mut full = false;
        self.enqueue(id, Some(src), at, |queue| {
            full = queue.acks.len() >= MAX_WAITING;
            if !full {
                queue.acks.insert(opaque);
            }
        });
        self.counters.limit_drops += u64::from(full);
    }
}
