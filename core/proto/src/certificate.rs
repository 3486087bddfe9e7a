//! The registry's signed statement: these keys own these prefixes until then.

use crate::{IpNet, identity::{NodeId, TunnelKey}, network::{Delegation, Network}, wallclock::UnixTime};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags { pub relay: bool, pub gateway: bool, pub subnets: bool }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub node: NodeId,
    pub tunnel_key: TunnelKey,
    pub prefixes: Vec<IpNet>,
    pub group: Option<u32>,
    pub name: String,
    pub flags: Flags,
    pub serial: u64,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    // + network id, issuer delegation, signature, and the exact bytes that were signed
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError { /* Malformed, UnknownVersion, UnknownCriticalField, WrongNetwork, BadSignature, NotYetValid, Expired, PrefixOutsideNetwork, Revoked … (thiserror) */ }

impl Certificate {
    /// Strict, deterministic CBOR; anything but the one canonical encoding is refused.
    pub fn decode(_bytes: &[u8]) -> Result<Self, CertificateError> { todo!() }
    pub fn encode(&self) -> Vec<u8> { todo!() }
    /// Signature chain, network, validity (an hour of clock skew is forgiven) and prefixes inside the network's.
    pub fn verify(&self, _network: &Network, _now: UnixTime) -> Result<(), CertificateError> { todo!() }
    /// Whether it lets the node announce `prefix`: one of its prefixes covers it.
    pub fn permits(&self, _prefix: &IpNet) -> bool { todo!() }
    /// The node's own address: the first host (::1) of its first prefix.
    pub fn address(&self) -> core::net::Ipv6Addr { todo!() }
    pub fn delegation(&self) -> Option<&Delegation> { todo!() }
}
