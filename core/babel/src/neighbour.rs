//! What we know of one neighbour on one interface: Hellos heard, costs told, routes given
//! (RFC 8966 sections 3.2.4 and 3.4, appendix A.1).

use crate::{Duration, INFINITY, Instant, entry::NeighbourKey, rtt::Rtt, seqno::Seqno, table::SlotSet};
use std::sync::Arc;

/// A jump of the Hello seqno further than this means that the neighbour started afresh (A.1).
const MAX_JUMP: i16 = 16;
/// Length of the history in Hellos.
const SLOTS: u8 = 16;
/// Deadlines that a neighbour asks for are never nearer than this, or it could keep us busy.
const MIN_WAIT: Duration = Duration::from_millis(50);
/// A neighbour that never sends a Hello is forgotten after this.
pub(crate) const SILENT_LIFETIME: Duration = Duration::from_secs(30);
/// Shortest time that a cost told in an IHU is believed, however short its interval.
const MIN_IHU_HOLD: Duration = Duration::from_secs(1);

/// The last 16 Hellos of one kind (multicast or unicast): heard or missed.
#[derive(Clone, Debug, Default)]
pub(crate) struct HelloHistory {
    /// Newest in the lowest bit.
    bits: u16,
    /// How many bits mean anything yet.
    slots: u8,
    expected: u16,
    /// As promised in the last scheduled Hello.
    interval: Duration,
    /// When the next Hello counts as missed.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    Continues,
    /// The neighbour lost its state; ours about it is void too.
    Restarted,
}

impl HelloHistory {
    /// Records a Hello. `interval` is zero when it is unscheduled; a sender that never scheduled one is
    /// expected again after `assumed`.
    pub(crate) fn heard(
        &mut self,
        seqno: Seqno,
        interval: Duration,
        assumed: Duration,
        now: Instant,
    ) -> Continuity {
        if self.slots > 0 {
            let ahead = seqno.distance(Seqno(self.expected));
            if ahead.unsigned_abs() > MAX_JUMP.unsigned_abs() {
                return Continuity::Restarted;
            }
            let by = u32::from(ahead.unsigned_abs());
            if ahead < 0 {
                // We counted losses that were none: the neighbour made its interval longer.
                self.bits = self.bits.checked_shr(by).unwrap_or(0);
                self.slots = self.slots.saturating_sub(by as u8);
            } else {
                self.shift(by);
            }
        }
        self.shift(1);
        self.bits |= 1;
        self.expected = seqno.next().0;
        if !interval.is_zero() {
            self.interval = interval;
            // The extra half is for the sender's jitter and the path's (A.1).
            self.deadline = Some(now + (interval * 3 / 2).max(MIN_WAIT));
        } else if self.deadline.is_none() {
            self.interval = assumed;
            self.deadline = Some(now + (assumed * 3 / 2).max(MIN_WAIT));
        }
        Continuity::Continues
    }

    /// The sender speaks again after a silence that was agreed: what it did not say meanwhile is no loss.
    fn resume(&mut self, now: Instant) {
        if self.deadline.is_some() {
            self.deadline = Some(now + (self.interval * 3 / 2).max(MIN_WAIT));
        }
    }

    /// Records the misses due by `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) {
            self.shift(1);
            self.expected = Seqno(self.expected).next().0;
            let next = deadline + self.interval.max(MIN_WAIT);
            self.deadline = (self.bits != 0).then_some(next);
        }
    }

    fn shift(&mut self, by: u32) {
        self.bits = self.bits.checked_shl(by).unwrap_or(0);
        self.slots = self
            .slots
            .saturating_add(by.min(u32::from(SLOTS)) as u8)
            .min(SLOTS);
    }

    pub(crate) fn bits(&self) -> u16 {
        self.bits
    }

    pub(crate) fn slots(&self) -> u8 {
        self.slots
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits == 0
    }
}

#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) multicast: HelloHistory,
    pub(crate) unicast: HelloHistory,
    /// Our cost as the neighbour told it; infinite until told, and when not repeated in time.
    pub(crate) tx_cost: u16,
    ihu_deadline: Option<Instant>,
    /// How long an IHU is believed.
    ihu_hold: Duration,
    pub(crate) rtt: Rtt,
    pub(crate) rx_cost: u16,
    /// The `rx_cost` in the last IHU sent.
    pub(crate) rx_cost_told: Option<u16>,
    /// Cost of the link to it; infinite unless both directions work.
    pub(crate) cost: u16,
    pub(crate) last_heard: Option<Instant>,
    created: Instant,
    /// The entries that hold a route of its.
    pub(crate) routes: SlotSet,
    /// Shared by its routes.
    pub(crate) key: Arc<NeighbourKey>,
    /// Where its route stood among those of the last prefix.
    pub(crate) place: usize,
    /// When it last got our full table.
    pub(crate) last_dump: Option<Instant>,
    /// Updates in a row that it never acknowledged, however often sent.
    pub(crate) unheard: u8,
}

impl Neighbour {
    pub(crate) fn new(key: NeighbourKey, now: Instant) -> Self {
        Self {
            multicast: HelloHistory::default(),
            unicast: HelloHistory::default(),
            tx_cost: INFINITY,
            ihu_deadline: None,
            ihu_hold: MIN_IHU_HOLD,
            rtt: Rtt::default(),
            rx_cost: INFINITY,
            rx_cost_told: None,
            cost: INFINITY,
            last_heard: None,
            created: now,
            routes: SlotSet::default(),
            key: Arc::new(key),
            place: 0,
            last_dump: None,
            unheard: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.cost != INFINITY
    }

    /// Records an IHU: believed for 3.5 times its interval (appendix B).
    pub(crate) fn ihu(&mut self, cost: u16, interval: Duration, now: Instant) {
        self.tx_cost = cost;
        self.ihu_hold = (interval * 7 / 2).max(MIN_IHU_HOLD);
        self.ihu_deadline = Some(now + self.ihu_hold);
    }

    /// All deadlines start anew after a silence that was agreed.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.multicast.resume(now);
        self.unicast.resume(now);
        if self.ihu_deadline.is_some() {
            self.ihu_deadline = Some(now + self.ihu_hold);
        }
    }

    /// Lets what is overdue by `now` take effect. `false`: forget this neighbour.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.multicast.expire(now);
        self.unicast.expire(now);
        if self.ihu_deadline.is_some_and(|deadline| deadline <= now) {
            self.ihu_deadline = None;
            self.tx_cost = INFINITY;
        }
        let silent = self.multicast.is_empty() && self.unicast.is_empty();
        !silent || (self.heard_no_hello() && now < self.created + SILENT_LIFETIME)
    }

    pub(crate) fn heard_no_hello(&self) -> bool {
        self.multicast.slots == 0 && self.unicast.slots == 0
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let forget = self.heard_no_hello().then(|| self.created + SILENT_LIFETIME);
        [
            self.multicast.deadline,
            self.unicast.deadline,
            self.ihu_deadline,
            forget,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn hear(history: &mut HelloHistory, seqno: u16, millis: u64) -> Continuity {
        history.heard(Seqno(seqno), SECOND, SECOND, at(millis))
    }

    #[test]
    fn losses_show_as_zeroes() {
        let mut history = HelloHistory::default();
        hear(&mut history, 65535, 0);
        hear(&mut history, 0, 1000);
        hear(&mut history, 3, 1400);
        assert_eq!((history.bits(), history.slots()), (0b11001, 5));
    }

    #[test]
    fn a_late_hello_is_a_miss_after_one_and_a_half_intervals() {
        let mut history = HelloHistory::default();
        hear(&mut history, 5, 0);
        history.expire(at(1499));
        assert_eq!(history.bits(), 0b1);
        history.expire(at(1500));
        assert_eq!(history.bits(), 0b10);
        history.expire(at(2500));
        assert_eq!(history.bits(), 0b100);
        hear(&mut history, 8, 2600);
        assert_eq!(history.bits(), 0b1001);
    }

    #[test]
    fn misses_are_undone_when_the_neighbour_only_slowed_down() {
        let mut history = HelloHistory::default();
        hear(&mut history, 1, 0);
        history.expire(at(3500));
        assert_eq!(history.bits(), 0b1000);
        history.heard(Seqno(2), SECOND * 4, SECOND, at(4000));
        assert_eq!(history.bits(), 0b11);
        history.expire(at(9999));
        assert_eq!(history.bits(), 0b11);
        history.expire(at(10_000));
        assert_eq!(history.bits(), 0b110);
    }

    #[test]
    fn a_far_jump_is_a_restart() {
        let mut history = HelloHistory::default();
        hear(&mut history, 100, 0);
        assert_eq!(hear(&mut history, 117, 100), Continuity::Continues);
        assert_eq!(hear(&mut history, 135, 100), Continuity::Restarted);
        assert_eq!(hear(&mut history, 101, 100), Continuity::Restarted);
    }

    #[test]
    fn an_unscheduled_hello_leaves_the_earlier_deadline() {
        let mut history = HelloHistory::default();
        hear(&mut history, 1, 0);
        history.heard(Seqno(2), Duration::ZERO, SECOND, at(1400));
        history.expire(at(1500));
        assert_eq!(history.bits(), 0b110);
    }

    #[test]
    fn unscheduled_hellos_alone_still_run_out() {
        let mut history = HelloHistory::default();
        history.heard(Seqno(1), Duration::ZERO, SECOND, at(0));
        history.expire(at(60_000));
        assert!(history.is_empty());
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let mut history = HelloHistory::default();
        hear(&mut history, 1, 0);
        hear(&mut history, 2, 1000);
        hear(&mut history, 2, 1001);
        assert_eq!((history.bits(), history.slots()), (0b11, 2));
    }

    #[test]
    fn a_told_cost_is_forgotten_after_three_and_a_half_intervals() {
        let mut neighbour = Neighbour::new((crate::InterfaceId(1), core::net::Ipv6Addr::LOCALHOST), at(0));
        hear(&mut neighbour.multicast, 1, 0);
        neighbour.ihu(96, SECOND, at(0));
        assert!(neighbour.expire(at(3499)));
        assert_eq!(neighbour.tx_cost, 96);
        assert!(neighbour.expire(at(3500)));
        assert_eq!(neighbour.tx_cost, INFINITY);
    }

    #[test]
    fn a_neighbour_without_hellos_is_forgotten() {
        let mut heard = Neighbour::new((crate::InterfaceId(1), core::net::Ipv6Addr::LOCALHOST), at(0));
        hear(&mut heard.multicast, 1, 0);
        assert!(heard.expire(at(10_000)));
        assert!(!heard.expire(at(17_000)));
        let mut never = Neighbour::new((crate::InterfaceId(1), core::net::Ipv6Addr::LOCALHOST), at(0));
        assert!(never.expire(at(29_999)));
        assert!(!never.expire(at(30_000)));
    }
}
