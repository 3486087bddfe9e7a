//! A network: its root key, its prefix, and who may sign for it.

use crate::{IpNet, identity::NodeId, wallclock::UnixTime};

/// First 16 octets of the BLAKE3 hash of the root's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 16]);

/// What every member knows about its network; signed by the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The root's Ed25519 public key: the one thing a member must be given over a trusted channel.
    pub root: NodeId,
    pub name: String,
    /// Every node's prefix lies in it; a ULA /48 unless the operator gave one.
    pub prefix: IpNet,
    /// How long members go on accepting expired certificates, in seconds, when no registry can be reached.
    pub grace: u64,
}

/// The root's statement that `issuer` may sign certificates and revocations until `not_after`, so that the
/// root key itself can be kept offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    pub issuer: NodeId,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    pub signature: [u8; 64],
}
