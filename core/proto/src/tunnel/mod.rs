//! Tunnels: WireGuard sessions with neighbours. [`Session`] hides the engine: `wireguard` is boringtun,
//! `plain` encrypts nothing and serves simulations.

use crate::Instant;
use core::net::SocketAddr;

/// Names a tunnel for as long as the node runs; never reused. Also its Babel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u32);

/// What came of a received datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// A decrypted packet (empty: a keepalive).
    Packet(&'a [u8]),
    /// Send this back to where the datagram came from; then call [`Session::flush`] until it gives nothing.
    Reply(&'a [u8]),
    Nothing,
    /// Forged, replayed, undecryptable.
    Rejected,
}

/// What came of a packet to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Sealed<'a> {
    Datagram(&'a [u8]),
    /// No keys yet: the packet is queued or dropped, and this handshake initiation is to be sent.
    Handshake(&'a [u8]),
    Nothing,
}

/// One WireGuard session with one peer. Shared by the control plane (handshakes, timers) and the data-plane
/// threads (seal, open), so it locks inside; a lock is held for one packet or batch, never across IO.
pub trait Session: Send + Sync + core::fmt::Debug {
    fn open<'a>(&self, now: Instant, source: SocketAddr, datagram: &[u8], out: &'a mut [u8]) -> Opened<'a>;
    /// Next datagram that a completed handshake set free.
    fn flush<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    fn seal<'a>(&self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> Sealed<'a>;
    /// Starts a handshake whatever the state.
    fn initiate<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    /// Rekeying and expiry; to be called at `next_tick`.
    fn tick<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    fn next_tick(&self, now: Instant) -> Option<Instant>;
    fn last_handshake(&self, now: Instant) -> Option<Instant>;
}
