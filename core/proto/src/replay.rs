//! Which messages of a peer were seen, whatever order they came in.

/// Counters further than this behind the newest are too old to tell.
const WINDOW: u64 = (WORDS as u64 - 1) * 64;
const WORDS: usize = 32;

/// Which counters were seen: a ring of bits (RFC 6479).
#[derive(Debug)]
pub(crate) struct Window {
    /// One above the highest counter.
    next: u64,
    seen: [u64; WORDS],
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            seen: [0; WORDS],
        }
    }

    /// Whether the counter is new; from then on it is not.
    pub(crate) fn accept(&mut self, counter: u64) -> bool {
        let Some(above) = counter.checked_add(1) else {
            return false;
        };
        if counter.saturating_add(WINDOW) < self.next {
            return false;
        }
        let word = counter / 64;
        if above > self.next {
            let newest = self.next.saturating_sub(1) / 64;
            let fresh = (word - newest).min(WORDS as u64);
            for w in word + 1 - fresh..=word {
                self.seen[(w % WORDS as u64) as usize] = 0;
            }
            self.next = above;
        }
        let bits = &mut self.seen[(word % WORDS as u64) as usize];
        let bit = 1 << (counter % 64);
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against a set of all counters seen.
    #[test]
    fn the_window_agrees_with_a_set() {
        let (mut window, mut seen, mut newest) = (Window::new(), BTreeSet::new(), 0u64);
        let mut state = 9u64;
        for round in 0..50_000u64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let around = if round % 500 == 0 { 5000 } else { 60 };
            let counter = (newest + state % around).saturating_sub(state >> 32 & 0x9ff);
            let is_old = newest > counter && newest - counter > WINDOW - 1;
            let expected = !is_old && seen.insert(counter);
            assert_eq!(window.accept(counter), expected, "{counter} with {newest}");
            newest = newest.max(counter);
        }
        assert!(!window.accept(u64::MAX));
        assert!(window.accept(u64::MAX - 1));
        assert!(!window.accept(newest));
    }
}
