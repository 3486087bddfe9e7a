//! One interface: its configuration, Hello seqno, neighbours and output.

use crate::neighbour::Neighbour;
use crate::output::Output;
use crate::wire::Centis;
use crate::{Duration, InterfaceConfig, RouterId, entry::Key, seqno::Seqno};
use core::net::Ipv6Addr;
use std::collections::{BTreeMap, BTreeSet};

/// Shortest interval we announce and keep.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Longest interval that the wire can express.
const MAX_INTERVAL: Duration = Duration::from_millis(655_350);
/// While no neighbour is there, the first Hellos follow each other fast, so that a lost packet does not cost a
/// whole interval.
pub(crate) const GREETINGS: u8 = 8;
pub(crate) const FIRST_GREETING_WAIT: Duration = Duration::from_millis(150);
pub(crate) const LAST_GREETING_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) config: InterfaceConfig,
    /// The owner's word about the link.
    pub(crate) usable: bool,
    /// Both ends have agreed to say nothing unasked; see `speaker::quiet`.
    pub(crate) quiet: bool,
    /// What the neighbours may not have heard when that began.
    pub(crate) owed: Owed,
    /// While it is quiet, the neighbour that sleeps lets us raise its seqno.
    pub(crate) borrowed: Option<Borrowed>,
    /// Seqno of the next multicast Hello.
    pub(crate) hello_seqno: Seqno,
    /// Fast Hellos sent since the interface came up.
    pub(crate) greetings: u8,
    pub(crate) neighbours: BTreeMap<Ipv6Addr, Neighbour>,
    pub(crate) output: Output,
}

/// Updates that were to leave, or were not acknowledged, when an interface was silenced.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    pub(crate) updates: BTreeSet<Key>,
    pub(crate) dump: bool,
}

/// Seqnos that one who sleeps has lent to its neighbour, see `speaker::quiet`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Borrowed {
    pub(crate) origin: RouterId,
    /// The last one that the origin itself has told.
    pub(crate) told: Seqno,
}

impl Interface {
    pub(crate) fn new(mut config: InterfaceConfig, hello_seqno: Seqno) -> Self {
        config.rx_cost = config.rx_cost.clamp(1, crate::INFINITY - 1);
        config.hello_interval = clamp(config.hello_interval);
        config.update_interval = clamp(config.update_interval).max(config.hello_interval);
        Self {
            config,
            usable: true,
            quiet: false,
            owed: Owed::default(),
            borrowed: None,
            hello_seqno,
            greetings: 0,
            neighbours: BTreeMap::new(),
            output: Output::default(),
        }
    }

    pub(crate) fn set_hello_interval(&mut self, interval: Duration) {
        self.config.hello_interval = clamp(interval);
    }

    pub(crate) fn set_update_interval(&mut self, interval: Duration) {
        self.config.update_interval = clamp(interval).max(self.config.hello_interval);
    }

    pub(crate) fn hello_interval(&self) -> Centis {
        Centis::promising(self.config.hello_interval)
    }

    /// We send IHUs with every Hello or every third (see `ihu_due`), and promise the latter.
    pub(crate) fn ihu_interval(&self) -> Centis {
        Centis::promising(self.config.hello_interval * 3)
    }

    pub(crate) fn update_interval(&self) -> Centis {
        Centis::promising(self.config.update_interval)
    }

    /// On links with many members only every third Hello brings IHUs.
    pub(crate) fn ihu_due(&self) -> bool {
        self.neighbours.len() <= 8 || self.hello_seqno.0.is_multiple_of(3)
    }

    /// Largest UDP payload (RFC 8966 section 4).
    pub(crate) fn packet_limit(&self) -> usize {
        usize::from(self.config.mtu).saturating_sub(48).max(512)
    }

    pub(crate) fn neighbours_up(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.is_up())
            .map(|(address, _)| *address)
    }

    /// The far end of a point-to-point link.
    pub(crate) fn only_neighbour(&self) -> Option<Ipv6Addr> {
        let mut addresses = self.neighbours.keys();
        match (addresses.next(), addresses.next()) {
            (Some(address), None) if self.config.point_to_point => Some(*address),
            _ => None,
        }
    }

    /// The wait before the next Hello.
    pub(crate) fn hello_wait(&mut self) -> Duration {
        if self.greetings >= GREETINGS || self.neighbours_up().next().is_some() {
            self.greetings = GREETINGS;
            return self.config.hello_interval;
        }
        let wait = FIRST_GREETING_WAIT * (1 << self.greetings);
        self.greetings += 1;
        wait.min(LAST_GREETING_WAIT).min(self.config.hello_interval)
    }
}

fn clamp(interval: Duration) -> Duration {
    interval.clamp(MIN_INTERVAL, MAX_INTERVAL)
}
