//! The timers of interfaces and neighbours in one ordered table; [`Timers::first`] is the next wake-up. Those of
//! prefixes are in [`crate::table`].
//!
//! Deadlines that only ever move later (a route refreshed, say) are not moved here: the timer fires at the old
//! time, its handler looks at the real deadline and arms the timer again. That keeps a refresh cheap.

use crate::{Instant, InterfaceId, TimerReason};
use core::net::Ipv6Addr;
use std::collections::{BTreeMap, BTreeSet};

/// The order breaks ties between timers due at one instant: losses are noticed before packets are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Neighbour(InterfaceId, Ipv6Addr),
    /// Unacknowledged packets of one interface.
    Resend(InterfaceId),
    Hello(InterfaceId),
    Update(InterfaceId),
    Flush(InterfaceId),
}

impl Timer {
    pub(crate) fn reason(self) -> TimerReason {
        match self {
            Self::Neighbour(..) => TimerReason::NeighbourDeadline,
            Self::Resend(_) | Self::Flush(_) => TimerReason::Flush,
            Self::Hello(_) => TimerReason::Hello,
            Self::Update(_) => TimerReason::Update,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    armed: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Arms or moves a timer; `None` disarms it.
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.armed.insert(timer, at),
            None => self.armed.remove(&timer),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.queue.insert((at, timer));
        }
    }

    /// Arms a timer no later than `at`; one that is due earlier stays.
    pub(crate) fn set_by(&mut self, timer: Timer, at: Instant) {
        if self.armed.get(&timer).is_none_or(|armed| at < *armed) {
            self.set(timer, Some(at));
        }
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.armed.remove(&timer);
        Some(timer)
    }

    /// Takes out what is due and may take something away: neighbours.
    pub(crate) fn due_losses(&mut self, now: Instant) -> Vec<Timer> {
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        let losses = due.filter(|(_, timer)| matches!(timer, Timer::Neighbour(..)));
        let losses: Vec<Timer> = losses.map(|(_, timer)| *timer).collect();
        losses.iter().for_each(|timer| self.set(*timer, None));
        losses
    }

    /// When the first packet is to leave.
    pub(crate) fn first_packet(&self) -> Option<(Instant, Timer)> {
        let mut due = self.queue.iter();
        due.find(|(_, timer)| matches!(timer, Timer::Flush(_) | Timer::Resend(_)))
            .copied()
    }

    pub(crate) fn first(&self) -> Option<(Instant, Timer)> {
        self.queue.first().copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HELLO: Timer = Timer::Hello(InterfaceId(1));
    const UPDATE: Timer = Timer::Update(InterfaceId(1));

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn the_earliest_timer_fires_first_and_once() {
        let mut timers = Timers::default();
        timers.set(HELLO, Some(at(20)));
        timers.set(UPDATE, Some(at(10)));
        assert_eq!(timers.first(), Some((at(10), UPDATE)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(30)), Some(UPDATE));
        assert_eq!(timers.pop_due(at(30)), Some(HELLO));
        assert_eq!(timers.pop_due(at(30)), None);
    }

    #[test]
    fn set_moves_and_set_by_only_brings_forward() {
        let mut timers = Timers::default();
        timers.set(HELLO, Some(at(20)));
        timers.set_by(HELLO, at(30));
        assert_eq!(timers.first(), Some((at(20), HELLO)));
        timers.set_by(HELLO, at(5));
        assert_eq!(timers.first(), Some((at(5), HELLO)));
        timers.set(HELLO, Some(at(40)));
        assert_eq!(timers.first(), Some((at(40), HELLO)));
        timers.set(HELLO, None);
        assert_eq!(timers.first(), None);
    }
}
