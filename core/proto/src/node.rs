//! The overlay node: one owner of all control state. Collaborators (tunnels, mesh, Babel, accounting) never
//! hold each other; `Node` passes results between them.

use crate::{Instant, IpNet, Snapshot, certificate::Certificate, identity::{NodeId, SecretKeys}, network::Network,
    record::{Bundle, Endpoint}, revocation::RevocationList, snapshot::Activity, tunnel::TunnelId, wallclock::UnixTime};
use core::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What a node is built from; with a seed and the time it determines everything that follows.
#[derive(Debug)]
pub struct Config {
    pub keys: Arc<SecretKeysHolder>,
    pub certificate: Certificate,
    pub network: Network,
    pub revocations: Option<RevocationList>,
    /// Known members from the disk cache or the registry.
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

/// Stand-in so that the skeleton compiles.
pub struct SecretKeysHolder(pub SecretKeys);
impl core::fmt::Debug for SecretKeysHolder { fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str("SecretKeys(…)") } }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine { WireGuard, Plain }

/// Neighbour choice (re6st's scheme; DESIGN section 5).
#[derive(Clone, Debug)]
pub struct MeshParameters {
    /// Outgoing tunnels to keep; 10 by default.
    pub outgoing: usize,
    /// Incoming tunnels to accept; 3 times `outgoing` by default.
    pub incoming: usize,
    /// The least useful outgoing tunnel is replaced this often; 5 minutes by default.
    pub refresh: crate::Duration,
    pub leaf: bool,
    /// Addresses the operator says we can be reached at.
    pub configured: Vec<SocketAddr>,
}

/// Commands that change something; views (`status`, `peers`, `routes`) are plain methods.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sends one ICMPv6 echo through the mesh; answers come as [`Event::ProbeReply`] with the same id.
    Probe { id: u64, target: Ipv6Addr, hop_limit: u8, payload: usize },
    AddBundles(Vec<Bundle>),
    SetRevocations(RevocationList),
    SetCertificate(Certificate),
    /// Planned stop: neighbours are moved away first, then routes are retracted, then tunnels closed.
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome { Echo, TimeExceeded, Unreachable(u8), TooBig(u32) }

/// Things the shell must do outside: registry and disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Renew,
    Publish(Bundle),
    FetchDirectory,
    /// The set of known members changed: write the cache (`Node::bundles`) soon.
    SaveCache,
    SaveSeqno(u16),
    SaveRevocations,
}

/// Things worth telling the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    NeighbourUp { node: NodeId, name: String },
    NeighbourDown { node: NodeId, name: String, reason: DownReason },
    RouteChanged { prefix: IpNet, via: Option<NodeId>, metric: u16 },
    ProbeReply { id: u64, from: Ipv6Addr, outcome: ProbeOutcome, rtt: crate::Duration },
    Revoked(NodeId),
    /// We are revoked, or our certificate expired.
    Excluded(String),
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownReason { Closed, Silent, Replaced, Revoked, Expired, Refused, Limit }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit { pub remote: SocketAddr, pub datagram: Vec<u8> }

#[derive(Debug)]
pub struct Node {}

impl Node {
    pub fn new(_config: Config, _seed: [u8; 32], _now: Instant) -> Self { todo!() }

    // Inputs.
    /// A datagram that the data plane did not consume: handshakes, cookies, unknown receivers.
    pub fn handle_datagram(&mut self, _remote: SocketAddr, _datagram: &[u8], _now: Instant) { todo!() }
    /// A decrypted packet that is not plain data: link-local or multicast destination.
    pub fn handle_tunnel_packet(&mut self, _tunnel: TunnelId, _packet: &[u8], _now: Instant) { todo!() }
    /// An ICMPv6 packet to our own address that answers one of our probes.
    pub fn handle_probe_packet(&mut self, _packet: &[u8], _now: Instant) { todo!() }
    pub fn handle_activity(&mut self, _activity: Activity, _now: Instant) { todo!() }
    pub fn handle_command(&mut self, _command: Command, _now: Instant) { todo!() }
    /// The registry answered or could not be reached (`Err`, for status).
    pub fn handle_registry(&mut self, _reachable: Result<(), String>, _now: Instant) { todo!() }
    /// Our own addresses with the UDP port we listen on, after each change; and what a NAT mapped for us.
    pub fn handle_network_change(&mut self, _local: Vec<SocketAddr>, _now: Instant) { todo!() }
    pub fn handle_mapping(&mut self, _mapped: Option<SocketAddr>, _now: Instant) { todo!() }
    pub fn handle_timeout(&mut self, _now: Instant) { todo!() }

    // Outputs: drain after every input.
    pub fn poll_transmit(&mut self) -> Option<Transmit> { todo!() }
    /// A packet that originates here and goes by the FIB (probes).
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> { todo!() }
    pub fn poll_fib_change(&mut self) -> Option<Arc<Snapshot>> { todo!() }
    pub fn poll_request(&mut self) -> Option<Request> { todo!() }
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> { todo!() }

    // Views.
    pub fn bundles(&self) -> Vec<Bundle> { todo!() }
    pub fn status(&self, _now: Instant) -> Status { todo!() }
    pub fn peers(&self, _now: Instant) -> Vec<Peer> { todo!() }
    pub fn routes(&self) -> Vec<Route> { todo!() }
}

/// What the control API shows as `/v1/status` (with what the shell adds).
#[derive(Clone, Debug)]
pub struct Status {
    pub node: NodeId,
    pub name: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<IpNet>,
    pub certificate_not_after: UnixTime,
    pub neighbours: usize,
    pub members: usize,
    pub routes: usize,
    pub endpoints: Vec<Endpoint>,
    pub counters: Vec<(&'static str, u64)>,
    pub stopping: bool,
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
    pub outgoing: bool,
    pub rtt: Option<crate::Duration>,
    pub cost: Option<u16>,
    pub metric: Option<u16>,
    pub sent_octets: u64,
    pub received_octets: u64,
    pub last_handshake: Option<Instant>,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub prefix: IpNet,
    pub origin: Option<NodeId>,
    pub router_id: crate::RouterId,
    pub via: Option<NodeId>,
    pub tunnel: Option<TunnelId>,
    pub metric: u16,
    pub seqno: u16,
    pub feasible: bool,
    pub selected: bool,
}
