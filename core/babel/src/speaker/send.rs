//! From what waits to packets.
//!
//! Updates are read from the table at the moment they leave. That moment is also when the source table learns
//! of them (RFC 8966 section 3.7.3) and when the interface counts as told.

use super::Speaker;
use super::announce::{Announcement, next_hop};
use super::routes::longest_interval;
use super::writer::Writer;
use crate::entry::{Key, Selection};
use crate::output::{
    ACK_INTERVAL, ACK_WAIT, DUMP_PAUSE, DUMP_PORTION, Dump, IDLE, MAX_ACKERS, Queue, Unacked,
};
use crate::seqno::Seqno;
use crate::source::Source;
use crate::table::Alarm;
use crate::timer::Timer;
use crate::wire::{self, Builder};
use crate::{Duration, INFINITY, Instant, InterfaceConfig, InterfaceId, RouteKey};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

/// Sources are remembered this long after the last update sent, or for longer when updates are rarer
/// (RFC 8966 appendix B): no neighbour may still believe an update that we forgot.
const SOURCE_LIFETIME: Duration = Duration::from_secs(180);
/// Copies of an update on a link with too many members to ask for acknowledgments.
const BLIND_COPIES: u8 = 2;
/// What is due this soon leaves with what is due now.
const NEAR: Duration = Duration::from_millis(30);
/// Octets of an IHU with a whole address and timestamps.
const LONGEST_IHU: usize = 34;

impl Speaker {
    pub(super) fn send_wildcard_retractions(&mut self, now: Instant) {
        let mut packets = Vec::new();
        for (id, interface) in &mut self.interfaces {
            interface.output.queues.clear();
            interface.output.unacked.clear();
            let mut builder = Builder::new(interface.packet_limit(), interface.config.link_local);
            builder.update(&wire::Update {
                prefix: None,
                source: None,
                interval: interface.update_interval(),
                seqno: self.seqno.0,
                metric: INFINITY,
                router_id: Some(self.config.router_id),
                next_hop: None,
            });
            packets.push((*id, builder.finish()));
        }
        for (id, payload) in packets {
            self.transmit(id, None, payload, now);
        }
    }

    /// Sends what is due on an interface.
    pub(super) fn flush(&mut self, id: InterfaceId, now: Instant) {
        self.answer_for_sleeper(id, now);
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        if let Some(address) = interface.only_neighbour() {
            self.join_queues(id, address, now);
        }
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let queues = &interface.output.queues;
        let due = queues
            .iter()
            .filter(|(_, queue)| queue.due.is_some_and(|due| due <= now));
        let due: Vec<Option<Ipv6Addr>> = due.map(|(destination, _)| *destination).collect();
        for destination in due {
            self.flush_queue(id, destination, now);
        }
        if let Some(interface) = self.interfaces.get(&id) {
            self.timers.set(Timer::Flush(id), interface.output.next_due());
            self.timers.set(Timer::Resend(id), interface.output.next_resend());
        }
    }

    /// With one neighbour on a link what is for it and what is for all shares packets: by unicast, as
    /// acknowledgments and seqno requests must, unless a Hello is among it.
    fn join_queues(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let queues = &mut interface.output.queues;
        let is_due = |queue: Option<&Queue>, by| queue.and_then(|q| q.due).is_some_and(|due| due <= by);
        let (to_all, to_one) = (queues.get(&None), queues.get(&Some(address)));
        let joins = is_due(to_all, now) || (is_due(to_one, now) && is_due(to_all, now + NEAR));
        if !joins {
            return;
        }
        let hello = to_all.is_some_and(|q| q.hello || (interface.config.rtt.is_some() && !q.ihus.is_empty()));
        let (from, to) = if hello {
            (Some(address), None)
        } else {
            (None, Some(address))
        };
        let Some(mut rest) = queues.remove(&from) else {
            return;
        };
        if hello {
            let kept = Queue {
                due: rest.due,
                acks: core::mem::take(&mut rest.acks),
                seqno_requests: core::mem::take(&mut rest.seqno_requests),
                ..Queue::default()
            };
            if !kept.acks.is_empty() || !kept.seqno_requests.is_empty() {
                queues.insert(from, kept);
            }
        }
        let joined = interface.output.queue(to);
        joined.join(rest);
        if !hello {
            joined.due_by(now);
        }
    }

    fn flush_queue(&mut self, id: InterfaceId, destination: Option<Ipv6Addr>, now: Instant) {
        let (reserved, timestamp) = (self.authentication_overhead(id), self.timestamp(now));
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let mut queue = interface.output.queues.remove(&destination).unwrap_or_default();
        let limit = interface.packet_limit().saturating_sub(reserved);
        let mut writer = Writer::new(limit, interface.config.link_local);

        if queue.hello && (interface.config.point_to_point || interface.ihu_due()) {
            queue.ihus.extend(interface.neighbours.keys().copied());
        }
        // An IHU that sends timestamps back shares its packet with a Hello (RFC 9616 section 3.2).
        let stamped = interface.config.rtt.map(|_| timestamp);
        let has_echo = |id: &Ipv6Addr| {
            interface
                .neighbours
                .get(id)
                .is_some_and(|n| n.rtt.echo().is_some())
        };
        queue.hello |= stamped.is_some() && queue.ihus.iter().any(has_echo);
        if queue.hello {
            let (seqno, interval) = (interface.hello_seqno, interface.hello_interval());
            writer.put(|builder| builder.timestamped_hello(false, seqno.0, interval, stamped));
            interface.hello_seqno = seqno.next();
            let wait = interface.hello_wait();
            self.timers
                .set(Timer::Hello(id), Some(now + self.rng.shortened(wait)));
        }
        let interval = interface.ihu_interval();
        let mut crowded = BTreeSet::new();
        for address in &queue.ihus {
            if let Some(neighbour) = interface
                .neighbours
                .get_mut(address)
                .filter(|n| !n.heard_no_hello())
            {
                let echo = neighbour.rtt.echo().filter(|_| stamped.is_some());
                if echo.is_some() && writer.room() < LONGEST_IHU {
                    crowded.insert(*address);
                    continue;
                }
                neighbour.rx_cost_told = Some(neighbour.rx_cost);
                let (address, rx_cost) = (IpAddr::V6(*address), neighbour.rx_cost);
                writer.put(|builder| builder.timestamped_ihu(Some(address), rx_cost, interval, echo));
            }
        }
        queue
            .acks
            .iter()
            .for_each(|opaque| writer.put(|builder| builder.ack(*opaque)));
        for key in &queue.route_requests {
            writer.put(|builder| builder.route_request(key.map(RouteKey::from)));
        }
        for ((key, router_id), (seqno, hop_count)) in &queue.seqno_requests {
            let router_id = *router_id;
            let request = wire::SeqnoRequest {
                prefix: key.prefix,
                source: key.source,
                seqno: seqno.0,
                hop_count: *hop_count,
                router_id,
            };
            writer.put(|builder| builder.seqno_request(&request));
        }
        self.write_updates(id, destination, &mut queue, &mut writer, now);

        // What found no room in this portion follows at once.
        if !queue.updates.is_empty() || queue.dump.is_some() || !crowded.is_empty() {
            let rest = Queue {
                ihus: crowded,
                updates: queue.updates,
                dump: queue.dump,
                ..Queue::default()
            };
            if let Some(interface) = self.interfaces.get_mut(&id) {
                let waiting = interface.output.queue(destination);
                waiting.join(rest);
                waiting.due_by(now + DUMP_PAUSE);
            }
        }
        for payload in writer.finish() {
            self.transmit(id, destination, payload, now);
        }
    }

    /// Takes a portion of updates from the queue and writes them, grouped by origin.
    fn write_updates(
        &mut self,
        id: InterfaceId,
        destination: Option<Ipv6Addr>,
        queue: &mut Queue,
        writer: &mut Writer,
        now: Instant,
    ) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        // Nobody is there to hear: the first neighbour will get the whole table.
        if interface.config.point_to_point && interface.neighbours.is_empty() {
            queue.updates.clear();
            queue.idle.clear();
            queue.dump = None;
        }
        let triggered = !queue.updates.is_empty();
        let reliable_dump = queue.dump.is_some_and(|dump| dump.reliable);
        // What nobody waits for is acknowledged with what somebody does; alone it is sent twice instead.
        let idle = core::mem::take(&mut queue.idle);
        let all_idle = !triggered && !reliable_dump;
        queue.updates.extend(idle.keys().map(|key| (*key, 0)));
        if all_idle {
            self.repeat_idle(id, destination, &idle, now);
        }
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let (portion, copies) = self.portion(id, &interface.config, queue);
        if portion.is_empty() {
            return;
        }
        let listeners: BTreeSet<Ipv6Addr> = match destination {
            Some(address) => [address].into(),
            // What was for the one neighbour may leave as for all, and it need not be up.
            None => match interface.only_neighbour() {
                Some(address) => [address].into(),
                None => interface.neighbours_up().collect(),
            },
        };
        let confirm = triggered || reliable_dump;
        let ask = confirm && (1..=MAX_ACKERS).contains(&listeners.len());
        let repeat = triggered && listeners.len() > MAX_ACKERS && copies + 1 < BLIND_COPIES;

        let lifetime = SOURCE_LIFETIME.max(longest_interval(&self.interfaces) * 4);
        let interval = interface.update_interval();
        let (ack_interval, ack_wait) = if interface.config.point_to_point {
            (ACK_INTERVAL * 2, ACK_WAIT * 2)
        } else {
            (ACK_INTERVAL, ACK_WAIT)
        };
        let own = self.config.router_id;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let mut packets: Vec<(u16, Vec<(Key, bool)>)> = Vec::new();
        for (announcement, key) in portion {
            let update = wire::Update {
                prefix: Some(key.prefix),
                source: key.source,
                interval,
                seqno: announcement.map_or(self.seqno.0, |a| a.seqno),
                metric: announcement.map_or(INFINITY, |a| a.metric),
                router_id: Some(announcement.map_or(own, |a| a.router_id)),
                next_hop: next_hop(&key.prefix, &interface.config),
            };
            let opaque = writer.update(&update, ask.then_some(ack_interval), &mut interface.output);
            if packets.last().is_none_or(|(last, _)| Some(*last) != opaque) {
                packets.push((opaque.unwrap_or_default(), Vec::new()));
            }
            if let Some((_, keys)) = packets.last_mut() {
                keys.push((key, announcement.is_none()));
            }
            let Some(slot) = self.table.slot(&key) else {
                continue;
            };
            let Some(entry) = self.table.at_mut(slot) else {
                continue;
            };
            entry.set_told(id, announcement.map(|a| (a.router_id, a.metric)));
            if let Some(a) = announcement.filter(|a| a.router_id != own) {
                let (seqno, expires) = (Seqno(a.seqno), now + lifetime);
                let new = Source {
                    seqno,
                    metric: a.metric,
                    expires,
                };
                match entry.sources.get_mut(&a.router_id) {
                    Some(known) => known.announced(seqno, a.metric, expires),
                    None => {
                        entry.sources.insert(a.router_id, new);
                    }
                }
                self.table.ring_by(slot, Alarm::Expiry, expires);
            }
        }
        if ask || repeat {
            let resend_at = now + ack_wait * 3u32.pow(copies.into()) / 2u32.pow(copies.into());
            let awaiting = if ask { listeners } else { BTreeSet::new() };
            for (opaque, keys) in packets {
                let opaque = if ask { opaque } else { interface.output.opaque() };
                let awaiting = awaiting.clone();
                let unacked = Unacked {
                    keys,
                    sent_at: now,
                    awaiting,
                    copies: copies + 1,
                    resend_at,
                };
                interface.output.unacked.insert(opaque, unacked);
            }
        }
    }

    /// What nobody waits for and nobody was asked to acknowledge goes out once more.
    fn repeat_idle(
        &mut self,
        id: InterfaceId,
        destination: Option<Ipv6Addr>,
        sent: &BTreeMap<Key, u8>,
        now: Instant,
    ) {
        let again: Vec<Key> = sent
            .iter()
            .filter(|(_, copies)| **copies + 1 < BLIND_COPIES)
            .map(|(key, _)| *key)
            .collect();
        if !again.is_empty() {
            self.enqueue(id, destination, now + IDLE, |queue| {
                queue.idle.extend(again.into_iter().map(|key| (key, 1)));
            });
        }
    }

    /// The next updates to send, sorted for compression, and how many copies of them were sent before.
    fn portion(
        &self,
        id: InterfaceId,
        config: &InterfaceConfig,
        queue: &mut Queue,
    ) -> (Vec<(Option<Announcement>, Key)>, u8) {
        let mut portion = Vec::new();
        let mut copies = 0;
        while portion.len() < DUMP_PORTION {
            let Some((key, sent)) = queue.updates.pop_first() else {
                break;
            };
            copies = copies.max(sent);
            let entry = self.table.get(&key);
            portion.push((
                entry.and_then(|entry| self.announcement(&key, entry, id, config)),
                key,
            ));
        }
        if let Some(Dump { next, reliable }) = queue.dump {
            let mut rest = self.table.from(next);
            for (_, key, entry) in rest.by_ref().take(DUMP_PORTION.saturating_sub(portion.len())) {
                let announcement = self.announcement(key, entry, id, config);
                // A prefix on hold is retracted again: somebody may have missed it.
                if announcement.is_some() || matches!(entry.selected, Selection::Held { .. }) {
                    portion.push((announcement, *key));
                }
            }
            queue.dump = rest.next().map(|(next, ..)| Dump { next, reliable });
        }
        // Retractions need no router-id of their own; then one Router-Id TLV serves all prefixes of an origin.
        portion.sort_unstable_by_key(|(announcement, key)| (announcement.map(|a| a.router_id), *key));
        portion.dedup_by_key(|(_, key)| *key);
        (portion, copies)
    }
}
