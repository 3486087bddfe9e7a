//! Counting: what was refused or dropped, by name. What was carried is counted by the data plane, per tunnel
//! ([`crate::snapshot::TunnelHandle`]) and per origin ([`crate::fib::Fib::origins`]); [`carried`] adds it up for
//! people.

use crate::{IpNet, fib::Fib, snapshot::TunnelHandle};
use std::collections::BTreeMap;

/// Named counters that only rise. Names are constants of the program, so their number is bounded.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub fn add(&mut self, name: &'static str, count: u64) {
        let counter = self.0.entry(name).or_default();
        *counter = counter.saturating_add(count);
    }

    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// In name order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

/// Octets of IPv6 packets that went over a tunnel, by whose they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub sent_own: u64,
    pub sent_transit: u64,
    pub received_own: u64,
    pub received_transit: u64,
    pub control: u64,
}

impl Carried {
    /// Everything but control.
    pub fn data(&self) -> u64 {
        self.sent_own + self.sent_transit + self.received_own + self.received_transit
    }
}

impl core::ops::AddAssign for Carried {
    fn add_assign(&mut self, other: Self) {
        self.sent_own += other.sent_own;
        self.sent_transit += other.sent_transit;
        self.received_own += other.received_own;
        self.received_transit += other.received_transit;
        self.control += other.control;
    }
}

pub fn carried(tunnel: &TunnelHandle) -> Carried {
    let (sent, received) = (tunnel.sent(), tunnel.received());
    Carried {
        sent_own: sent.own.octets,
        sent_transit: sent.transit.octets,
        received_own: received.own.octets,
        received_transit: received.transit.octets,
        control: sent.control.octets + received.control.octets,
    }
}

/// Packets and octets seen from each origin, by its prefix.
pub fn origins(fib: &Fib) -> Vec<(IpNet, u64, u64)> {
    fib.origins()
        .map(|(prefix, counters)| (prefix, counters.packets(), counters.octets()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_name() {
        let mut counters = Counters::default();
        counters.count("b");
        counters.add("a", 3);
        counters.count("b");
        assert_eq!(counters.iter().collect::<Vec<_>>(), [("a", 3), ("b", 2)]);
        assert_eq!(counters.get("c"), 0);
    }
}
