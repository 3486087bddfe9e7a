//! From what waits to packets.
//!
//! Updates are read from the table at the moment they leave. That moment is also when the source table learns
//! of them (RFC 8966 section 3.7.3) and when the interface counts as told.

use super::Speaker;
use super::routes::longest_interval;
use crate::entry::{Entry, Key, NeighbourKey, Selection};
use crate::filter::Subject;
use crate::output::{
    ACK_INTERVAL, ACK_WAIT, DUMP_PAUSE, DUMP_PORTION, Dump, IDLE, MAX_ACKERS, MAX_COPIES, Output, Queue,
    SOON, Unacked,
};
use crate::seqno::Seqno;
use crate::source::Source;
use crate::table::{Alarm, Slot};
use crate::timer::Timer;
use crate::wire::{self, Builder, Centis};
use crate::{Duration, INFINITY, Instant, InterfaceConfig, InterfaceId, IpNet, RouteKey, RouterId};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

/// Sources are remembered this long after the last update sent, or for longer when updates are rarer
/// (RFC 8966 appendix B): no neighbour may still believe an update that we forgot.
const SOURCE_LIFETIME: Duration = Duration::from_secs(180);
/// A full table is sent to one neighbour at most this often, and less often the longer it is.
const DUMP_GAP: Duration = Duration::from_millis(300);
const DUMP_GAP_PER_PREFIX: Duration = Duration::from_micros(100);
/// Copies of an update on a link with too many members to ask for acknowledgments.
const BLIND_COPIES: u8 = 2;
/// What is due this soon leaves with what is due now.
const NEAR: Duration = Duration::from_millis(30);
/// Pause after the last copy that was not acknowledged, doubling with each such case in a row.
const GIVE_UP: Duration = Duration::from_secs(1);
const MAX_GIVE_UPS: u8 = 4;
/// Octets of an IHU with a whole address and timestamps.
const LONGEST_IHU: usize = 34;
/// Room that a packet should still have for an update when its acknowledgment is asked for.
const ROOM: usize = 96;

/// What an interface is to hear about a prefix; nothing finite when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Announcement {
    router_id: RouterId,
    metric: u16,
    seqno: u16,
}

impl Speaker {
    fn announcement(
        &self,
        key: &Key,
        entry: &Entry,
        id: InterfaceId,
        config: &InterfaceConfig,
    ) -> Option<Announcement> {
        if self.stopping || next_hop(&key.prefix, config).is_none() {
            return None;
        }
        let (router_id, seqno, metric) = match &entry.selected {
            Selection::Own => (self.config.router_id, self.seqno, entry.own?),
            Selection::Via { neighbour, .. } => {
                if config.split_horizon && neighbour.0 == id {
                    return None;
                }
                let route = entry.routes.get(neighbour)?;
                (route.router_id, route.seqno, route.metric)
            }
            _ => return None,
        };
        let by_rule = self.filters.export(&Subject {
            interface: id,
            neighbour: None,
            prefix: key.prefix,
            source: key.source,
            router_id,
        });
        let metric = metric.saturating_add(self.penalty).saturating_add(by_rule);
        (metric != INFINITY).then_some(Announcement {
            router_id,
            seqno: seqno.0,
            metric,
        })
    }

    /// Compares what each interface was told about a prefix with what is true now, and queues what differs
    /// (RFC 8966 section 3.7.2). A new seqno alone or a slightly other metric waits for the periodic update;
    /// over a tunnel a better metric, and what split horizon takes back from our next hop, for any packet.
    pub(super) fn trigger(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get(&key) else { return };
        let (mut urgent, mut soon, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        let via = entry.selected_route().map(|((id, _), _)| id);
        for (id, interface) in &self.interfaces {
            let say = self.announcement(&key, entry, *id, &interface.config);
            match (entry.told(*id), say) {
                (None, None) => {}
                (Some(told), Some(say)) if told.router_id == say.router_id => {
                    let doubled = told.metric.saturating_mul(2).max(told.metric.saturating_add(256));
                    let tunnel = interface.config.point_to_point;
                    if say.metric >= doubled && !tunnel {
                        urgent.push(*id);
                    } else if is_notable(told.metric, say.metric) {
                        let can_wait = tunnel && say.metric < told.metric;
                        let queue = if can_wait { &mut idle } else { &mut soon };
                        queue.push(*id);
                    }
                }
                // We go through those who hear it: they are better than we and cannot come through us.
                (Some(_), None) if via == Some(*id) && interface.config.point_to_point => idle.push(*id),
                // New, gone, or from another origin.
                _ => urgent.push(*id),
            }
        }
        if !urgent.is_empty() {
            let at = self.urgent(now);
            urgent
                .into_iter()
                .for_each(|id| self.enqueue(id, None, at, |queue| queue.add_update(key, 0)));
        }
        if !soon.is_empty() {
            let at = now + self.rng.between(SOON.0, SOON.1);
            soon.into_iter()
                .for_each(|id| self.enqueue(id, None, at, |queue| queue.add_update(key, 0)));
        }
        for id in idle {
            self.enqueue(id, None, now + IDLE, |queue| {
                queue.idle.insert(key, 0);
            });
        }
    }

    /// Everything goes out again on every interface.
    pub(super) fn announce_all(&mut self, now: Instant) {
        let at = self.urgent(now);
        let interfaces: Vec<_> = self.interfaces.keys().copied().collect();
        for id in interfaces {
            self.enqueue(id, None, at, |queue| {
                queue.dump = Some(Dump {
                    next: Slot::FIRST,
                    reliable: true,
                })
            });
        }
    }

    /// Sends one neighbour the whole table, unless it got it just now.
    pub(super) fn dump_to(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        let gap = DUMP_GAP.max(DUMP_GAP_PER_PREFIX * u32::try_from(self.table.len()).unwrap_or(u32::MAX));
        let at = self.urgent(now);
        let Some(neighbour) = self.neighbour_mut(id, address) else {
            return;
        };
        if neighbour.last_dump.is_some_and(|last| now < last + gap) {
            return;
        }
        neighbour.last_dump = Some(now);
        self.enqueue(id, Some(address), at, |queue| {
            queue.dump = Some(Dump {
                next: Slot::FIRST,
                reliable: true,
            })
        });
    }

    /// The periodic update of an interface.
    pub(super) fn periodic_update(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let point_to_point = interface.config.point_to_point;
        let lonely = point_to_point && interface.neighbours.is_empty();
        let next = now + self.rng.shortened(interface.config.update_interval);
        self.timers.set(Timer::Update(id), Some(next));
        if !lonely {
            self.enqueue(id, None, now, |queue| {
                // With one neighbour an acknowledgment costs nothing and keeps routes alive on lossy links.
                queue.dump.get_or_insert(Dump {
                    next: Slot::FIRST,
                    reliable: point_to_point,
                });
            });
        }
    }

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
                if echo.is_some() && writer.builder.room() < LONGEST_IHU {
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

    /// A neighbour acknowledged a packet: it need not hear it again, and what it now knows to be retracted it
    /// will not send to us (RFC 8966 section 3.5.4).
    pub(super) fn acknowledged(&mut self, id: InterfaceId, src: Ipv6Addr, opaque: u16, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if let Some(neighbour) = interface.neighbours.get_mut(&src) {
            neighbour.unheard = 0;
        }
        let Some(unacked) = interface.output.unacked.get_mut(&opaque) else {
            return;
        };
        if !unacked.awaiting.remove(&src) {
            return;
        }
        let (sent_at, neighbour): (_, NeighbourKey) = (unacked.sent_at, (id, src));
        let retracted: Vec<Key> = unacked
            .keys
            .iter()
            .filter(|(_, retracted)| *retracted)
            .map(|(key, _)| *key)
            .collect();
        if unacked.awaiting.is_empty() {
            interface.output.unacked.remove(&opaque);
        }
        for key in retracted {
            let Some(entry) = self.table.get_mut(&key) else {
                continue;
            };
            let Selection::Held {
                since,
                until,
                awaiting,
            } = &mut entry.selected
            else {
                continue;
            };
            if sent_at >= *since && awaiting.remove(&neighbour) && awaiting.is_empty() {
                *until = now;
                self.reselect(key, now);
            }
        }
    }

    /// Sends again, each to those who did not acknowledge.
    pub(super) fn resend(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let due = interface
            .output
            .unacked
            .extract_if(.., |_, unacked| unacked.resend_at <= now);
        let due: Vec<Unacked> = due.map(|(_, unacked)| unacked).collect();
        let tunnel = interface.config.point_to_point;
        self.timers.set(Timer::Resend(id), interface.output.next_resend());
        let at = self.urgent(now);
        for Unacked {
            keys,
            awaiting,
            copies,
            ..
        } in due
        {
            if awaiting.is_empty() {
                self.enqueue_updates(id, None, at, &keys, copies);
            }
            for address in awaiting {
                // Whoever is down gets the whole table when it comes back.
                let Some(neighbour) = self.neighbour_mut(id, address).filter(|n| n.is_up()) else {
                    continue;
                };
                if copies < MAX_COPIES {
                    self.enqueue_updates(id, Some(address), at, &keys, copies);
                } else if tunnel && neighbour.unheard < MAX_GIVE_UPS {
                    // So much bad luck is rare, and the next periodic update may be far: it gets everything
                    // anew. Only over tunnels, whose far end is known to acknowledge.
                    let pause = GIVE_UP * (1 << neighbour.unheard);
                    neighbour.unheard += 1;
                    self.enqueue(id, Some(address), now + pause, |queue| {
                        queue.dump = Some(Dump {
                            next: Slot::FIRST,
                            reliable: true,
                        });
                    });
                }
            }
        }
    }

    fn enqueue_updates(
        &mut self,
        id: InterfaceId,
        destination: Option<Ipv6Addr>,
        at: Instant,
        keys: &[(Key, bool)],
        copies: u8,
    ) {
        self.enqueue(id, destination, at, |queue| {
            keys.iter().for_each(|(key, _)| queue.add_update(*key, copies));
        });
    }
}

/// Our address as the next hop of a prefix; none when the link has no address that would do.
fn next_hop(prefix: &IpNet, config: &InterfaceConfig) -> Option<IpAddr> {
    match (prefix, config.ipv4) {
        (IpNet::V4(_), Some(address)) => Some(address.into()),
        (IpNet::V4(_), None) if !config.v4_via_v6 => None,
        _ => Some(config.link_local.into()),
    }
}

/// Whether a metric moved by a quarter.
fn is_notable(told: u16, metric: u16) -> bool {
    let (low, high) = (told.min(metric), told.max(metric));
    high - low >= 16 && u32::from(high - low) * 4 >= u32::from(low)
}

/// Fills packets one after the other.
struct Writer {
    limit: usize,
    source: Ipv6Addr,
    builder: Builder,
    /// The acknowledgment that the present packet asks for.
    opaque: Option<u16>,
    done: Vec<Vec<u8>>,
}

impl Writer {
    fn new(limit: usize, source: Ipv6Addr) -> Self {
        Self {
            limit,
            source,
            builder: Builder::new(limit, source),
            opaque: None,
            done: Vec::new(),
        }
    }

    fn put(&mut self, write: impl Fn(&mut Builder) -> bool) {
        if !write(&mut self.builder) {
            self.next_packet();
            // A packet has room for at least 214 octets beside eight MACs, more than any single TLV with what it
            // needs.
            let _fits = write(&mut self.builder);
        }
    }

    /// Writes an update into a packet that asks for an acknowledgment within `ask`, and returns its number.
    fn update(&mut self, update: &wire::Update, ask: Option<Duration>, output: &mut Output) -> Option<u16> {
        let Some(within) = ask else {
            self.put(|builder| builder.update(update));
            return None;
        };
        if self.opaque.is_none() || !self.builder.update(update) {
            if self.opaque.is_some() || self.builder.room() < ROOM {
                self.next_packet();
            }
            let opaque = output.opaque();
            self.put(|builder| builder.ack_request(opaque, Centis::promising(within)));
            self.opaque = Some(opaque);
            self.put(|builder| builder.update(update));
        }
        self.opaque
    }

    fn next_packet(&mut self) {
        let full = core::mem::replace(&mut self.builder, Builder::new(self.limit, self.source));
        self.opaque = None;
        if !full.is_empty() {
            self.done.push(full.finish());
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.next_packet();
        self.done
    }
}
