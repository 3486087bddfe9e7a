//! Chance from a seed.

/// Numbers that look random and are the same for the same seed everywhere (a Weyl sequence, well mixed).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Two numbers to one; a seed for each of many independent streams.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    for _ in 0..2 {
        x ^= x >> 32;
        x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    x ^ (x >> 32)
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed, 1))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0, 2)
    }

    /// From 0 to `bound - 1`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is far below anything that matters here.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
