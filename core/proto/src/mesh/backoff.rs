//! How often an address may be tried: exponential back-off per endpoint, 1 s to 10 min, so that an address
//! which cannot be reached costs next to nothing, and one that can is not given up.

use crate::{Duration, Instant};
use core::net::SocketAddr;
use std::collections::BTreeMap;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);
/// Addresses remembered; beyond it the one that may be tried again soonest is forgotten.
const CAPACITY: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u8,
    retry_at: Instant,
}

#[derive(Debug, Default)]
pub struct Backoff(BTreeMap<SocketAddr, Entry>);

impl Backoff {
    /// When the address may be tried; `None`: now and always, as far as we know.
    pub fn ready_at(&self, address: &SocketAddr) -> Option<Instant> {
        self.0.get(address).map(|entry| entry.retry_at)
    }

    pub fn is_ready(&self, address: &SocketAddr, now: Instant) -> bool {
        self.ready_at(address).is_none_or(|at| at <= now)
    }

    /// How often it has failed in a row.
    pub fn failures(&self, address: &SocketAddr) -> u8 {
        self.0.get(address).map_or(0, |entry| entry.failures)
    }

    /// Nobody answered there.
    pub fn failed(&mut self, address: SocketAddr, now: Instant) {
        if self.0.len() >= CAPACITY
            && !self.0.contains_key(&address)
            && let Some(oldest) = self.0.iter().min_by_key(|(_, e)| e.retry_at).map(|(a, _)| *a)
        {
            self.0.remove(&oldest);
        }
        let entry = self.0.entry(address).or_insert(Entry {
            failures: 0,
            retry_at: now,
        });
        entry.failures = entry.failures.saturating_add(1);
        let doublings = u32::from(entry.failures - 1).min(10);
        entry.retry_at = now + (FIRST * 2u32.pow(doublings)).min(LONGEST);
    }

    pub fn succeeded(&mut self, address: &SocketAddr) {
        self.0.remove(address);
    }

    /// Our own network changed: what could not be reached from the old one may be from this.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    #[test]
    fn waits_twice_as_long_after_each_failure_up_to_ten_minutes() {
        let mut backoff = Backoff::default();
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert!(backoff.is_ready(&address(1), now));
            backoff.failed(address(1), now);
            let ready = backoff.ready_at(&address(1)).unwrap();
            assert!(!backoff.is_ready(&address(1), now));
            waits.push(ready.saturating_since(now).as_secs());
            now = ready;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        backoff.succeeded(&address(1));
        assert!(backoff.is_ready(&address(1), Instant::ZERO));
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let mut backoff = Backoff::default();
        for n in 0..=u16::MAX {
            backoff.failed(address(n), Instant::from_micros(n.into()));
        }
        assert_eq!(backoff.0.len(), CAPACITY);
        assert!(backoff.ready_at(&address(u16::MAX)).is_some());
    }
}
