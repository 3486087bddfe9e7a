//! What is due.

use super::Speaker;
use crate::timer::Timer;
use crate::{Instant, InterfaceId};
use core::net::Ipv6Addr;

impl Speaker {
    pub(super) fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Hello(id) => self.hello_by(id, now),
            Timer::Update(id) => self.periodic_update(id, now),
            Timer::Flush(id) => self.flush(id, now),
            Timer::Resend(id) => self.resend(id, now),
            Timer::Neighbour(id, address) => self.neighbour_overdue(id, address, now),
            Timer::Expiry(key) => self.expire_entry(key, now),
            Timer::Request(key) => self.expire_requests(key, now),
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
