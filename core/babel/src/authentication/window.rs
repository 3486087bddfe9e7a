//! Which packet counters were seen (RFC 9467 section 3.2).

/// Counters at and below the highest that are told apart.
const SIZE: u32 = u128::BITS;

/// The highest counter seen, and for each of the 128 up to it whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    highest: u32,
    /// The highest in the lowest bit.
    seen: u128,
}

impl Window {
    /// After a challenge: what is older than its own counter counts as seen. We may have believed it in an earlier
    /// life, and somebody may have kept it.
    pub(super) fn starting_at(counter: u32) -> Self {
        Self {
            highest: counter,
            seen: u128::MAX,
        }
    }

    /// Notes a counter. `false`: it was seen before, or is too old to know.
    pub(super) fn accept(&mut self, counter: u32) -> bool {
        if let Some(ahead) = counter.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if behind >= SIZE {
            return false;
        }
        let bit = 1 << behind;
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_counter_is_accepted_once() {
        let mut window = Window::starting_at(10);
        assert!(!window.accept(10));
        assert!(!window.accept(9), "from before the challenge");
        assert!(window.accept(12));
        assert!(window.accept(11));
        assert!(!window.accept(11));
        assert!(!window.accept(12));
    }

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let mut window = Window::starting_at(1);
        assert!(window.accept(1000));
        assert!(!window.accept(1000 - 128));
        assert!(window.accept(1000 - 127));
        assert!(window.accept(u32::MAX));
        assert!(!window.accept(1001));
        assert!(window.accept(u32::MAX - 127));
    }

    proptest! {
        /// The window is a set of all counters ever seen, of which it forgets the old ones.
        #[test]
        fn the_window_does_as_a_set_of_all_counters_would(
            start in 0u32..1000,
            steps in proptest::collection::vec((0u32..300, any::<bool>()), 1..200),
        ) {
            let mut window = Window::starting_at(start);
            let (mut seen, mut highest) = (BTreeSet::from([start]), start);
            for (step, ahead) in steps {
                let counter = if ahead { highest + step / 4 } else { highest.saturating_sub(step) };
                let expected = counter > start && counter.saturating_add(128) > highest && seen.insert(counter);
                prop_assert_eq!(window.accept(counter), expected, "{} of {}", counter, highest);
                highest = highest.max(counter);
            }
        }
    }
}
