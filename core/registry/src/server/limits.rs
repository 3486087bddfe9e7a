//! Token buckets per client address, in a table of bounded size.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What counts as one client: an IPv4 address, or the /64 that one host can choose its IPv6 addresses from.
pub(super) fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// So many per second for each client, and a burst.
#[derive(Debug)]
pub(super) struct RateLimiter {
    per_second: f64,
    burst: f64,
    capacity: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    clients: HashMap<IpAddr, Bucket>,
    /// For clients that find the table full.
    others: Bucket,
    swept: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RateLimiter {
    pub(super) fn new(per_second: f64, burst: f64, capacity: usize, now: Instant) -> Self {
        let others = Bucket {
            tokens: burst,
            filled: now,
        };
        let table = Mutex::new(Table {
            clients: HashMap::new(),
            others,
            swept: now,
        });
        Self {
            per_second,
            burst,
            capacity,
            table,
        }
    }

    /// Takes one, or says how long to wait.
    pub(super) fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut table, client_key(client), now);
        bucket.tokens = self.level(bucket, now);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second))
    }

    /// Whether [`Self::take`] would pass. For what costs something only when it fails: see [`Self::charge`].
    pub(super) fn check(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        let bucket = table.clients.get(&client_key(client));
        // A stranger's bucket is full, or that of the others when the table is.
        let others = (table.clients.len() >= self.capacity).then_some(&table.others);
        let level = bucket
            .or(others)
            .map_or(self.burst, |bucket| self.level(bucket, now));
        if level >= 1.0 {
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - level) / self.per_second))
        }
    }

    /// Takes one that was checked before. Several may have been checked at once, so the bucket can go below zero,
    /// by a burst at most.
    pub(super) fn charge(&self, client: IpAddr, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut table, client_key(client), now);
        bucket.tokens = (self.level(bucket, now) - 1.0).max(-self.burst);
        bucket.filled = now;
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        (bucket.tokens + elapsed * self.per_second).min(self.burst)
    }

    fn bucket<'t>(&self, table: &'t mut Table, client: IpAddr, now: Instant) -> &'t mut Bucket {
        let full = table.clients.len() >= self.capacity && !table.clients.contains_key(&client);
        // Forgets those with a full bucket; not more often than each second, because it looks at all.
        if full && now.saturating_duration_since(table.swept) >= Duration::from_secs(1) {
            table.swept = now;
            table
                .clients
                .retain(|_, bucket| self.level(bucket, now) < self.burst);
        }
        if full && table.clients.len() >= self.capacity {
            return &mut table.others;
        }
        table.clients.entry(client).or_insert(Bucket {
            tokens: self.burst,
            filled: now,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Instant::now();
        let limiter = RateLimiter::new(2.0, 3.0, 10, start);
        (0..3).for_each(|_| limiter.take(address(1), start).unwrap());
        let wait = limiter.take(address(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        limiter.take(address(2), start).unwrap();
        limiter.take(address(1), start + wait).unwrap();
        limiter.take(address(1), start + wait).unwrap_err();
    }

    #[test]
    fn only_what_is_charged_counts() {
        let start = Instant::now();
        let limiter = RateLimiter::new(1.0, 2.0, 10, start);
        (0..100).for_each(|_| limiter.check(address(1), start).unwrap());
        (0..100).for_each(|_| limiter.charge(address(1), start));
        assert_eq!(limiter.check(address(1), start), Err(Duration::from_secs(3)));
        limiter.check(address(2), start).unwrap();
        limiter.check(address(1), start + Duration::from_secs(3)).unwrap();
    }

    #[test]
    fn a_flood_of_addresses_shares_one_bucket_and_the_table_stays_small() {
        let start = Instant::now();
        let limiter = RateLimiter::new(1.0, 1.0, 100, start);
        let passed = (0..10_000)
            .filter(|&n| limiter.take(address(n), start).is_ok())
            .count();
        assert_eq!(passed, 101);
        assert_eq!(limiter.table.lock().unwrap().clients.len(), 100);
        // A second later all have recovered: they are forgotten and newcomers have room.
        let later = start + Duration::from_secs(1);
        limiter.take(address(20_000), later).unwrap();
        limiter.take(address(20_001), later).unwrap();
        assert_eq!(limiter.table.lock().unwrap().clients.len(), 2);
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_one_client() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
