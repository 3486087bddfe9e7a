//! What waits to be sent on one interface, and what was sent but not acknowledged.
//!
//! Nothing is encoded before it leaves: a queue holds names of prefixes, so a prefix that changes three times
//! while it waits is sent once, as it is then. Each queue has one due time, which urgent things bring forward;
//! all that is in it then shares packets (RFC 8966 section 3.1 asks for aggregation and jitter).

use crate::{Duration, Instant, RouterId, entry::Key, seqno::Seqno, table::Slot};
use core::net::Ipv6Addr;
use std::collections::{BTreeMap, BTreeSet};

/// Delay of a triggered update that cannot wait: a new route, a retraction, an answer.
pub(crate) const URGENT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(25));
/// Delay of worse metrics, which often change again at once: until then a way that works is known.
pub(crate) const SOON: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));
/// What nobody waits for leaves with the next packet, and if there is none, after this long.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// Pause between the portions of a long table.
pub(crate) const DUMP_PAUSE: Duration = Duration::from_millis(5);
/// Prefixes in one portion.
pub(crate) const DUMP_PORTION: usize = 256;
/// An update that is not acknowledged is sent at most this often (RFC 8966 section 3.7.2).
pub(crate) const MAX_COPIES: u8 = 5;
/// Wait for an acknowledgment of the first copy; half as long again with each further copy. Over a tunnel, whose
/// ends may be far apart and let it share a packet, this and the next are twice as long.
pub(crate) const ACK_WAIT: Duration = Duration::from_millis(200);
/// How soon we ask a neighbour to acknowledge.
pub(crate) const ACK_INTERVAL: Duration = Duration::from_millis(100);
/// How long we let an acknowledgment wait on a link with one neighbour.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(100);
/// With more neighbours than this on one link acknowledgments would swamp it: updates are repeated instead.
pub(crate) const MAX_ACKERS: usize = 8;
/// Acknowledgments, requests and unknown prefixes that may wait in one queue.
pub(crate) const MAX_WAITING: usize = 1024;

/// How far a full table has been sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dump {
    /// The next to look at.
    pub(crate) next: Slot,
    pub(crate) reliable: bool,
}

/// Things for one destination.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) due: Option<Instant>,
    pub(crate) hello: bool,
    pub(crate) ihus: BTreeSet<Ipv6Addr>,
    pub(crate) acks: BTreeSet<u16>,
    /// `None` asks for everything.
    pub(crate) route_requests: BTreeSet<Option<Key>>,
    pub(crate) seqno_requests: BTreeMap<(Key, RouterId), (Seqno, u8)>,
    /// Prefixes with the number of copies sent before.
    pub(crate) updates: BTreeMap<Key, u8>,
    /// The same, of those that nobody waits for.
    pub(crate) idle: BTreeMap<Key, u8>,
    pub(crate) dump: Option<Dump>,
}

impl Queue {
    /// Makes the queue leave no later than `at`.
    pub(crate) fn due_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Takes in what another queue holds.
    pub(crate) fn join(&mut self, other: Self) {
        if let Some(due) = other.due {
            self.due_by(due);
        }
        self.hello |= other.hello;
        self.ihus.extend(other.ihus);
        self.acks.extend(other.acks);
        self.route_requests.extend(other.route_requests);
        self.seqno_requests.extend(other.seqno_requests);
        for (key, copies) in other.updates {
            self.add_update(key, copies);
        }
        for (key, copies) in other.idle {
            let waiting = self.idle.entry(key).or_insert(copies);
            *waiting = (*waiting).min(copies);
        }
        self.dump = match (self.dump, other.dump) {
            // The one that has got less far sends what is left of the other, too.
            (Some(one), Some(another)) => Some(Dump {
                next: one.next.min(another.next),
                reliable: one.reliable || another.reliable,
            }),
            (one, another) => one.or(another),
        };
    }

    pub(crate) fn add_update(&mut self, key: Key, copies: u8) {
        let waiting = self.updates.entry(key).or_insert(copies);
        *waiting = (*waiting).min(copies);
    }
}

/// A packet of updates that asked for an acknowledgment.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// Its prefixes, and whether each was retracted.
    pub(crate) keys: Vec<(Key, bool)>,
    pub(crate) sent_at: Instant,
    /// Who has not acknowledged. Empty: nobody was asked, repeat to all.
    pub(crate) awaiting: BTreeSet<Ipv6Addr>,
    pub(crate) copies: u8,
    pub(crate) resend_at: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    /// By destination; `None` is the multicast group.
    pub(crate) queues: BTreeMap<Option<Ipv6Addr>, Queue>,
    /// By the opaque value of the Acknowledgment Request.
    pub(crate) unacked: BTreeMap<u16, Unacked>,
    next_opaque: u16,
}

impl Output {
    pub(crate) fn queue(&mut self, destination: Option<Ipv6Addr>) -> &mut Queue {
        self.queues.entry(destination).or_default()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queue| queue.due).min()
    }

    pub(crate) fn next_resend(&self) -> Option<Instant> {
        self.unacked.values().map(|unacked| unacked.resend_at).min()
    }

    /// A number no packet under way bears.
    pub(crate) fn opaque(&mut self) -> u16 {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        self.next_opaque
    }

    /// Forgets all that concerns one neighbour.
    pub(crate) fn forget(&mut self, neighbour: Ipv6Addr) {
        self.queues.remove(&Some(neighbour));
        if let Some(multicast) = self.queues.get_mut(&None) {
            multicast.ihus.remove(&neighbour);
        }
        self.unacked.retain(|_, unacked| {
            let blind = unacked.awaiting.is_empty();
            unacked.awaiting.remove(&neighbour);
            blind || !unacked.awaiting.is_empty()
        });
    }
}
