//! The world's randomness.

use core::time::Duration;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

/// Draws from a seed and a purpose.
#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(ChaCha8Rng::from_seed(derive(seed, purpose, &[])))
    }

    /// 0..`n`; `n` is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        fraction(self.0.next_u64()) < probability
    }

    /// 0..=`longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros + 1))
    }

    /// `count` different items in random order.
    pub(crate) fn sample<T: Clone>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut items = items.to_vec();
        let count = count.min(items.len());
        for i in 0..count {
            let j = i + self.below((items.len() - i) as u64) as usize;
            items.swap(i, j);
        }
        items.truncate(count);
        items
    }
}

/// 32 octets that depend on the seed, a purpose and some numbers.
pub(crate) fn derive(seed: u64, purpose: &str, numbers: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A fixed number in 0.0..1.0 for a seed, a purpose and some numbers.
pub(crate) fn fixed(seed: u64, purpose: &str, numbers: &[u64]) -> f64 {
    let [a, b, c, d, e, f, g, h, ..] = derive(seed, purpose, numbers);
    fraction(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
