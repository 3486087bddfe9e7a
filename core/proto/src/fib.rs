//! The forwarding table: longest-prefix match.

use crate::{IpNet, tunnel::TunnelId};
use core::net::Ipv6Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Ours: deliver to the TUN device.
    Local,
    Tunnel(TunnelId),
    /// Known to be unreachable: answer with an ICMPv6 error, never fall back to a covering prefix.
    Unreachable,
}

/// IPv6 prefixes to hops. Own hash per prefix length (see docs/architecture.md for the measurement).
#[derive(Clone, Debug, Default)]
pub struct Fib { /* … */ }

impl Fib {
    pub fn insert(&mut self, _prefix: IpNet, _hop: Hop) { todo!() }
    pub fn remove(&mut self, _prefix: &IpNet) { todo!() }
    pub fn lookup(&self, _destination: Ipv6Addr) -> Option<Hop> { todo!() }
    /// In prefix order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Hop)> + '_ { core::iter::empty() }
}
