//! How long packets take to a neighbour and back, and what that costs (RFC 9616).
//!
//! Every Hello bears the time when it was sent. An IHU brings back the newest such time of ours with the time
//! when it arrived there, and shares its packet with a Hello: the time since, less the time that the neighbour
//! held it, is a sample. No clock is compared with another.

use crate::wire::Echo;
use crate::{Duration, RttCost};

/// Older timestamps are of another life, or have wrapped (section 3.3).
const OLDEST: u32 = 180_000_000;
/// Weight of what was known against a new sample, in thousandths (section 4.1, as babeld).
const MEMORY: u64 = 836;
/// Samples before the first estimate, which is their least: a new neighbour is busy with other things, and an
/// estimate that starts too high takes many samples to come down.
const FIRST_SAMPLES: u8 = 3;
/// A clock that runs faster than ours may make a short time negative: by this share of the time between two
/// Hellos, and a little for its resolution.
const DRIFT: u32 = 1000;
const RESOLUTION: u32 = 1000;
/// The penalty does not follow changes below this share of its greatest value.
const NOISE: u16 = 16;

/// What is known of one neighbour. Timestamps are microseconds modulo 2^32.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// For our next IHU.
    echo: Option<Echo>,
    /// Samples so far, up to [`FIRST_SAMPLES`].
    samples: u8,
    /// Smoothed, in microseconds.
    estimate: u32,
    penalty: u16,
}

impl Rtt {
    /// The neighbour's last Hello, for an IHU to send back.
    pub(crate) fn echo(&self) -> Option<Echo> {
        self.echo
    }

    pub(crate) fn estimate(&self) -> Option<Duration> {
        (self.samples >= FIRST_SAMPLES).then(|| Duration::from_micros(self.estimate.into()))
    }

    /// What it adds to the link's cost.
    pub(crate) fn penalty(&self) -> u16 {
        self.penalty
    }

    /// Takes the timestamps of a packet that came at `now`: its Hello's, and its IHU's if that was for us.
    /// `true`: the penalty changed.
    pub(crate) fn heard(&mut self, hello: u32, ihu: Option<Echo>, now: u32, config: &RttCost) -> bool {
        self.echo = Some(Echo {
            origin: hello,
            received: now,
        });
        let Some(sample) = ihu.and_then(|echo| sample(hello, echo, now)) else {
            return false;
        };
        if self.samples < FIRST_SAMPLES {
            self.estimate = if self.samples == 0 {
                sample
            } else {
                self.estimate.min(sample)
            };
            self.samples += 1;
        } else {
            let mixed = u64::from(self.estimate) * MEMORY + u64::from(sample) * (1000 - MEMORY);
            self.estimate = u32::try_from(mixed / 1000).unwrap_or(u32::MAX);
        }
        let Some(estimate) = self.estimate() else {
            return false;
        };
        let penalty = penalty(estimate, config);
        let moved = penalty.abs_diff(self.penalty);
        let at_an_end = penalty == 0 || penalty == config.cost;
        if moved == 0 || (moved < config.cost / NOISE && !at_an_end) {
            return false;
        }
        self.penalty = penalty;
        true
    }
}

/// The round-trip time that a packet shows, in microseconds; none when its timestamps make no sense.
fn sample(hello: u32, echo: Echo, now: u32) -> Option<u32> {
    let (since, held) = (now.wrapping_sub(echo.origin), hello.wrapping_sub(echo.received));
    // What lies in the future wraps and looks very old.
    if since > OLDEST || held > OLDEST || held > since + since / DRIFT + RESOLUTION {
        return None;
    }
    Some(since.saturating_sub(held))
}

/// Flat up to `min`, flat from `max`, in proportion between.
fn penalty(rtt: Duration, config: &RttCost) -> u16 {
    if rtt <= config.min {
        return 0;
    }
    if rtt >= config.max {
        return config.cost;
    }
    let share = u128::from(config.cost) * (rtt - config.min).as_micros();
    // Less than `cost`, as the time is below `max`.
    u16::try_from(share / (config.max - config.min).as_micros().max(1)).unwrap_or(config.cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: RttCost = RttCost {
        min: Duration::from_millis(10),
        max: Duration::from_millis(120),
        cost: 150,
    };

    fn echo(origin: u32, received: u32) -> Option<Echo> {
        Some(Echo { origin, received })
    }

    /// Hears a packet that shows a round trip of `rtt` microseconds.
    fn hear(state: &mut Rtt, rtt: u32) -> bool {
        let (now, held) = (50_000_000, 1_000_000);
        state.heard(7_000_000, echo(now - held - rtt, 7_000_000 - held), now, &CONFIG)
    }

    fn millis(state: &Rtt) -> Option<u128> {
        state.estimate().map(|estimate| estimate.as_millis())
    }

    #[test]
    fn the_cost_is_flat_then_rises_then_is_flat() {
        let at = |millis| penalty(Duration::from_millis(millis), &CONFIG);
        assert_eq!([0, 10, 65, 120, 5000].map(at), [0, 0, 75, 150, 150]);
        assert_eq!([11, 119].map(at), [1, 148]);
        let step = RttCost {
            max: CONFIG.min,
            ..CONFIG
        };
        assert_eq!(penalty(CONFIG.min, &step), 0);
        assert_eq!(penalty(CONFIG.min + Duration::from_micros(1), &step), 150);
    }

    #[test]
    fn the_first_samples_give_their_least_and_then_are_smoothed() {
        let mut state = Rtt::default();
        hear(&mut state, 300_000);
        hear(&mut state, 60_000);
        assert_eq!((state.estimate(), state.penalty()), (None, 0));
        assert!(hear(&mut state, 90_000));
        assert_eq!((millis(&state), state.penalty()), (Some(60), 68));
        hear(&mut state, 160_000);
        assert_eq!(state.estimate(), Some(Duration::from_micros(76_400)));
    }

    #[test]
    fn one_late_packet_is_no_slow_link_and_a_slow_link_is_noticed() {
        let mut state = Rtt::default();
        for _ in 0..10 {
            hear(&mut state, 1_000);
        }
        hear(&mut state, 50_000);
        assert_eq!(state.penalty(), 0);
        for _ in 0..30 {
            hear(&mut state, 200_000);
        }
        assert_eq!(state.penalty(), 150);
        for _ in 0..30 {
            hear(&mut state, 1_000);
        }
        assert_eq!(state.penalty(), 0);
    }

    #[test]
    fn noise_leaves_the_penalty_alone() {
        let mut state = Rtt::default();
        for _ in 0..3 {
            hear(&mut state, 60_000);
        }
        let before = state.penalty();
        let changes = (0..200).filter(|n| hear(&mut state, if n % 2 == 0 { 70_000 } else { 52_000 }));
        assert_eq!(changes.count(), 0);
        assert_eq!(state.penalty(), before);
    }

    #[test]
    fn nonsense_and_old_timestamps_give_no_sample() {
        let good = Echo {
            origin: 49_000_000,
            received: 6_500_000,
        };
        assert_eq!(sample(7_000_000, good, 50_000_000), Some(500_000));
        let future = Echo {
            origin: 50_000_001,
            ..good
        };
        assert_eq!(sample(7_000_000, future, 50_000_000), None);
        assert_eq!(sample(7_000_000, good, 49_000_000 + 180_000_001), None);
        let received_after_it_was_sent_back = Echo {
            received: 7_000_001,
            ..good
        };
        assert_eq!(
            sample(7_000_000, received_after_it_was_sent_back, 50_000_000),
            None
        );
        let held_longer_than_it_took = Echo {
            received: 5_000_000,
            ..good
        };
        assert_eq!(sample(7_000_000, held_longer_than_it_took, 50_000_000), None);
        let a_little_drift = Echo {
            received: 5_999_000,
            ..good
        };
        assert_eq!(sample(7_000_000, a_little_drift, 50_000_000), Some(0));
    }

    #[test]
    fn a_packet_without_a_sample_still_sets_what_we_send_back() {
        let mut state = Rtt::default();
        assert!(!state.heard(5, None, 77, &CONFIG));
        assert_eq!(state.echo(), echo(5, 77));
        assert!(!state.heard(6, echo(1000, 5), 88, &CONFIG));
        assert_eq!(state.echo(), echo(6, 88));
        assert_eq!(state.samples, 0);
    }

    proptest! {
        #[test]
        fn any_clocks_give_the_same_round_trip(
            ours: u32, theirs: u32, there in 0u32..1_000_000, held in 0u32..100_000_000, back in 0u32..1_000_000,
        ) {
            let received = theirs.wrapping_add(there);
            let hello = received.wrapping_add(held);
            let now = ours.wrapping_add(there + held + back);
            let echo = Echo { origin: ours, received };
            prop_assert_eq!(sample(hello, echo, now), Some(there + back));
        }

        #[test]
        fn any_timestamps_give_a_sample_of_at_most_three_minutes(hello: u32, origin: u32, received: u32, now: u32) {
            let sample = sample(hello, Echo { origin, received }, now);
            prop_assert!(sample.is_none_or(|sample| sample <= OLDEST));
        }
    }
}
