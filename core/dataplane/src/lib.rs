//! The packet path as pure functions over buffers: admit, look up, seal, open, forward.
//!
//! A packet thread (or a simulation) holds one [`Forwarder`] and the current [`osier_proto::Snapshot`]; it calls
//! [`Forwarder::from_tun`] for each packet read from the TUN device and [`Forwarder::from_network`] for each
//! datagram, and does what the [`Action`] says. Nothing is allocated per packet.

use core::net::SocketAddr;
use osier_proto::{Instant, Snapshot, snapshot::Activity, tunnel::TunnelId};

/// What to do with the bytes in the output buffer.
#[derive(Debug)]
pub enum Action<'a> {
    /// Send the datagram.
    Send { remote: SocketAddr, datagram: &'a [u8] },
    /// Write the packet to the TUN device.
    Deliver(&'a [u8]),
    /// Give the datagram to `Node::handle_datagram`.
    ControlDatagram(&'a [u8]),
    /// Give the decrypted packet to `Node::handle_tunnel_packet`.
    ControlPacket(TunnelId, &'a [u8]),
    /// Give the packet to `Node::handle_probe_packet`.
    Probe(&'a [u8]),
    Drop(DropReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason { Malformed, NotOurSource, NoRoute, HopLimit, TooBig, NoSession, Rejected, Unauthenticated, SourceNotPermitted }

/// Per-thread state: scratch for ICMPv6 errors and their rate limit, drop counters.
#[derive(Debug)]
pub struct Forwarder {}

impl Forwarder {
    pub fn new() -> Self { todo!() }
    /// A packet from the local device (or one the node originates). `out` holds at least 65,535 octets.
    /// ICMPv6 errors towards the local host come back as [`Action::Deliver`].
    pub fn from_tun<'a>(&mut self, _s: &Snapshot, _packet: &mut [u8], _out: &'a mut [u8], _now: Instant) -> (Action<'a>, Option<Activity>) { todo!() }
    /// A datagram from the network. ICMPv6 errors towards the sender come back as [`Action::Send`].
    pub fn from_network<'a>(&mut self, _s: &Snapshot, _source: SocketAddr, _datagram: &mut [u8], _out: &'a mut [u8], _now: Instant) -> (Action<'a>, Option<Activity>) { todo!() }
}

impl Default for Forwarder { fn default() -> Self { Self::new() } }
