//! Packets as octets (RFC 8966 section 4): [`parse`] reads them, [`Builder`] writes them.
//!
//! Reading is forgiving as the RFC asks: an unknown TLV is skipped, a bad one costs only itself, an unknown
//! sub-TLV is skipped unless its type says that it is mandatory. Both sides keep the compression state of
//! section 4.5 (router-id, next hop, default prefix), which lives as long as one packet.

mod build;
mod parse;
#[cfg(test)]
mod tests;

pub use build::Builder;
pub use parse::{PacketError, TlvError, Tlvs, parse};

use crate::{Duration, INFINITY, IpNet, RouterId};
use core::net::IpAddr;

pub(crate) const MAGIC: u8 = 42;
pub(crate) const VERSION: u8 = 2;
/// Octets of the packet header: magic, version, length of the body.
pub const HEADER: usize = 4;

/// TLV types (RFC 8966 section 4.6).
pub(crate) mod kind {
    pub(crate) const PAD1: u8 = 0;
    pub(crate) const ACK_REQUEST: u8 = 2;
    pub(crate) const ACK: u8 = 3;
    pub(crate) const HELLO: u8 = 4;
    pub(crate) const IHU: u8 = 5;
    pub(crate) const ROUTER_ID: u8 = 6;
    pub(crate) const NEXT_HOP: u8 = 7;
    pub(crate) const UPDATE: u8 = 8;
    pub(crate) const ROUTE_REQUEST: u8 = 9;
    pub(crate) const SEQNO_REQUEST: u8 = 10;
    // Of MAC authentication (RFC 8967 section 6).
    pub(crate) const MAC: u8 = 16;
    pub(crate) const PC: u8 = 17;
    pub(crate) const CHALLENGE_REQUEST: u8 = 18;
    pub(crate) const CHALLENGE_REPLY: u8 = 19;
}

/// Address encodings (RFC 8966 section 4.1.4).
pub(crate) mod ae {
    pub(crate) const WILDCARD: u8 = 0;
    pub(crate) const IPV4: u8 = 1;
    pub(crate) const IPV6: u8 = 2;
    pub(crate) const LINK_LOCAL: u8 = 3;
    /// An IPv4 prefix whose next hop is IPv6 (RFC 9229 section 4).
    pub(crate) const V4_VIA_V6: u8 = 4;
}

/// Sub-TLV types.
pub(crate) mod sub {
    pub(crate) const PAD1: u8 = 0;
    /// RFC 9616 section 6.
    pub(crate) const TIMESTAMP: u8 = 3;
    /// RFC 9079 section 7.
    pub(crate) const SOURCE_PREFIX: u8 = 128;
}

/// Flag of a Hello: it counts among the unicast Hellos (section 4.6.5).
pub(crate) const FLAG_UNICAST: u16 = 0x8000;
/// Flag of an Update: its prefix becomes the default prefix (section 4.6.9).
pub(crate) const FLAG_PREFIX: u8 = 0x80;
/// Flag of an Update: the router-id is in the prefix (section 4.6.9).
pub(crate) const FLAG_ROUTER_ID: u8 = 0x40;
/// Sub-TLV types from here on are mandatory (section 4.4).
pub(crate) const MANDATORY: u8 = 128;

/// A time on the wire: hundredths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Centis(pub u16);

impl Centis {
    /// Rounded up, from 1 to 65535: what is promised is kept, and 0 is never said by accident.
    pub fn promising(d: Duration) -> Self {
        Self(
            u16::try_from(d.as_micros().div_ceil(10_000))
                .unwrap_or(u16::MAX)
                .max(1),
        )
    }

    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }
}

/// One TLV with the parser state applied: Router-Id and Next Hop TLVs show only in the Updates after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlv {
    AckRequest {
        opaque: u16,
        interval: Centis,
    },
    Ack {
        opaque: u16,
    },
    /// An interval of 0 promises no further Hello (unscheduled).
    Hello {
        unicast: bool,
        seqno: u16,
        interval: Centis,
        /// When it was sent: microseconds of the sender's clock (RFC 9616 section 6.1).
        timestamp: Option<u32>,
    },
    /// Without an address it is for whoever receives it.
    Ihu {
        address: Option<IpAddr>,
        rx_cost: u16,
        interval: Centis,
        timestamps: Option<Echo>,
    },
    Update(Update),
    /// Without a prefix: everything, from whatever source.
    RouteRequest {
        prefix: Option<IpNet>,
        source: Option<IpNet>,
    },
    SeqnoRequest(SeqnoRequest),
}

/// What an IHU says about the last Hello of whom it is for (RFC 9616 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The timestamp of that Hello.
    pub origin: u32,
    /// When it arrived: microseconds of the IHU's sender.
    pub received: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// `None` only in a retraction: everything the sender announced on this link.
    pub prefix: Option<IpNet>,
    /// Of a source-specific route (RFC 9079): of the family of `prefix` and longer than 0.
    pub source: Option<IpNet>,
    pub interval: Centis,
    pub seqno: u16,
    pub metric: u16,
    /// Always there unless the metric is infinite.
    pub router_id: Option<RouterId>,
    /// Always there unless the metric is infinite. IPv6 for an IPv4 prefix is RFC 9229 (AE 4 on the wire).
    pub next_hop: Option<IpAddr>,
}

impl Update {
    pub fn is_retraction(&self) -> bool {
        self.metric == INFINITY
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqnoRequest {
    pub prefix: IpNet,
    pub source: Option<IpNet>,
    pub seqno: u16,
    pub hop_count: u8,
    pub router_id: RouterId,
}
