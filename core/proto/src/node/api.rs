//! What goes into a node and what comes out of it, as plain data.

use crate::{
    Duration, Instant, IpNet, RouterId,
    certificate::Certificate,
    identity::{NodeId, SecretKeys},
    network::Network,
    record::{Bundle, Endpoint},
    revocation::RevocationList,
    tunnel::{Cipher, TunnelId},
    wallclock::UnixTime,
};
use core::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What a node is built from; with a seed and the time it determines everything that follows.
pub struct Config {
    pub keys: Arc<SecretKeys>,
    pub certificate: Certificate,
    pub network: Network,
    pub revocations: Option<RevocationList>,
    /// Known members from the disk cache or the registry. Each is verified; bad ones are counted and left out.
    pub bundles: Vec<Bundle>,
    pub mesh: MeshParameters,
    pub engine: Engine,
    /// First Babel seqno: one above the last persisted.
    pub seqno: u16,
    /// Civil time at `now`.
    pub wall_clock: UnixTime,
    /// Last record sequence that was published.
    pub record_sequence: u64,
}

impl core::fmt::Debug for Config {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Config")
            .field("certificate", &self.certificate)
            .field("network", &self.network)
            .field("bundles", &self.bundles.len())
            .field("mesh", &self.mesh)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// Which session engine the tunnels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    WireGuard {
        /// Whether AES-256-GCM is used where both ends have instructions for it.
        aes: bool,
    },
    /// No encryption at all: simulations only.
    Plain,
}

/// Neighbour choice (DESIGN section 5).
#[derive(Clone, Debug)]
pub struct MeshParameters {
    /// Outgoing tunnels to keep; 6 by default, so that nodes have about twelve, and 3 for a leaf.
    pub outgoing: usize,
    /// Incoming tunnels to accept; 3 times `outgoing` by default. Tunnels of leaves are counted apart.
    pub incoming: usize,
    /// The least useful outgoing tunnel is replaced this often; 5 minutes by default.
    pub refresh: Duration,
    /// Carries its own traffic only; neighbours then use no route through it.
    pub leaf: bool,
    /// Addresses the operator says we can be reached at.
    pub configured: Vec<SocketAddr>,
}

impl MeshParameters {
    /// For a phone: few neighbours, nothing carried for others.
    pub fn leaf() -> Self {
        Self {
            outgoing: 3,
            incoming: 9,
            leaf: true,
            ..Self::default()
        }
    }
}

impl Default for MeshParameters {
    fn default() -> Self {
        Self {
            outgoing: 6,
            incoming: 18,
            refresh: Duration::from_secs(300),
            leaf: false,
            configured: Vec::new(),
        }
    }
}

/// Commands that change something; views (`status`, `peers`, `routes`) are plain methods.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sends one ICMPv6 echo through the mesh; answers come as [`Event::ProbeReply`] with the same id.
    Probe {
        id: u64,
        target: Ipv6Addr,
        hop_limit: u8,
        payload: usize,
    },
    /// Has the nearest neighbours asked whether they are there, at most once a second; see [`Status::verified`].
    Verify,
    /// Members learnt from the registry.
    AddBundles(Vec<Bundle>),
    SetRevocations(RevocationList),
    /// A renewed certificate of our own.
    SetCertificate(Certificate),
    /// Civil time now: after a resume, a step of the system clock, or when the registry told better.
    SetWallClock(UnixTime),
    /// The operator changed how neighbours are chosen or where we can be reached. Surplus tunnels go one by
    /// one, as the least useful are replaced.
    SetMesh(MeshParameters),
    /// Planned stop: neighbours are moved away first, then routes are retracted, then tunnels closed;
    /// [`Event::Stopped`] ends it, about 2.5 s later at most.
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    Echo,
    TimeExceeded,
    /// ICMPv6 code (RFC 4443 section 3.1).
    Unreachable(u8),
    /// MTU of the next hop in octets.
    TooBig(u32),
}

/// Things the shell must do outside: registry and disk.
#[allow(clippy::large_enum_variant)] // few are ever queued
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ask the registry for a new certificate; answer with [`Command::SetCertificate`].
    Renew,
    /// Give the registry our newest record.
    Publish(Bundle),
    /// Ask the registry for a sample of members; answer with [`Command::AddBundles`].
    FetchDirectory,
    /// Ask the registry for the newest revocation list; answer with [`Command::SetRevocations`]. For leaves: others
    /// have a shell that is told by the registry at once.
    FetchRevocations,
    /// The set of known members changed: write the cache (`Node::bundles`) soon.
    SaveCache,
    /// Persist our Babel seqno before long.
    SaveSeqno(u16),
    /// Persist `Node::revocations`.
    SaveRevocations,
}

/// Things worth telling the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    NeighbourUp {
        node: NodeId,
        name: String,
    },
    NeighbourDown {
        node: NodeId,
        name: String,
        reason: DownReason,
    },
    RouteChanged {
        prefix: IpNet,
        via: Option<NodeId>,
        metric: u16,
    },
    ProbeReply {
        id: u64,
        from: Ipv6Addr,
        outcome: ProbeOutcome,
        rtt: Duration,
    },
    /// A member was revoked.
    Revoked(NodeId),
    /// We are revoked, or our certificate expired; the text says what to do.
    Excluded(String),
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The peer stopped as planned.
    Closed,
    /// Nothing was heard from it.
    Silent,
    /// One end chose another neighbour.
    Replaced,
    Revoked,
    Expired,
    /// Certificates or versions did not agree.
    Refused,
    /// The peer has as many neighbours as it wants.
    Limit,
    /// The peer started anew on the same tunnel.
    Restarted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub remote: SocketAddr,
    pub datagram: Vec<u8>,
    /// Not to be fragmented: whether it arrives as it is, is the question.
    pub whole: bool,
}

/// What the control API shows as `/v1/status` (with what the shell adds).
#[derive(Clone, Debug)]
pub struct Status {
    pub node: NodeId,
    pub name: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<IpNet>,
    pub certificate_not_after: UnixTime,
    /// Open tunnels, and those of them that answer.
    pub neighbours: usize,
    pub usable_neighbours: usize,
    pub members: usize,
    pub routes: usize,
    /// End-to-end sessions, with keys or about to.
    pub sessions: usize,
    pub endpoints: Vec<Endpoint>,
    pub record_sequence: u64,
    pub revocation_number: u64,
    /// Drops and refusals by name, in name order.
    pub counters: Vec<(&'static str, u64)>,
    pub health: Health,
    pub stopping: bool,
    /// Tunnels that the node wants at least: fewer than its parameter when there are not so many other members.
    pub wanted: usize,
    /// The last answer to a question of ours.
    pub verified: Option<Verified>,
    pub udp: UdpEvidence,
}

/// Somebody answered us through the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub at: Instant,
    /// The neighbour's.
    pub name: String,
    pub proof: Proof,
}

/// What a neighbour's answer was to; both prove its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An echo inside the tunnel.
    Echo,
    /// A handshake that we began.
    Handshake,
}

/// What speaks for and against UDP getting through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpEvidence {
    /// When something authentic came last, if it did since our addresses changed.
    pub heard: Option<Instant>,
    /// That, or when our addresses changed.
    pub silent_since: Instant,
    /// Members that were tried in vain since then.
    pub unanswered: usize,
}

/// What is wrong, if anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why we are no member any more, with what to do.
    pub excluded: Option<String>,
    /// `None` until the shell reported; else whether the registry answered last time, or the error.
    pub registry: Option<Result<(), String>>,
    /// Our certificate has expired and neighbours accept it by grace only.
    pub in_grace: bool,
    /// Several members' certificates are not valid yet by our clock: it is probably behind.
    pub clock_suspect: bool,
}

/// One member with whom we hold a tunnel or to whom we have a route.
#[derive(Clone, Debug)]
pub struct Peer {
    pub node: NodeId,
    pub name: String,
    pub address: Ipv6Addr,
    pub endpoint: Option<SocketAddr>,
    /// `None`: the route goes straight over a tunnel of ours; else the neighbour it goes through.
    pub relayed_via: Option<NodeId>,
    /// Whether there is a tunnel with it.
    pub neighbour: bool,
    pub outgoing: bool,
    pub usable: bool,
    pub rtt: Option<Duration>,
    /// Cost of the link.
    pub cost: Option<u16>,
    /// Metric of the selected route.
    pub metric: Option<u16>,
    /// Largest packet in octets that the tunnel carries now.
    pub mtu: Option<u16>,
    pub sent_octets: u64,
    pub received_octets: u64,
    /// Routes that it announced and may not.
    pub refused_routes: u64,
    pub last_handshake: Option<Instant>,
    /// What packets to it are sealed with; `None` without a tunnel.
    pub cipher: Option<Cipher>,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub prefix: IpNet,
    pub origin: Option<NodeId>,
    pub router_id: RouterId,
    pub via: Option<NodeId>,
    pub tunnel: Option<TunnelId>,
    pub metric: u16,
    pub seqno: u16,
    pub feasible: bool,
    pub selected: bool,
    /// Why it is, or is not, the one in use.
    pub standing: osier_babel::Standing,
}
