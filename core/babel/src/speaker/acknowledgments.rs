//! What neighbours acknowledge, and sending again what they do not.

use super::Speaker;
use crate::entry::{Key, NeighbourKey, Selection};
use crate::output::{Dump, MAX_COPIES, Unacked};
use crate::table::Slot;
use crate::timer::Timer;
use crate::{Duration, Instant, InterfaceId};
use core::net::Ipv6Addr;

/// Pause after the last copy that was not acknowledged, doubling with each such case in a row.
const GIVE_UP: Duration = Duration::from_secs(1);
const MAX_GIVE_UPS: u8 = 4;

impl Speaker {
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
                let Some(unheard) = self
                    .neighbour(id, address)
                    .filter(|n| n.is_up())
                    .map(|n| n.unheard)
                else {
                    continue;
                };
                if copies < MAX_COPIES {
                    self.enqueue_updates(id, Some(address), at, &keys, copies);
                } else if self.is_quiet(id) {
                    self.owe(id, &keys);
                } else if tunnel && unheard < MAX_GIVE_UPS {
                    // So much bad luck is rare, and the next periodic update may be far: it gets everything
                    // anew. Only over tunnels, whose far end is known to acknowledge.
                    let pause = GIVE_UP * (1 << unheard);
                    if let Some(neighbour) = self.neighbour_mut(id, address) {
                        neighbour.unheard = unheard + 1;
                    }
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
