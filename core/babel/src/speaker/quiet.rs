//! Interfaces that are silent by agreement.
//!
//! The two ends of a link may agree, outside Babel, that for now neither says anything unasked: one of them wants to
//! sleep, and its owner knows by other means whether it is still there ([`Speaker::set_link_usable`]). Both then
//! silence the interface: no Hellos, IHUs and updates leave, and what is known of the neighbour and its routes is
//! kept although nothing refreshes it. Requests are sent, passed on and answered as ever. When they speak again,
//! deadlines start anew, and each is told what changed meanwhile.
//!
//! Others may want a newer seqno of who sleeps, now and then in a large network, and it should not have to wake for
//! that. So before it asks for quiet it lends its neighbours the next [`LENT`] seqnos: a neighbour answers a request
//! within them as if the sleeper had raised its seqno and told nobody else. That is safe although several neighbours
//! do so on their own, because each of them holds a route that leads straight to the origin, and who sleeps carries
//! nothing for others: to the rest of the network it is as if the origin had told each of them at that time, in an
//! order in which it could have done so. When it speaks again its seqno is above all that it has lent.
//!
//! The end that sleeps must not carry traffic for others: it may hold routes that its neighbours have given up, and
//! only what nobody routes through cannot close a loop.

use super::Speaker;
use crate::entry::{Key, Selection};
use crate::interface::{Borrowed, Owed};
use crate::output::Dump;
use crate::seqno::Seqno;
use crate::table::{Alarm, Slot};
use crate::timer::Timer;
use crate::{Event, Instant, InterfaceId, RouterId};
use core::net::Ipv6Addr;

/// Seqnos lent at a time. Each time of sleep uses them up: so few that sleeping for half a minute, over and over, takes
/// hours to go once round all seqnos.
const LENT: u16 = 200;

impl Speaker {
    pub(super) fn silence(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if core::mem::replace(&mut interface.quiet, true) {
            return;
        }
        let queues = core::mem::take(&mut interface.output.queues);
        let unacked = core::mem::take(&mut interface.output.unacked);
        let mut owed = Owed::default();
        for queue in queues.values() {
            owed.updates.extend(queue.updates.keys().chain(queue.idle.keys()));
            owed.dump |= queue.dump.is_some();
        }
        let unheard = unacked.values().flat_map(|unacked| &unacked.keys);
        owed.updates.extend(unheard.map(|(key, _)| *key));
        interface.owed = owed;
        // What was asked for still leaves.
        for (destination, queue) in queues {
            if let Some(due) = queue.due
                && !(queue.acks.is_empty() && queue.seqno_requests.is_empty())
            {
                let kept = interface.output.queue(destination);
                (kept.acks, kept.seqno_requests) = (queue.acks, queue.seqno_requests);
                kept.due_by(due);
            }
        }
        let addresses: Vec<Ipv6Addr> = interface.neighbours.keys().copied().collect();
        let next = interface.output.next_due();
        for address in addresses {
            self.timers.set(Timer::Neighbour(id, address), None);
        }
        for timer in [Timer::Hello(id), Timer::Update(id), Timer::Resend(id)] {
            self.timers.set(timer, None);
        }
        self.timers.set(Timer::Flush(id), next);
        self.release_held(id, now);
    }

    /// Waits no longer for acknowledgments of retractions from the link: who sleeps gives none, and carries nothing that a
    /// retraction should stop.
    pub(super) fn release_held(&mut self, id: InterfaceId, now: Instant) {
        let mut released = Vec::new();
        for (key, entry) in self.table.iter_mut() {
            if let Selection::Held { until, awaiting, .. } = &mut entry.selected {
                let waited = !awaiting.is_empty();
                awaiting.retain(|(interface, _)| *interface != id);
                if waited && awaiting.is_empty() {
                    *until = now;
                    released.push(*key);
                }
            }
        }
        for key in released {
            self.table.ring_key_by(&key, Alarm::Expiry, now);
        }
    }

    pub(super) fn speak_again(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if !core::mem::replace(&mut interface.quiet, false) {
            return;
        }
        let mut owed = core::mem::take(&mut interface.owed);
        if interface.borrowed.is_none() {
            // We have slept: the neighbours are to know our seqno.
            let own = self
                .table
                .iter()
                .filter(|(_, e)| matches!(e.selected, Selection::Own));
            owed.updates.extend(own.map(|(key, _)| *key));
        }
        self.reclaim();
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        // As long as we promised with the last one: what changed is told at once.
        let update = now + interface.config.update_interval;
        let (mut addresses, mut keys): (Vec<Ipv6Addr>, Vec<Key>) = (Vec::new(), Vec::new());
        for (address, neighbour) in &mut interface.neighbours {
            neighbour.resume(now);
            addresses.push(*address);
            keys.extend(self.table.keys_of(&neighbour.routes));
        }
        self.timers.set(Timer::Update(id), Some(update));
        for address in addresses {
            self.arm_neighbour(id, address);
            for key in &keys {
                let entry = self.table.get_mut(key);
                if let Some(route) = entry.and_then(|entry| entry.routes.get_mut(&(id, address))) {
                    route.renew(now);
                }
            }
        }
        self.hello_by(id, now);
        let at = self.urgent(now);
        self.enqueue(id, None, at, |queue| {
            owed.updates.iter().for_each(|key| queue.add_update(*key, 0));
            if owed.dump {
                queue.dump = Some(Dump {
                    next: Slot::FIRST,
                    reliable: true,
                });
            }
        });
        for key in self.table.keys() {
            self.trigger(key, now);
        }
    }

    pub(super) fn lend(&mut self) {
        if self.lent_below.is_none() {
            let first = self.seqno.after(LENT + 1);
            self.lent_below = Some(first);
            // If we end in our sleep we begin above it.
            self.events.push_back(Event::SeqnoChanged(first.0));
        }
    }

    /// Our seqno rises above all that we have lent; `false`: we have lent none.
    pub(super) fn reclaim(&mut self) -> bool {
        match self.lent_below.take() {
            Some(first) => {
                self.seqno = first;
                self.events.push_back(Event::SeqnoChanged(first.0));
                true
            }
            None => false,
        }
    }

    pub(super) fn borrow_from(&mut self, id: InterfaceId, origin: RouterId) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.borrowed.is_some_and(|b| b.origin == origin) {
            // What the table says may be our own doing.
            return;
        }
        let mut told = None::<Seqno>;
        for (address, neighbour) in &interface.neighbours {
            for key in self.table.keys_of(&neighbour.routes) {
                let route = self.table.get(&key).and_then(|e| e.routes.get(&(id, *address)));
                if let Some(route) = route.filter(|r| r.router_id == origin)
                    && told.is_none_or(|seqno| route.seqno.newer_than(seqno))
                {
                    told = Some(route.seqno);
                }
            }
        }
        interface.borrowed = told.map(|told| Borrowed { origin, told });
    }

    /// The origin of borrowed seqnos has said one itself.
    pub(super) fn note_told(&mut self, id: InterfaceId, origin: RouterId, seqno: Seqno) {
        let borrowed = self.interfaces.get_mut(&id).and_then(|i| i.borrowed.as_mut());
        if let Some(borrowed) = borrowed.filter(|b| b.origin == origin && seqno.newer_than(b.told)) {
            borrowed.told = seqno;
        }
    }

    /// Requests for seqnos that a neighbour has lent us go no further.
    pub(super) fn answer_for_sleeper(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id).filter(|i| i.quiet) else {
            return;
        };
        let Some(Borrowed { origin, told }) = interface.borrowed else {
            return;
        };
        let mut answered = Vec::new();
        for (destination, queue) in &mut interface.output.queues {
            let Some(address) = *destination else { continue };
            queue.seqno_requests.retain(|(key, router_id), (seqno, _)| {
                let is_lent = *router_id == origin && i32::from(seqno.distance(told)) <= i32::from(LENT);
                if is_lent {
                    answered.push((*key, (id, address), *seqno));
                }
                !is_lent
            });
        }
        for (key, from, seqno) in answered {
            self.renumber(key, from, seqno, now);
        }
    }

    /// To be told when the interface speaks again.
    pub(super) fn owe(&mut self, id: InterfaceId, keys: &[(Key, bool)]) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.owed.updates.extend(keys.iter().map(|(key, _)| *key));
        }
    }

    pub(super) fn is_quiet(&self, id: InterfaceId) -> bool {
        self.interfaces.get(&id).is_some_and(|interface| interface.quiet)
    }
}
