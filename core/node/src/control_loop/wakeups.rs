//! How often this node woke the machine: what a battery is asked for.

use osier_proto::Instant;
use std::time::Duration;

/// What follows within this time of something else finds the machine awake.
const LULL: Duration = Duration::from_secs(1);

/// Times that a timer, a datagram for control or news from elsewhere came to the control task after a lull.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    count: u64,
    last: Option<Instant>,
}

impl Wakeups {
    pub(super) fn stir(&mut self, now: Instant) {
        if self.last.is_none_or(|at| now.saturating_since(at) > LULL) {
            self.count += 1;
        }
        self.last = Some(now);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_wakes_once() {
        let mut wakeups = Wakeups::default();
        for millis in [0, 900, 1800, 4000, 4100] {
            wakeups.stir(Instant::from_micros(millis * 1000));
        }
        assert_eq!(wakeups.count(), 2);
    }
}
