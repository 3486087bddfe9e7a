//! The link protocol: what two ends of a tunnel tell each other besides Babel, in CBOR over UDP port
//! [`PORT`] between their link-local addresses, inside the tunnel.
//!
//! A datagram holds one message of at most [`MAX_MESSAGE`] octets: an array of its type and a map of fields. It
//! begins with [`Message::Hello`], repeated until the other end answers [`Message::Accept`]; until both have
//! accepted, nothing else is listened to but [`Message::Bye`]. Message types that a node does not know are
//! skipped ([`Message::Unknown`]), so that newer neighbours can say more.

mod revocations;
mod wire;

pub use revocations::{REVOCATION_PART, RevocationAssembly, RevocationPart};

use crate::{RouterId, record::Bundle, relay::RelayKey};
use core::net::SocketAddr;

/// UDP port of the link protocol (both ends).
pub const PORT: u16 = 6697;
/// Version that [`Message::Hello`] carries.
pub const VERSION: u16 = 1;
/// Longest message in octets: with IPv6 and UDP headers it fits the smallest MTU, 1280.
pub const MAX_MESSAGE: usize = 1200;
/// Most router-ids in one request.
pub const MAX_REQUESTED: usize = 64;
/// Most entries in one part of a summary.
pub const MAX_SUMMARY: usize = 56;
/// Octets around the bundles of a message: array, type, map, key, inner array.
const BUNDLES_OVERHEAD: usize = 8;
/// Capability of a Hello: the sender is a leaf, which carries nothing for others and may doze.
pub const LEAF: u64 = 1;

/// Why an end closes a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByeReason {
    /// The node stops.
    Closing,
    /// It has as many neighbours as it takes.
    Limit,
    /// It prefers another neighbour now.
    Replaced,
    /// Certificate not accepted.
    Refused,
    Expired,
    Revoked,
    /// No common version of the link protocol.
    Version,
    /// A reason of a newer version.
    Other(u64),
}

impl ByeReason {
    fn code(self) -> u64 {
        match self {
            Self::Closing => 0,
            Self::Limit => 1,
            Self::Replaced => 2,
            Self::Refused => 3,
            Self::Expired => 4,
            Self::Revoked => 5,
            Self::Version => 6,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Closing,
            1 => Self::Limit,
            2 => Self::Replaced,
            3 => Self::Refused,
            4 => Self::Expired,
            5 => Self::Revoked,
            6 => Self::Version,
            other => Self::Other(other),
        }
    }
}

/// Packets through the tunnel since it came up, as the sender of the message counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    pub sent: u64,
    pub received: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello {
        version: u16,
        /// The sender's encoded certificate, not decoded here: the answer to a bad one is a [`Message::Bye`].
        certificate: Vec<u8>,
        /// Bits for what the sender can do: [`LEAF`]; unknown ones mean nothing.
        capabilities: u64,
        nonce: u64,
        /// What the sender wants on relay frames; without it, it takes none.
        relay: Option<RelayKey>,
    },
    /// The sender has verified the certificate that came with the Hello of this nonce.
    Accept {
        nonce: u64,
    },
    /// Where the sender sees the other end's datagrams come from.
    Observed(SocketAddr),
    /// Members; see [`Message::bundles`].
    Bundles(Vec<Bundle>),
    /// Asks for the bundles of these members, because a route of theirs came without; at most
    /// [`MAX_REQUESTED`].
    CertificateRequest(Vec<RouterId>),
    Revocations(RevocationPart),
    /// What the sender knows, in short: if it equals the other's, nothing needs to be exchanged.
    Digest {
        members: u32,
        /// See [`directory_hash`].
        hash: [u8; 32],
        /// Number of the newest revocation list.
        revocations: u64,
    },
    /// One part of the list of members with the sequence of their records, in order of router-id; see
    /// [`Message::summary`].
    Summary {
        index: u16,
        total: u16,
        entries: Vec<(RouterId, u64)>,
    },
    /// Asks for the bundles of these members, because a summary had newer ones; at most [`MAX_REQUESTED`].
    BundleRequest(Vec<RouterId>),
    /// Asks for an [`Message::EchoReply`]. The time is the sender's own, in microseconds.
    Echo {
        nonce: u64,
        sent_at: u64,
        counters: LinkCounters,
    },
    /// Nonce and time of the Echo; the counters are the answering end's.
    EchoReply {
        nonce: u64,
        sent_at: u64,
        counters: LinkCounters,
    },
    Bye(ByeReason),
    /// The sender's neighbour of this router-id has just stopped to answer: whoever holds a tunnel with it does
    /// well to ask it. Not passed on.
    Silent(RouterId),
    /// What the sender wants on relay frames from now on. Repeated until it is taken.
    RelayKey(RelayKey),
    /// The key with this receiver index is in use.
    RelayKeyTaken(u32),
    /// Asks whether an inner packet of `size` octets arrives. The packet with this message has that size: zeros follow
    /// the IPv6 packet inside the WireGuard message, as its padding does (WireGuard's paper, 5.4.6), so the message
    /// itself is short and nodes that do not know it skip it.
    MtuProbe {
        nonce: u64,
        size: u16,
    },
    /// The [`Message::MtuProbe`] with this nonce and size has come.
    MtuAck {
        nonce: u64,
        size: u16,
    },
    /// The sender, a leaf, wants to sleep: until it speaks Babel again it will say nothing but an empty message every
    /// `interval` seconds, which is to be answered by another, and wants to hear nothing else unasked but data. It has
    /// lent its next seqnos (`osier_babel::Speaker::lend_seqnos`).
    Doze {
        interval: u16,
    },
    /// The sender will be quiet.
    DozeTaken,
    /// A type of a newer version: to be skipped.
    Unknown(u64),
}

/// BLAKE3 over all (router-id, record sequence) in order of router-id; the same on two nodes that know the same
/// records.
pub fn directory_hash(entries: impl IntoIterator<Item = (RouterId, u64)>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (router_id, sequence) in entries {
        hasher.update(&router_id.0);
        hasher.update(&sequence.to_be_bytes());
    }
    *hasher.finalize().as_bytes()
}

impl Message {
    /// Packs bundles into as few messages as hold them.
    pub fn bundles<'a>(bundles: impl IntoIterator<Item = &'a Bundle>) -> Vec<Self> {
        let (mut messages, mut current, mut size) = (Vec::new(), Vec::new(), BUNDLES_OVERHEAD);
        for bundle in bundles {
            // At most three octets say how long a bundle is.
            let needed = bundle.encode().len() + 3;
            if size + needed > MAX_MESSAGE && !current.is_empty() {
                messages.push(Self::Bundles(core::mem::take(&mut current)));
                size = BUNDLES_OVERHEAD;
            }
            current.push(bundle.clone());
            size += needed;
        }
        if !current.is_empty() {
            messages.push(Self::Bundles(current));
        }
        messages
    }

    /// The list of members in parts; `entries` in order of router-id. Members beyond 65,535 parts are left out.
    pub fn summary(entries: &[(RouterId, u64)]) -> Vec<Self> {
        let total = u16::try_from(entries.len().div_ceil(MAX_SUMMARY)).unwrap_or(u16::MAX);
        let parts = (0..total).zip(entries.chunks(MAX_SUMMARY));
        parts
            .map(|(index, part)| Self::Summary {
                index,
                total,
                entries: part.to_vec(),
            })
            .collect()
    }
}
