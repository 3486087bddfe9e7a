//! Randomness of the operating system.

use ring::rand::{SecureRandom, SystemRandom};
use std::{io, time::Duration};

/// Fills an array.
///
/// # Errors
/// When the system gives none, which no supported system does once it has booted.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes)
}

/// `base`, a quarter shorter up to a quarter longer: so that nodes that failed together do not come back
/// together.
pub fn jitter(base: Duration) -> Duration {
    // Without randomness there is no jitter, which only matters in a crowd.
    let random = bytes::<4>().map_or(1 << 31, u32::from_le_bytes);
    let share = f64::from(random) / f64::from(u32::MAX);
    base.mul_f64(0.75 + share / 2.0)
}

/// Exponential back-off: `first` after one failure, doubling up to `most`, with jitter.
pub fn back_off(failures: u32, first: Duration, most: Duration) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    jitter(doubled.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(100));
        for (failures, expected) in [
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
            (7, 64.0),
            (8, 100.0),
            (40, 100.0),
            (u32::MAX, 100.0),
        ] {
            let got = back_off(failures, first, most).as_secs_f64();
            assert!(
                (0.75 * expected..=1.25 * expected).contains(&got),
                "{failures}: {got}"
            );
        }
    }
}
