//! Randomness from the seed: the same seed makes the same choices.

use crate::Duration;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 0..`n`; 0 for `n` of 0. The bias of the remainder is of no consequence here.
    pub fn below(&mut self, n: usize) -> usize {
        // The remainder is less than `n`, which is a usize.
        (self.draw() % (n.max(1) as u64)) as usize
    }

    /// 75 % to 125 % of it, so that nodes started together do not act together for ever.
    pub fn around(&mut self, duration: Duration) -> Duration {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 8);
        Duration::from_micros(micros - micros / 4 + self.draw() % (micros / 2 + 1))
    }

    /// Moves `count` randomly chosen items to the front, in random order.
    pub fn choose<T>(&mut self, items: &mut Vec<T>, count: usize) {
        for i in 0..count.min(items.len()) {
            let j = i + self.below(items.len() - i);
            items.swap(i, j);
        }
        items.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_same_distinct_items_for_the_same_seed() {
        let draw = |seed| {
            let mut items: Vec<u32> = (0..100).collect();
            Random::new([seed; 32]).choose(&mut items, 10);
            items
        };
        let mut drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 10);
    }

    #[test]
    fn jitter_keeps_to_a_quarter() {
        let mut random = Random::new([7; 32]);
        for _ in 0..1000 {
            let jittered = random.around(Duration::from_secs(4));
            assert!((Duration::from_secs(3)..=Duration::from_secs(5)).contains(&jittered));
        }
        assert_eq!(random.around(Duration::ZERO), Duration::ZERO);
    }
}
