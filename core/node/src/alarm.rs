//! The control task's alarm clock.
//!
//! On Linux a timer descriptor on `CLOCK_BOOTTIME`: it goes off right after the machine has slept past its time,
//! where tokio's own timers would go on waiting for what was left of it, and it wakes the task once for each
//! deadline, where tokio's timer wheel needs several wake-ups for a distant one. Elsewhere tokio's timers.

use osier_proto::{Duration, Instant};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::{Duration, Instant};
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use std::{io, os::fd::OwnedFd};
    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    pub(crate) struct Alarm {
        timer: AsyncFd<OwnedFd>,
        set: Option<Instant>,
    }

    impl Alarm {
        /// Needs a tokio runtime.
        pub(crate) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)?;
            // SAFETY: an OwnedFd stays open, and the same, until the AsyncFd that owns it is dropped.
            let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
            Ok(Self {
                timer: timer.map_err(io::Error::from)?,
                set: None,
            })
        }

        /// Goes off at `at` instead of when it was set to; `None`: never.
        pub(crate) fn set(&mut self, at: Option<Instant>, now: Instant) {
            if self.set == at {
                return;
            }
            self.set = at;
            let delay = match at {
                // Zero would disarm it.
                Some(at) => at.saturating_since(now).max(Duration::from_nanos(1)),
                None => Duration::ZERO,
            };
            let value = Itimerspec {
                it_interval: Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                it_value: Timespec {
                    // No timer is set for longer than the time line.
                    tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: delay.subsec_nanos().into(),
                },
            };
            // Fails for malformed times only, which these are not.
            let _ = rustix::time::timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &value);
        }

        /// Returns when it has gone off. May be cancelled.
        pub(crate) async fn rings(&mut self) {
            loop {
                // Fails when the runtime shuts down: then nothing rings any more.
                let Ok(mut guard) = self.timer.readable().await else {
                    return std::future::pending().await;
                };
                let read = guard.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?));
                if let Ok(Ok(_)) = read {
                    // Read empty, which only another ringing changes.
                    guard.clear_ready();
                    self.set = None;
                    return;
                }
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::{Duration, Instant};
    use std::io;

    #[derive(Debug)]
    pub(crate) struct Alarm {
        set: Option<(Instant, tokio::time::Instant)>,
    }

    impl Alarm {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self { set: None })
        }

        pub(crate) fn set(&mut self, at: Option<Instant>, now: Instant) {
            let delay = |at: Instant| at.saturating_since(now).max(Duration::ZERO);
            if self.set.map(|(at, _)| at) != at {
                self.set = at.map(|at| (at, tokio::time::Instant::now() + delay(at)));
            }
        }

        pub(crate) async fn rings(&mut self) {
            match self.set {
                Some((_, moment)) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
            self.set = None;
        }
    }
}

pub(crate) use system::Alarm;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const FAR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn rings_at_its_time_and_once() {
        let clock = Clock::new();
        let mut alarm = Alarm::new().unwrap();
        let at = clock.now() + Duration::from_millis(20);
        alarm.set(Some(at), clock.now());
        alarm.rings().await;
        assert!(clock.now() >= at);
        tokio::select! {
            biased;
            () = alarm.rings() => panic!("it rang twice"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn earlier_time_replaces_a_later_one_and_the_past_rings_at_once() {
        let clock = Clock::new();
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(clock.now() + FAR), clock.now());
        alarm.set(Some(clock.now()), clock.now());
        alarm.rings().await;
        alarm.set(Some(Instant::ZERO), clock.now());
        alarm.rings().await;
    }

    #[tokio::test]
    async fn alarm_that_was_turned_off_stays_silent() {
        let clock = Clock::new();
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(clock.now() + Duration::from_millis(1)), clock.now());
        alarm.set(None, clock.now());
        let rang = tokio::time::timeout(Duration::from_millis(50), alarm.rings()).await;
        assert!(rang.is_err());
    }
}
