//! One simulated host: a node that may run, what survives on its disk, and its place in the underlay.

use crate::underlay::Nat;
use core::net::{Ipv6Addr, SocketAddr};
use osier_dataplane::Forwarder;
use osier_proto::{
    Instant, IpNet, Node, Snapshot, certificate::Certificate, identity::SecretKeys, node::MeshParameters,
    record::Bundle, revocation::RevocationList,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Delivered packets that are kept.
const INBOX: usize = 1024;

/// Names a host; also its number in the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// What stands between a host and the underlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatOptions {
    #[default]
    None,
    /// A NAT that lets nobody in who was not sent to.
    Restricted,
    /// The same, with a port mapping that the host asked for.
    Mapped,
}

#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    pub nat: NatOptions,
    /// Besides its own; up to 7.
    pub more_prefixes: u32,
    pub mesh: MeshParameters,
}

/// Octets on the wire, IP and UDP headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sent_datagrams: u64,
    pub sent_octets: u64,
    /// Of these, all that are not pings.
    pub sent_control: u64,
    pub received_datagrams: u64,
    pub received_octets: u64,
}

impl core::ops::Sub for Traffic {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            sent_datagrams: self.sent_datagrams - earlier.sent_datagrams,
            sent_octets: self.sent_octets - earlier.sent_octets,
            sent_control: self.sent_control - earlier.sent_control,
            received_datagrams: self.received_datagrams - earlier.received_datagrams,
            received_octets: self.received_octets - earlier.received_octets,
        }
    }
}

/// What the shell keeps on disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) seqno: u16,
    pub(crate) record_sequence: u64,
    pub(crate) bundles: Vec<Bundle>,
    pub(crate) revocations: Option<RevocationList>,
}

#[derive(Debug)]
pub struct Host {
    pub(crate) id: HostId,
    pub(crate) options: HostOptions,
    pub(crate) keys: Arc<SecretKeys>,
    pub(crate) certificate: Certificate,
    pub(crate) disk: Disk,
    pub(crate) nat: Option<Nat>,
    /// Where its socket is bound.
    pub(crate) socket: SocketAddr,
    /// Whether it is in any network.
    pub(crate) is_connected: bool,
    /// Whether its machine is not suspended.
    pub(crate) is_awake: bool,
    /// Counts starts; events for an earlier life are ignored.
    pub(crate) boot: u32,
    pub(crate) node: Option<Node>,
    pub(crate) forwarder: Forwarder,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The wake-up that is scheduled.
    pub(crate) wake: Option<Instant>,
    pub(crate) traffic: Traffic,
    /// Changes of its forwarding table.
    pub(crate) table_changes: u64,
    pub(crate) delivered: u64,
    /// The newest of them.
    pub(crate) inbox: VecDeque<Vec<u8>>,
    /// Scheduled wake-ups by the node's reason.
    pub(crate) wakes: BTreeMap<&'static str, u64>,
    /// Set when the node said that a planned stop is complete.
    pub(crate) stopped: Option<Instant>,
}

impl Host {
    pub fn id(&self) -> HostId {
        self.id
    }

    pub fn is_running(&self) -> bool {
        self.node.is_some()
    }

    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub fn address(&self) -> Ipv6Addr {
        self.certificate.address()
    }

    pub fn prefix(&self) -> IpNet {
        self.certificate.prefixes[0]
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub fn table_changes(&self) -> u64 {
        self.table_changes
    }

    /// Packets for the host itself that were neither answered nor probes.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The newest of those packets, oldest first.
    pub fn inbox(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.inbox.iter().map(Vec::as_slice)
    }

    pub(crate) fn deliver(&mut self, packet: Vec<u8>) {
        self.delivered += 1;
        self.inbox.push_back(packet);
        if self.inbox.len() > INBOX {
            self.inbox.pop_front();
        }
    }

    /// How often the node wanted to be woken, by its reasons.
    pub fn wakes(&self) -> &BTreeMap<&'static str, u64> {
        &self.wakes
    }

    /// When a planned stop was complete.
    pub fn stopped(&self) -> Option<Instant> {
        self.stopped
    }
}
