//! Who takes the turns: one thread that waits for packets, and helpers that it calls when there are more than it can
//! handle.
//!
//! One thread serves both directions: what one writes to the device often makes the kernel send at once,
//! acknowledgements above all, and then nobody has to be woken for it. While every turn is a full one for some time, it
//! calls the helpers. They read from the same sources, so that even what comes from one peer, or belongs to one flow, is
//! sealed and opened on several processors; [`Order`](super::order::Order) sees to it that it leaves as it came. When a
//! helper finds nothing to do, it sleeps again.

use super::{
    Shared,
    directions::{Incoming, Orders, Outgoing, Patience, Turn},
};
use crate::{system::Wake, tun::MAX_QUEUES};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Full turns in a row before helpers are called: a few hundred microseconds of work.
const PRESSURE: u32 = 8;

/// What the threads share besides [`Shared`].
#[derive(Debug, Default)]
pub(super) struct Crew {
    orders: Orders,
    helpers: Mutex<Helpers>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Helpers {
    asleep: usize,
    /// Of whom so many have been called.
    calls: usize,
    stop: bool,
}

impl Crew {
    pub(super) fn stop(&self) {
        self.helpers().stop = true;
        self.called.notify_all();
    }

    fn helpers(&self) -> MutexGuard<'_, Helpers> {
        // Numbers, which are right at any moment.
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one helper, if any sleeps.
    fn call(&self) {
        let mut helpers = self.helpers();
        if helpers.calls < helpers.asleep {
            helpers.calls += 1;
            self.called.notify_one();
        }
    }

    /// Sleeps until called; `false` when it is time to stop.
    fn sleep(&self) -> bool {
        let mut helpers = self.helpers();
        helpers.asleep += 1;
        while !helpers.stop && helpers.calls == 0 {
            helpers = self.called.wait(helpers).unwrap_or_else(PoisonError::into_inner);
        }
        helpers.asleep -= 1;
        helpers.calls = helpers.calls.saturating_sub(1);
        !helpers.stop
    }
}

/// Counts full turns in a row, and calls for help when there are many.
#[derive(Default)]
struct Pressure(u32);

impl Pressure {
    fn note(&mut self, turn: Turn, crew: &Crew) {
        self.0 = match turn {
            Turn::Full => self.0 + 1,
            _ => 0,
        };
        if self.0 >= PRESSURE {
            self.0 = 0;
            crew.call();
        }
    }
}

/// Takes turns whenever called, at whatever has packets.
pub(super) fn help(shared: &Shared, crew: &Crew) {
    let (mut outgoing, mut incoming) = (Outgoing::new(shared), Incoming::new(shared));
    let queues = queues(shared);
    while crew.sleep() {
        loop {
            let mut turns = u64::from(incoming.turn(shared, &crew.orders, Patience::Leave) == Turn::Full);
            for queue in 0..queues {
                let turn = outgoing.turn(shared, &crew.orders, queue, Patience::Leave);
                turns += u64::from(turn == Turn::Full);
            }
            shared.counters.count_helped(turns);
            // A few packets are no reason to stay.
            if turns == 0 {
                break;
            }
        }
    }
}

fn queues(shared: &Shared) -> usize {
    let device = shared.tun.super_packets();
    device.map_or(1, |device| device.queues().min(MAX_QUEUES))
}

/// Both directions. The device's queues take turns, so that a ping does not wait behind all that a stream has ready.
#[cfg(unix)]
pub(super) fn both_ways(shared: &Shared, stop: &Wake, crew: &Crew) {
    use crate::system::wait_for_any;
    let (mut outgoing, mut incoming) = (Outgoing::new(shared), Incoming::new(shared));
    let orders = &crew.orders;
    let (mut from_tun, mut from_udp) = (Pressure::default(), Pressure::default());
    let mut sources = [None; 1 + MAX_QUEUES];
    let (udp, tun) = (0, 1);
    sources[udp] = Some(shared.udp.readable());
    match shared.tun.super_packets() {
        Some(device) => {
            (0..queues(shared)).for_each(|queue| sources[tun + queue] = Some(device.readable(queue)));
        }
        None => sources[tun] = Some(shared.tun.readable()),
    }
    while let Some(ready) = wait_for_any(&sources, stop) {
        let mut written = 0;
        if ready[udp] {
            let turn = incoming.turn(shared, orders, Patience::Wait);
            from_udp.note(turn, crew);
            match turn {
                Turn::Lost => sources[udp] = None,
                _ => written = incoming.take_written(),
            }
        }
        for queue in 0..MAX_QUEUES {
            // Without asking whether something is there when it well may be.
            let likely = ready[tun + queue] || written & 1 << queue != 0;
            if likely && sources[tun + queue].is_some() {
                let turn = outgoing.turn(shared, orders, queue, Patience::Wait);
                if ready[tun + queue] {
                    from_tun.note(turn, crew);
                }
                if turn == Turn::Lost {
                    sources[tun..].fill(None);
                }
            }
        }
    }
}

#[cfg(not(unix))]
pub(super) fn tun_to_udp(shared: &Shared, stop: &Wake, crew: &Crew) {
    let (mut outgoing, mut pressure) = (Outgoing::new(shared), Pressure::default());
    let mut turn = Turn::More;
    while turn != Turn::Lost && crate::system::wait(shared.tun.readable(), stop, turn == Turn::Emptied) {
        turn = outgoing.turn(shared, &crew.orders, 0, Patience::Wait);
        pressure.note(turn, crew);
    }
}

#[cfg(not(unix))]
pub(super) fn udp_to_tun(shared: &Shared, stop: &Wake, crew: &Crew) {
    let (mut incoming, mut pressure) = (Incoming::new(shared), Pressure::default());
    let mut turn = Turn::More;
    while turn != Turn::Lost && crate::system::wait(shared.udp.readable(), stop, turn == Turn::Emptied) {
        turn = incoming.turn(shared, &crew.orders, Patience::Wait);
        pressure.note(turn, crew);
    }
}
