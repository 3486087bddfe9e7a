//! What one host costs its owner: the octets that pass its interface, by what they say, and how often it has to
//! wake for them.

use crate::{HostId, World, breakdown::Breakdown};
use core::time::Duration;
use osier_proto::Instant;
use std::collections::BTreeMap;

/// A radio that has had nothing to do for this long goes back to sleep.
const LULL: Duration = Duration::from_secs(1);

/// Counts from when it is put on a host.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    pub sent: Breakdown,
    pub received: Breakdown,
    /// Times that the host had to wake: a datagram that leaves or arrives, or a timer of the node's, more than a
    /// second after the last such event. What follows within a second of another belongs to the same burst.
    pub wakeups: u64,
    /// What began them.
    pub causes: BTreeMap<String, u64>,
    last: Option<Instant>,
}

impl Meter {
    /// Something happened that the host is awake for.
    pub(crate) fn stir(&mut self, cause: &str, now: Instant) {
        if self.last.is_none_or(|at| now.saturating_since(at) > LULL) {
            self.wakeups += 1;
            *self.causes.entry(cause.to_owned()).or_default() += 1;
        }
        self.last = Some(now);
    }

    pub(crate) fn sends(&mut self, datagram: &[u8], now: Instant) {
        let kind = self.sent.add(datagram).1;
        self.stir(&format!("sending {kind}"), now);
    }

    pub(crate) fn receives(&mut self, datagram: &[u8], now: Instant) {
        let kind = self.received.add(datagram).1;
        self.stir(&format!("receiving {kind}"), now);
    }

    /// Octets both ways, with the headers of UDP and IPv4.
    pub fn octets(&self) -> u64 {
        let directions = [&self.sent, &self.received];
        let counts = directions.iter().flat_map(|d| d.datagrams.values());
        counts.map(|count| count.octets).sum()
    }

    pub fn datagrams(&self) -> u64 {
        let directions = [&self.sent, &self.received];
        let counts = directions.iter().flat_map(|d| d.datagrams.values());
        counts.map(|count| count.number).sum()
    }
}

impl World {
    /// Counts from now on what a host costs.
    pub fn measure(&mut self, host: HostId) {
        self.meters.insert(host, Meter::default());
    }

    /// What a host has cost since [`World::measure`].
    pub fn meter(&self, host: HostId) -> Option<&Meter> {
        self.meters.get(&host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_within_a_second_wakes_nobody() {
        let mut meter = Meter::default();
        for millis in [0, 900, 1800, 4000, 4100] {
            meter.stir("test", Instant::from_micros(millis * 1000));
        }
        assert_eq!(meter.wakeups, 2);
        assert_eq!(meter.causes["test"], 2);
    }
}
