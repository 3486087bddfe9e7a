//! The planned stop: neighbours move their traffic away while we still forward it, then we take our routes
//! back, then we close. No packet is lost on the way.

use super::{DownReason, Event, Node, timers::Timer};
use crate::{Duration, Instant, link::ByeReason};

/// Added to every metric: worse than any other way, better than none.
pub(super) const PENALTY: u16 = 20_000;
const PENALTY_TIME: Duration = Duration::from_millis(1500);
/// Retractions are sent twice, this far apart, in case one is lost.
const RETRACT_TIME: Duration = Duration::from_millis(350);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    #[default]
    Running,
    Penalty,
    Retracted,
    RetractedAgain,
    Done,
}

impl Stop {
    pub(super) fn is_stopping(self) -> bool {
        self > Self::Running
    }

    pub(super) fn is_done(self) -> bool {
        self == Self::Done
    }
}

impl Node {
    pub(super) fn begin_stop(&mut self, now: Instant) {
        if self.stop.is_stopping() {
            return;
        }
        if !self.tunnels.values().any(|t| t.is_usable()) {
            return self.finish_stop(now);
        }
        self.stop = Stop::Penalty;
        self.babel.set_announce_penalty(PENALTY, now);
        self.timers.set(Timer::Stop, now + PENALTY_TIME);
    }

    pub(super) fn step_stop(&mut self, now: Instant) {
        match self.stop {
            Stop::Running | Stop::Done => {}
            Stop::Penalty => {
                self.stop = Stop::Retracted;
                self.babel.retract_all(now);
                self.timers.set(Timer::Stop, now + RETRACT_TIME);
            }
            Stop::Retracted => {
                self.stop = Stop::RetractedAgain;
                self.babel.retract_all(now);
                self.timers.set(Timer::Stop, now + RETRACT_TIME);
            }
            Stop::RetractedAgain => self.finish_stop(now),
        }
    }

    fn finish_stop(&mut self, now: Instant) {
        // The last retractions leave before the tunnels close.
        self.drain_babel(now);
        self.stop = Stop::Done;
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            if self.tunnels.get(&id).is_some_and(|t| t.is_open()) {
                self.send_link(id, &crate::link::Message::Bye(ByeReason::Closing), now);
            }
            self.dismiss(id, ByeReason::Closing, DownReason::Closed, now);
        }
        self.close_sessions();
        self.timers.clear_all();
        self.drain_babel(now);
        self.push_event(Event::Stopped);
    }
}
