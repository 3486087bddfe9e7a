//! The clock of a node: time that passes while the machine sleeps counts.
//!
//! Certificates, leases and neighbours' timers do not stop when a laptop is closed, so on Linux the clock is
//! `CLOCK_BOOTTIME`. The mapping from raw readings to the node's [`Instant`] is a value of its own,
//! [`Timeline`], which is pure and tested; [`Clock`] only reads.

use osier_proto::{Instant, wallclock::UnixTime};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where a node's time begins. Not zero, so that "an hour before the start" can be said.
const START: Duration = Duration::from_secs(100_000);

/// Maps raw readings (microseconds of some clock) to [`Instant`]s that never go back, whatever the raw clock
/// does, and begin at a fixed value.
#[derive(Debug)]
pub struct Timeline {
    origin: u64,
    latest: AtomicU64,
}

impl Timeline {
    pub fn new(origin: u64) -> Self {
        Self {
            origin,
            latest: AtomicU64::new(START.as_micros() as u64),
        }
    }

    /// The instant of a reading. Several threads may call this; none sees time go back behind what another
    /// one's finished call returned.
    pub fn at(&self, raw: u64) -> Instant {
        let here = raw
            .saturating_sub(self.origin)
            .saturating_add(START.as_micros() as u64);
        let before = self.latest.fetch_max(here, Ordering::Relaxed);
        Instant::from_micros(here.max(before))
    }
}

/// Reads the system's clock. Shared by all threads of a node.
#[derive(Debug)]
pub struct Clock {
    timeline: Timeline,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    start: std::time::Instant,
}

impl Clock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn new() -> Self {
        Self {
            timeline: Timeline::new(boottime()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn new() -> Self {
        Self {
            timeline: Timeline::new(0),
            start: std::time::Instant::now(),
        }
    }

    pub fn now(&self) -> Instant {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let raw = boottime();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let raw = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.timeline.at(raw)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boottime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (time.tv_sec as u64)
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec as u64 / 1000)
}

/// Civil time now. A clock before 1970 reads as 1970.
pub fn unix_time() -> UnixTime {
    UnixTime(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
    )
}

/// Civil time in milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_asleep_counts() {
        let line = Timeline::new(5_000_000);
        let before = line.at(6_000_000);
        let after = line.at(6_000_000 + 3_600_000_000);
        assert_eq!(after.saturating_since(before), Duration::from_secs(3600));
    }

    #[test]
    fn time_never_goes_back() {
        let line = Timeline::new(1000);
        let late = line.at(9000);
        assert_eq!(line.at(4000), late);
        assert_eq!(line.at(0), late);
        assert!(line.at(9001) > late);
    }

    #[test]
    fn first_instant_leaves_room_for_the_past() {
        let line = Timeline::new(77);
        assert_eq!(line.at(77), Instant::ZERO + START);
    }

    #[test]
    fn extreme_readings_saturate() {
        let line = Timeline::new(0);
        let _ = line.at(u64::MAX);
        assert_eq!(line.at(u64::MAX).as_micros(), u64::MAX);
    }

    #[test]
    fn real_clock_moves_forward() {
        let clock = Clock::new();
        let first = clock.now();
        while clock.now() == first {
            std::thread::yield_now();
        }
        assert!(clock.now() > first);
    }
}
