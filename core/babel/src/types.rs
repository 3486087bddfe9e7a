//! What the speaker and its owner say to each other.

use crate::{Duration, Instant, IpNet, Standing};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// UDP port of the protocol (RFC 8966 section 4).
pub const PORT: u16 = 6696;
/// Link-local multicast group of the protocol (RFC 8966 section 4).
pub const MULTICAST: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 6);
/// The metric that means "unreachable" (RFC 8966 section 3.5.2).
pub const INFINITY: u16 = 0xffff;

/// Identifies the originator of a route (RFC 8966 section 2.7). Never all zeroes or all ones on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub [u8; 8]);

impl core::fmt::Display for RouterId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl core::fmt::Debug for RouterId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self}")
    }
}

/// The owner's name for an interface; to Babel, a tunnel is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

/// What a route is about: packets to `prefix` and, when there is a `source`, only those that come from it
/// (RFC 9079). Both must be of one family. A source of length 0 is none, and host bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    pub prefix: IpNet,
    pub source: Option<IpNet>,
}

impl From<IpNet> for RouteKey {
    fn from(prefix: IpNet) -> Self {
        Self { prefix, source: None }
    }
}

impl From<&IpNet> for RouteKey {
    fn from(prefix: &IpNet) -> Self {
        (*prefix).into()
    }
}

impl core::fmt::Display for RouteKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.source {
            None => write!(f, "{}", self.prefix),
            Some(source) => write!(f, "{} from {source}", self.prefix),
        }
    }
}

/// What the owner can forward by. Routes of other kinds are kept and shown, but never selected (RFC 9229
/// section 2.2), so neighbours do not send us traffic that we would drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// IPv4 routes with an IPv6 next hop (RFC 9229).
    pub v4_via_v6: bool,
    /// Source-specific IPv4 routes (RFC 9079).
    pub source_v4: bool,
    /// Source-specific IPv6 routes.
    pub source_v6: bool,
}

impl Default for Forwarding {
    /// Everything.
    fn default() -> Self {
        Self {
            v4_via_v6: true,
            source_v4: true,
            source_v6: true,
        }
    }
}

/// How the cost of a link follows from the Hellos received (RFC 8966 appendix A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostModel {
    /// 2-out-of-3 (A.2.1): nominal cost or infinity. For wired links.
    TwoOutOfThree,
    /// ETX (A.2.2): nominal cost divided by the delivery probability both ways. For lossy links and tunnels.
    Etx,
}

/// One interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    pub cost_model: CostModel,
    /// Nominal receive cost of a perfect link, 1..=65534; 96 is customary.
    pub rx_cost: u16,
    /// 10 ms..=655.35 s.
    pub hello_interval: Duration,
    /// Interval of full updates, at least the Hello interval.
    pub update_interval: Duration,
    /// Our address on the interface; source of our packets and IPv6 next hop.
    pub link_local: Ipv6Addr,
    /// Our IPv4 address on it: the next hop of IPv4 routes.
    pub ipv4: Option<Ipv4Addr>,
    /// Without an IPv4 address, IPv4 routes are announced with our IPv6 address as the next hop (RFC 9229);
    /// when this is `false` too, they are not announced on it.
    pub v4_via_v6: bool,
    /// MTU of the interface in octets; packets stay 48 octets below it (RFC 8966 section 4).
    pub mtu: u16,
    /// Routes are not announced back to the interface they are used over (RFC 8966 section 3.7.4). For
    /// point-to-point links and for links that reach all members alike.
    pub split_horizon: bool,
    /// Only one neighbour can exist here (a tunnel): packets may go by unicast instead of multicast.
    pub point_to_point: bool,
    /// Measure the round-trip time to each neighbour and let it raise the cost of the link (RFC 9616).
    /// `None`: no timestamps are sent, and the RTT plays no part.
    pub rtt: Option<RttCost>,
}

/// How much the round-trip time adds to a link's cost: nothing up to `min`, `cost` from `max` on, in proportion
/// between (RFC 9616 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RttCost {
    pub min: Duration,
    /// A `max` that is not above `min` makes it a step at `min`.
    pub max: Duration,
    /// Added from `max` on.
    pub cost: u16,
}

/// babeld's values for tunnels.
impl Default for RttCost {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(10),
            max: Duration::from_millis(120),
            cost: 150,
        }
    }
}

/// Speaker-wide parameters.
#[derive(Clone, Debug)]
pub struct Config {
    pub router_id: RouterId,
    /// First seqno of our own routes. Persist the newest ([`Event::SeqnoChanged`]) and start one above it,
    /// or neighbours that remember us will find our routes unfeasible until they forget (RFC 8966 3.7.3).
    pub seqno: u16,
    /// Seeds the jitter of timers.
    pub seed: u64,
    pub limits: Limits,
    pub forwarding: Forwarding,
}

/// Bounds on what neighbours can make us store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub neighbours_per_interface: usize,
    /// Distinct (prefix, source) entries in the route table.
    pub prefixes: usize,
    /// Prefixes one neighbour may have in our table.
    pub prefixes_per_neighbour: usize,
    pub pending_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            neighbours_per_interface: 256,
            prefixes: 1 << 20,
            prefixes_per_neighbour: 1 << 18,
            pending_requests: 4096,
        }
    }
}

/// What a received Update says, as shown to the [`Authority`].
#[derive(Clone, Copy, Debug)]
pub struct UpdateInfo {
    pub interface: InterfaceId,
    pub neighbour: Ipv6Addr,
    pub prefix: IpNet,
    /// Of a source-specific route (RFC 9079).
    pub source: Option<IpNet>,
    pub router_id: RouterId,
    pub seqno: u16,
    /// As received, before the link cost is added; [`INFINITY`] never reaches the authority.
    pub metric: u16,
}

/// Decision about one finite Update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// Accept, with this much added to the metric.
    Penalise(u16),
    /// Treated as a retraction of that neighbour's route: counted, never stored as usable.
    Refuse,
}

/// Who may say what. Retractions are always let through: they can only take away what the sender gave.
pub trait Authority {
    fn authorise(&mut self, update: &UpdateInfo) -> Verdict;
}

/// Accepts everything, as RFC 8966 alone does.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Authority for AcceptAll {
    fn authorise(&mut self, _: &UpdateInfo) -> Verdict {
        Verdict::Accept
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Multicast,
    Unicast(Ipv6Addr),
}

/// A packet to send from [`PORT`] to [`PORT`] with hop limit 1 from the interface's link-local address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub interface: InterfaceId,
    pub destination: Destination,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Where traffic for a prefix goes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Via {
        interface: InterfaceId,
        /// May be IPv6 for an IPv4 prefix (RFC 9229).
        next_hop: IpAddr,
        metric: u16,
        router_id: RouterId,
        seqno: u16,
    },
    /// Retracted and held: a covering prefix must not be used meanwhile (RFC 8966 section 3.5.4).
    Unreachable,
    /// Nothing is known any more: remove it.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Install, replace or remove the route to `prefix`, for packets from `source` only if there is one. Not emitted for prefixes we originate ourselves, except
    /// that [`Target::Gone`] follows when a prefix with a route becomes ours. A mere change of metric or seqno
    /// is no event: those in `target` are of the moment, [`crate::Speaker::selected`] has the present ones.
    RouteChanged {
        prefix: IpNet,
        source: Option<IpNet>,
        target: Target,
    },
    NeighbourUp {
        interface: InterfaceId,
        address: Ipv6Addr,
    },
    NeighbourDown {
        interface: InterfaceId,
        address: Ipv6Addr,
    },
    /// Our own seqno moved; persist it.
    SeqnoChanged(u16),
}

/// Why [`crate::Speaker::poll_timeout`] wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerReason {
    /// A buffered packet is due.
    Flush,
    Hello,
    Update,
    /// A neighbour's Hello or IHU is overdue.
    NeighbourDeadline,
    /// A route or source entry expires.
    RouteExpiry,
    /// A request is to be repeated or forgotten.
    Request,
}

/// A route as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub prefix: IpNet,
    /// Only packets from here take it (RFC 9079).
    pub source: Option<IpNet>,
    pub interface: InterfaceId,
    pub neighbour: Ipv6Addr,
    /// IPv6 also for an IPv4 prefix, when the neighbour says so (RFC 9229).
    pub next_hop: IpAddr,
    pub router_id: RouterId,
    pub seqno: u16,
    /// As announced by the neighbour.
    pub reference_metric: u16,
    /// With the link cost: what selection compares.
    pub metric: u16,
    pub feasible: bool,
    pub selected: bool,
    /// Why it is, or is not, the one in use.
    pub standing: Standing,
}

/// A prefix that was retracted and is held unreachable (RFC 8966 section 3.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldView {
    pub prefix: IpNet,
    pub source: Option<IpNet>,
    pub since: Instant,
    /// It ends then, or when the last neighbour acknowledged.
    pub until: Instant,
    /// Neighbours that were told of a route and have not acknowledged its retraction.
    pub awaiting: usize,
}

/// A neighbour as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourView {
    pub interface: InterfaceId,
    pub address: Ipv6Addr,
    pub cost: u16,
    pub rx_cost: u16,
    pub tx_cost: u16,
    /// Newest Hello in the lowest bit (A.1).
    pub hello_history: u16,
    pub last_heard: Option<Instant>,
    /// Smoothed round-trip time; `None` until enough samples came (RFC 9616).
    pub rtt: Option<Duration>,
}

/// Counters since start; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub packets_received: u64,
    pub packets_sent: u64,
    pub octets_received: u64,
    pub octets_sent: u64,
    /// Bad magic, version or length.
    pub malformed_packets: u64,
    /// TLVs ignored because they were malformed or held an unknown mandatory sub-TLV.
    pub ignored_tlvs: u64,
    /// Updates that the [`Authority`] refused.
    pub refused_updates: u64,
    /// Updates that an import rule denied, each copy of them.
    pub filtered_updates: u64,
    pub unfeasible_updates: u64,
    /// Things dropped because of [`Limits`].
    pub limit_drops: u64,
    pub route_changes: u64,
    /// Requests for a newer seqno of ours that were not granted, because they came in a flood.
    pub seqno_raises_refused: u64,
    /// Updates with our router-id and a newer seqno than ours: another node bears it too, or we restarted without
    /// our newest seqno.
    pub router_id_conflicts: u64,
    /// Packets dropped (or let through where we only sign) because no MAC in them was made with one of our keys (RFC 8967 section 4.3).
    pub mac_failed: u64,
    /// Packets dropped because they had no MAC, or no packet counter.
    pub mac_missing: u64,
    /// Packets dropped because their counter was used before or is too old.
    pub mac_replayed: u64,
    /// Challenges to neighbours whose packet counter we do not know (section 4.3.1).
    pub challenges_sent: u64,
    /// Challenges from neighbours, answered or not.
    pub challenges_received: u64,
}

impl Counters {
    /// All of them, by name.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // Without `..`, so that none is forgotten here.
        let Self {
            packets_received,
            packets_sent,
            octets_received,
            octets_sent,
            malformed_packets,
            ignored_tlvs,
            refused_updates,
            filtered_updates,
            unfeasible_updates,
            limit_drops,
            route_changes,
            seqno_raises_refused,
            router_id_conflicts,
            mac_failed,
            mac_missing,
            mac_replayed,
            challenges_sent,
            challenges_received,
        } = *self;
        [
            ("packets_received", packets_received),
            ("packets_sent", packets_sent),
            ("octets_received", octets_received),
            ("octets_sent", octets_sent),
            ("malformed_packets", malformed_packets),
            ("ignored_tlvs", ignored_tlvs),
            ("refused_updates", refused_updates),
            ("filtered_updates", filtered_updates),
            ("unfeasible_updates", unfeasible_updates),
            ("limit_drops", limit_drops),
            ("route_changes", route_changes),
            ("seqno_raises_refused", seqno_raises_refused),
            ("router_id_conflicts", router_id_conflicts),
            ("mac_failed", mac_failed),
            ("mac_missing", mac_missing),
            ("mac_replayed", mac_replayed),
            ("challenges_sent", challenges_sent),
            ("challenges_received", challenges_received),
        ]
        .into_iter()
    }
}
