//! How many handshakes are answered: buckets of tokens that refill with time, of a fixed number, so that nobody
//! can make them use more memory.

use crate::{Instant, sync::lock};
use core::net::IpAddr;
use std::sync::Mutex;

/// Sources that share a bucket when their hashes agree: enough that few members do, little enough for any machine
/// (16 octets each).
const SOURCES: usize = 4096;

/// So many at once, and so many a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(pub(super) u64);

impl Rate {
    /// Microseconds that one token takes to come back.
    fn interval(self) -> u64 {
        1_000_000 / self.0.max(1)
    }
}

/// When all tokens will be back; that alone says how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: u64,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let now = now.as_micros();
        let full_at = self.full_at.max(now);
        let missing = full_at - now;
        if rate.0 == 0 || missing + rate.interval() > 1_000_000 {
            return false;
        }
        self.full_at = full_at + rate.interval();
        true
    }
}

/// One bucket for everybody together.
#[derive(Debug)]
pub(super) struct Load {
    rate: Rate,
    bucket: Mutex<Bucket>,
}

impl Load {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            bucket: Mutex::default(),
        }
    }

    /// Whether one more is too many.
    pub(super) fn is_exceeded(&self, now: Instant) -> bool {
        self.rate.0 != u64::MAX && !lock(&self.bucket).take(self.rate, now)
    }
}

/// A bucket for each source address: IPv4 addresses, and networks of 64 bits, which is what one customer has.
#[derive(Debug)]
pub(super) struct Sources {
    rate: Rate,
    /// Nobody else can tell which sources share a bucket.
    key: [u8; 32],
    buckets: Mutex<Box<[Bucket]>>,
}

impl Sources {
    pub(super) fn new(rate: Rate, key: [u8; 32]) -> Self {
        Self {
            rate,
            key,
            buckets: Mutex::new(vec![Bucket::default(); SOURCES].into_boxed_slice()),
        }
    }

    pub(super) fn admit(&self, source: IpAddr, now: Instant) -> bool {
        let place = self.place(source);
        lock(&self.buckets)[place].take(self.rate, now)
    }

    fn place(&self, source: IpAddr) -> usize {
        let mut network = [0; 9];
        match source {
            IpAddr::V4(address) => network[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => {
                network[..8].copy_from_slice(&address.octets()[..8]);
                network[8] = 6;
            }
        }
        let hash = blake3::keyed_hash(&self.key, &network);
        let [a, b, ..] = *hash.as_bytes();
        usize::from(u16::from_le_bytes([a, b])) % SOURCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn taken(load: &Load, now: Instant) -> usize {
        (0..1000).take_while(|_| !load.is_exceeded(now)).count()
    }

    #[test]
    fn tokens_come_back_with_time_and_do_not_heap_up() {
        let load = Load::new(Rate(200));
        assert_eq!(taken(&load, at(1000)), 200);
        assert_eq!(taken(&load, at(1000)), 0);
        assert_eq!(taken(&load, at(1100)), 20);
        assert_eq!(taken(&load, at(100_000)), 200);
        // A clock that steps back does no harm for longer than a second.
        assert_eq!(taken(&load, at(99_000)), 0);
    }

    #[test]
    fn no_tokens_and_all_tokens() {
        assert!(Load::new(Rate(0)).is_exceeded(at(5000)));
        let load = Load::new(Rate(u64::MAX));
        assert_eq!(taken(&load, at(1)), 1000);
    }

    #[test]
    fn one_source_does_not_use_up_what_others_have() {
        let sources = Sources::new(Rate(5), [1; 32]);
        let greedy = [198, 51, 100, 1].into();
        let admitted = (0..100).filter(|_| sources.admit(greedy, at(1))).count();
        assert_eq!(admitted, 5);
        let others = (0..200u8).map(|n| IpAddr::from([203, 0, 113, n]));
        let denied = others.filter(|source| !sources.admit(*source, at(1))).count();
        assert!(denied <= 2, "{denied} share its bucket");
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let sources = Sources::new(Rate(5), [1; 32]);
        let address = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, host]);
        let admitted = (0..100).filter(|n| sources.admit(address(*n), at(1))).count();
        assert_eq!(admitted, 5);
    }
}
