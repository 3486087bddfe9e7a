//! What `osier babel dump --json` prints. The names are an interface for scripts: add, never rename.

use super::LinkKind;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// The state of a running `osier babel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Our own, 16 hexadecimal digits.
    pub router_id: String,
    /// Of our own routes.
    pub seqno: u16,
    /// Prefixes that we announce as ours.
    pub announced: Vec<IpNet>,
    pub interfaces: Vec<InterfaceReport>,
    /// Routes learnt from neighbours, selected or not, feasible or not.
    pub routes: Vec<RouteReport>,
    /// Retracted prefixes that the kernel answers with "unreachable" until no neighbour can still believe in them.
    #[serde(default)]
    pub held: Vec<HeldReport>,
    pub neighbours: Vec<NeighbourReport>,
    /// Counters since the start, by name: those of [`osier_babel::Counters`]; `foreign_packets`, which the
    /// socket let through but the protocol forbids (not from a link-local address and the Babel port with hop
    /// limit 1, or not to us); `unsent_packets`, which the system would not send (Babel repeats what matters);
    /// `kernel_errors`, route changes that the kernel refused.
    pub counters: BTreeMap<String, u64>,
}

/// One `-i`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceReport {
    pub dev: String,
    /// Whether we speak Babel on it at the moment.
    pub active: bool,
    pub link_local: Option<Ipv6Addr>,
    pub ipv4: Option<std::net::Ipv4Addr>,
    pub rx_cost: u16,
    #[serde(default)]
    pub kind: LinkKind,
    #[serde(default)]
    pub hello_ms: u64,
    #[serde(default)]
    pub update_ms: u64,
}

/// A prefix that is held unreachable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldReport {
    pub prefix: IpNet,
    pub src: Option<IpNet>,
    /// It ends then, or when the last neighbour acknowledged.
    pub seconds_left: f64,
    /// Neighbours that have not acknowledged the retraction.
    pub awaiting: usize,
}

/// One route of one neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteReport {
    pub prefix: IpNet,
    /// Source prefix of a source-specific route; null for an ordinary one.
    pub src: Option<IpNet>,
    /// The next hop.
    pub via: IpAddr,
    pub dev: String,
    /// The neighbour that announced it.
    pub neighbour: Ipv6Addr,
    /// With the cost of the link; 65535 is unreachable.
    pub metric: u16,
    /// As the neighbour announced it.
    pub refmetric: u16,
    pub router_id: String,
    pub seqno: u16,
    /// Whether the kernel forwards by it.
    pub installed: bool,
    /// Whether using it cannot make a loop (RFC 8966 section 3.5.1).
    pub feasible: bool,
    /// Whether it is the best feasible one; such a route is not installed when the kernel refused it.
    pub selected: bool,
    /// Why it is, or is not, in use: a name for scripts (see [`osier_babel::Standing`]) …
    pub state: String,
    /// … and a text for people.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourReport {
    pub addr: Ipv6Addr,
    pub dev: String,
    /// Of the link both ways; 65535 is unusable.
    pub cost: u16,
    pub rx_cost: u16,
    pub tx_cost: u16,
    /// Null when the neighbour does not let us measure it.
    pub rtt_ms: Option<f64>,
}
