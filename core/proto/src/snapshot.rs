//! What the data plane forwards by: published by control, read by packet threads, never written by them but
//! for counters.

use crate::{Instant, fib::Fib, tunnel::{Session, TunnelId}};
use core::net::{Ipv6Addr, SocketAddr};
use std::{collections::BTreeMap, sync::Arc};

/// A tunnel as the data plane sees it. Counters and endpoint are atomics.
#[derive(Debug)]
pub struct TunnelHandle { /* id, session: Box<dyn Session>, endpoint, state (unauthenticated | open), mtu, counters, activity */ }

impl TunnelHandle {
    pub fn id(&self) -> TunnelId { todo!() }
    pub fn session(&self) -> &dyn Session { todo!() }
    pub fn endpoint(&self) -> Option<SocketAddr> { todo!() }
}

/// One consistent view.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub fib: Fib,
    pub tunnels: BTreeMap<TunnelId, Arc<TunnelHandle>>,
    /// WireGuard receiver index (upper 24 bits) to tunnel.
    pub receivers: BTreeMap<u32, TunnelId>,
    /// Our own address, source of ICMPv6 errors.
    pub address: Ipv6Addr,
}

/// What the data plane must tell control besides handing over packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Data went out on a tunnel that had been quiet: watch whether something comes back.
    Sending(TunnelId),
    /// An authenticated datagram came from a new address: the peer moved.
    Moved(TunnelId, SocketAddr),
}

#[allow(unused)]
fn _types(_: Instant) {}
