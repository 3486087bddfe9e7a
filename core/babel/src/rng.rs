//! Jitter from a seed: SplitMix64, small and the same on every platform. Nothing here is secret.

use crate::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX - 1);
        low + Duration::from_micros(self.next() % (span + 1))
    }

    /// `interval` less up to an eighth: what is promised within `interval` happens within it.
    pub(crate) fn shortened(&mut self, interval: Duration) -> Duration {
        self.between(interval - interval / 8, interval)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds_and_follows_the_seed() {
        let (low, high) = (Duration::from_millis(10), Duration::from_millis(25));
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..100).map(|_| rng.between(low, high)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|d| (low..=high).contains(d)));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(Rng::new(3).between(low, low), low);
    }
}
