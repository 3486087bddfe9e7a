//! Keys of a node and the names derived from them.

use crate::RouterId;
use core::net::Ipv6Addr;

/// A node's name to the protocol: its Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// First 8 octets of the key's BLAKE3 hash; never all zeroes or all ones.
    pub fn router_id(&self) -> RouterId { todo!() }
    /// `fe80::/64` with the router-id as interface identifier: the node's address inside its tunnels.
    pub fn link_local(&self) -> Ipv6Addr { todo!() }
}

/// An X25519 public key: the node's WireGuard identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey(pub [u8; 32]);

/// Both secret keys; zeroed on drop, never shown by `Debug`.
pub struct SecretKeys { /* Ed25519 seed, X25519 secret */ }

impl SecretKeys {
    /// From 64 octets of randomness that the caller draws.
    pub fn from_entropy(_entropy: [u8; 64]) -> Self { todo!() }
    pub fn to_bytes(&self) -> [u8; 64] { todo!() }
    pub fn node_id(&self) -> NodeId { todo!() }
    pub fn tunnel_key(&self) -> TunnelKey { todo!() }
    /// The X25519 secret, for the session engine only.
    pub fn tunnel_secret(&self) -> &[u8; 32] { todo!() }
    /// Ed25519 over `context || 0x00 || network id || message`.
    pub fn sign(&self, _context: &str, _network: &crate::network::NetworkId, _message: &[u8]) -> [u8; 64] { todo!() }
}
