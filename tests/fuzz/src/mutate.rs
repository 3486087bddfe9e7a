//! Deterministic mutations, in the manner of libFuzzer's own.

/// Longest input that mutations make, in octets.
const MAX_INPUT: usize = 8192;
/// Values at the edges of fields.
const EDGES: [u8; 10] = [0, 1, 0x17, 0x18, 0x7f, 0x80, 0xfe, 0xff, 4, 0x40];

/// Small generator of fixed output (xorshift64*), so that a failing run can be repeated.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0..bound; 0 for an empty range.
    pub fn below(&mut self, bound: usize) -> usize {
        // A modulus by at least 1 fits wherever `bound` did.
        (self.number() >> 11) as usize % bound.max(1)
    }

    fn octet(&mut self) -> u8 {
        if self.below(2) == 0 {
            EDGES[self.below(EDGES.len())]
        } else {
            self.number() as u8
        }
    }

    fn range(&mut self, length: usize) -> core::ops::Range<usize> {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(64) + 1);
        start..end
    }
}

/// Changes `data` in one to four ways; `other` is an input to take parts of.
pub fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(9) {
            0 | 1 if !data.is_empty() => data[at] ^= 1 << random.below(8),
            2 if !data.is_empty() => data[at] = random.octet(),
            3 if data.len() > 1 => {
                let at = random.below(data.len() - 1);
                let value = [0, 1, 0x7fff, 0x8000, 0xffff, data.len() as u16][random.below(6)];
                data[at..at + 2].copy_from_slice(&value.to_be_bytes());
            }
            4 => data.insert(at, random.octet()),
            5 => drop(data.drain(random.range(data.len()))),
            6 => data.truncate(random.below(data.len() + 1)),
            7 => {
                let part = data[random.range(data.len())].to_vec();
                data.splice(at..at, part);
            }
            _ => {
                let part = other[random.range(other.len())].to_vec();
                let end = data
                    .len()
                    .min(at + if random.below(2) == 0 { part.len() } else { 0 });
                data.splice(at..end, part);
            }
        }
    }
    data.truncate(MAX_INPUT);
}
