//! The overlay node: one owner of all control state. Collaborators (tunnels, mesh, Babel, accounting) never
//! hold each other; `Node` passes results between them.

mod api;

pub use api::*;

use crate::{Instant, Snapshot, record::Bundle, revocation::RevocationList, snapshot::Activity, tunnel::TunnelId};
use core::net::SocketAddr;
use std::sync::Arc;

#[derive(Debug)]
pub struct Node {}

/// Why a node cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("the certificate is for another key: run `osier join` again")]
    KeyMismatch,
    #[error("the certificate is not accepted: {0}")]
    Certificate(String),
    #[error("the engine does not start: {0}")]
    Engine(String),
}

impl Node {
    /// Checks our own certificate against the network and the keys, and starts dialling known members.
    pub fn new(_config: Config, _seed: [u8; 32], _now: Instant) -> Result<Self, NodeError> { todo!() }

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

    // Outputs: drain after every input, the table first: a route is used before it is announced.
    pub fn poll_fib_change(&mut self) -> Option<Arc<Snapshot>> { todo!() }
    pub fn poll_transmit(&mut self) -> Option<Transmit> { todo!() }
    /// A packet that originates here and goes by the FIB (probes).
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> { todo!() }
    pub fn poll_request(&mut self) -> Option<Request> { todo!() }
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> { todo!() }

    // Views.
    pub fn bundles(&self) -> Vec<Bundle> { todo!() }
    pub fn revocations(&self) -> Option<&RevocationList> { todo!() }
    pub fn status(&self, _now: Instant) -> Status { todo!() }
    pub fn peers(&self, _now: Instant) -> Vec<Peer> { todo!() }
    pub fn routes(&self) -> Vec<Route> { todo!() }
}
