//! What is due.

use super::Speaker;
use crate::table::Alarm;
use crate::timer::Timer;
use crate::{Instant, InterfaceId, TimerReason};
use core::net::Ipv6Addr;

impl Speaker {
    /// What is due next. At one instant the loss of neighbours comes first, then prefixes, then packets.
    pub(super) fn next_timeout(&self) -> Option<(Instant, TimerReason)> {
        let alarm = self.table.first_alarm();
        match (self.timers.first(), alarm) {
            (Some((at, timer)), alarm)
                if alarm.is_none_or(|(ring, _)| {
                    at < ring || (at == ring && matches!(timer, Timer::Neighbour(..)))
                }) =>
            {
                Some((at, timer.reason()))
            }
            (_, alarm) => alarm.map(|(at, alarm)| match alarm {
                Alarm::Expiry => (at, TimerReason::RouteExpiry),
                Alarm::Request => (at, TimerReason::Request),
            }),
        }
    }

    /// Does the first thing that is due. `false`: nothing is.
    pub(super) fn do_next(&mut self, now: Instant) -> bool {
        match self.next_timeout().filter(|(at, _)| *at <= now) {
            None => return false,
            Some((_, TimerReason::RouteExpiry | TimerReason::Request)) => match self.table.pop_alarm(now) {
                Some((Alarm::Expiry, key)) => self.expire_entry(key, now),
                Some((Alarm::Request, key)) => self.expire_requests(key, now),
                None => {}
            },
            Some(_) => {
                if let Some(timer) = self.timers.pop_due(now) {
                    self.fire(timer, now);
                }
            }
        }
        true
    }

    /// Lets all neighbours and routes go whose time is over.
    pub(super) fn lose_overdue(&mut self, now: Instant) {
        for timer in self.timers.due_losses(now) {
            self.fire(timer, now);
        }
        for key in self.table.due_expiries(now) {
            self.expire_entry(key, now);
        }
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Hello(id) => self.hello_by(id, now),
            Timer::Update(id) => self.periodic_update(id, now),
            Timer::Flush(id) => self.flush(id, now),
            Timer::Resend(id) => self.resend(id, now),
            Timer::Neighbour(id, address) => self.neighbour_overdue(id, address, now),
        }
    }

    fn neighbour_overdue(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        let Some(neighbour) = self.neighbour_mut(id, address) else {
            return;
        };
        if neighbour.expire(now) {
            self.recost(id, address, now);
            self.arm_neighbour(id, address);
        } else {
            self.drop_neighbour(id, address, now);
        }
    }
}
