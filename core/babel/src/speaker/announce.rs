//! What each interface is to hear about each prefix, and when: changes at once or a little later, everything at each
//! periodic update (RFC 8966 section 3.7).

use super::Speaker;
use crate::entry::{Entry, Key, Selection};
use crate::filter::Subject;
use crate::output::{Dump, IDLE, SOON};
use crate::table::Slot;
use crate::timer::Timer;
use crate::{Duration, INFINITY, Instant, InterfaceConfig, InterfaceId, IpNet, RouterId};
use core::net::{IpAddr, Ipv6Addr};

/// A full table is sent to one neighbour at most this often, and less often the longer it is.
const DUMP_GAP: Duration = Duration::from_millis(300);
const DUMP_GAP_PER_PREFIX: Duration = Duration::from_micros(100);

/// What an interface is to hear about a prefix; nothing finite when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Announcement {
    pub(super) router_id: RouterId,
    pub(super) metric: u16,
    pub(super) seqno: u16,
}

impl Speaker {
    pub(super) fn announcement(
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
        let (mut urgent, mut soon, mut idle, mut owed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let via = entry.selected_route().map(|((id, _), _)| id);
        for (id, interface) in &self.interfaces {
            let say = self.announcement(&key, entry, *id, &interface.config);
            if interface.quiet {
                // The entry may be gone when the interface speaks again, and what was told with it.
                if say.is_none() && entry.told(*id).is_some() {
                    owed.push(*id);
                }
                continue;
            }
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
        owed.into_iter().for_each(|id| self.owe(id, &[(key, true)]));
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
        let interfaces = self.interfaces.iter_mut();
        let speaking: Vec<_> = interfaces
            .filter_map(|(id, interface)| {
                interface.owed.dump |= interface.quiet;
                (!interface.quiet).then_some(*id)
            })
            .collect();
        for id in speaking {
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
}

/// Our address as the next hop of a prefix; none when the link has no address that would do.
pub(super) fn next_hop(prefix: &IpNet, config: &InterfaceConfig) -> Option<IpAddr> {
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
