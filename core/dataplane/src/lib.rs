//! The packet path as pure functions over buffers: admit, look up, seal, open, forward.
//!
//! A packet thread (or a simulation) holds one [`Forwarder`] and the current [`osier_proto::Snapshot`]. It calls
//! [`Forwarder::from_tun`] for each packet read from the TUN device and [`Forwarder::from_network`] for each
//! datagram, does what the [`Action`] says, and drains [`Forwarder::poll_activity`] for control. Nothing is
//! allocated per packet.
//!
//! Where the TUN device has offload, [`Segments`] splits what it gives before, and [`Coalescer`] joins what it gets
//! after.
//!
//! What is dropped is counted by [`DropReason`]; where the sender can do something about it, it is told by an
//! ICMPv6 error (RFC 4443), at a bounded rate.

mod checksum;
mod coalesce;
mod forward;
mod icmp;
mod segment;
mod virtio;

pub use coalesce::{Coalescer, Joins, MAX_PACKETS, SuperPacket};
pub use forward::Forwarder;
pub use segment::{SegmentError, Segments};
pub use virtio::{VIRTIO_HEADER, VirtioHeader};

use core::{net::SocketAddr, ops::Range};
use osier_proto::{RouterId, tunnel::TunnelId};

/// What to do with the bytes in the output buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send the datagram.
    Send { remote: SocketAddr, datagram: &'a [u8] },
    /// Send this part of the received datagram, which was changed where it is: a relay frame on its way.
    SendInPlace { remote: SocketAddr, span: Range<usize> },
    /// Write the packet to the TUN device.
    Deliver(&'a [u8]),
    /// Give the packet to `Node::handle_unsent_packet`: there is no end-to-end session yet.
    NeedsSession(&'a [u8]),
    /// Give the message to `Node::handle_relayed_handshake`: it came in a relay frame through the tunnel.
    RelayedHandshake(TunnelId, &'a [u8]),
    /// Give the datagram to `Node::handle_datagram`: an initiation that has passed the screen, an answer to a
    /// handshake of ours, or a cookie.
    ControlDatagram(&'a [u8]),
    /// Give the decrypted packet to `Node::handle_tunnel_packet`: its source and its destination are link-local
    /// (or the destination multicast).
    ControlPacket(TunnelId, &'a [u8]),
    /// Give the packet to `Node::handle_session_packet`: it came in the end-to-end session with this node, between
    /// link-local addresses.
    SessionPacket(RouterId, &'a [u8]),
    /// Give the packet to `Node::handle_probe_packet`: it answers an echo request of control's.
    Probe(&'a [u8]),
    /// Counted; nothing to do.
    Drop(DropReason),
    /// A keepalive; nothing to do.
    Nothing,
}

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// No WireGuard message, or no well-formed IPv6 packet.
    Malformed,
    /// From the TUN device, with a source that is not in our prefixes.
    NotOurSource,
    /// From the TUN device, to an address that cannot leave this host: multicast, link-local, unspecified.
    Scope,
    /// No prefix covers the destination, or it is known to be unreachable.
    NoRoute,
    HopLimit,
    TooBig,
    /// The next tunnel has no keys or no endpoint now.
    NoSession,
    /// A data message that the session refused: forged, replayed or for keys that are gone.
    Rejected,
    /// Data on a tunnel whose ends have not accepted each other.
    Unauthenticated,
    /// The neighbour may not send from this source.
    SourceNotPermitted,
    /// A message for a session we do not have.
    UnknownReceiver,
    /// A relay frame that is not from the neighbour, was changed on the way, or is for a key that is gone.
    FrameForged,
    /// A relay frame that came before, or is too old to tell.
    FrameReplayed,
    /// The next hop of a relay frame takes none.
    NoRelayKey,
    /// A relayed message for an end-to-end session we do not have.
    UnknownSession,
    /// A relayed message that the end-to-end session refused: forged, replayed, changed on the way.
    SessionRejected,
    /// There is no end-to-end session yet, and control has enough packets that wait for one.
    AwaitingSession,
    /// A packet for us that relays could read or invent, from an origin that can hold a session with us.
    InTheClear,
    /// A handshake initiation whose sender does not know our key, or that was damaged.
    HandshakeForged,
    /// Under load, more handshake initiations from one address than are answered.
    HandshakeLimit,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::NotOurSource,
        Self::Scope,
        Self::NoRoute,
        Self::HopLimit,
        Self::TooBig,
        Self::NoSession,
        Self::Rejected,
        Self::Unauthenticated,
        Self::SourceNotPermitted,
        Self::UnknownReceiver,
        Self::FrameForged,
        Self::FrameReplayed,
        Self::NoRelayKey,
        Self::UnknownSession,
        Self::SessionRejected,
        Self::AwaitingSession,
        Self::InTheClear,
        Self::HandshakeForged,
        Self::HandshakeLimit,
    ];

    /// A stable name for metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotOurSource => "not-our-source",
            Self::Scope => "scope",
            Self::NoRoute => "no-route",
            Self::HopLimit => "hop-limit",
            Self::TooBig => "too-big",
            Self::NoSession => "no-session",
            Self::Rejected => "rejected",
            Self::Unauthenticated => "unauthenticated",
            Self::SourceNotPermitted => "source-not-permitted",
            Self::UnknownReceiver => "unknown-receiver",
            Self::FrameForged => "frame-forged",
            Self::FrameReplayed => "frame-replayed",
            Self::NoRelayKey => "no-relay-key",
            Self::UnknownSession => "unknown-session",
            Self::SessionRejected => "session-rejected",
            Self::AwaitingSession => "awaiting-session",
            Self::InTheClear => "in-the-clear",
            Self::HandshakeForged => "handshake-forged",
            Self::HandshakeLimit => "handshake-limit",
        }
    }
}
