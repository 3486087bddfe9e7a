//! The link protocol: what two ends of a tunnel tell each other besides Babel, in CBOR over UDP port
//! [`PORT`] between their link-local addresses, inside the tunnel.
//!
//! A datagram holds one message of at most [`MAX_MESSAGE`] octets: an array of its type and a map of fields. It
//! begins with [`Message::Hello`], repeated until the other end answers [`Message::Accept`]; until both have
//! accepted, nothing else is listened to but [`Message::Bye`]. Message types that a node does not know are
//! skipped ([`Message::Unknown`]), so that newer neighbours can say more.

use crate::{
    RouterId,
    codec::{Reader, Writer, check_size},
    error::DecodeError,
    record::Bundle,
    relay::{HopKey, RelayKey},
    revocation::{MAX_REVOCATION_LIST, RevocationList},
};
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
/// Octets of a revocation list in one message; only the last part is shorter.
pub const REVOCATION_PART: usize = 1024;

const MAX_REVOCATION_PARTS: u16 = MAX_REVOCATION_LIST.div_ceil(REVOCATION_PART) as u16;
/// Octets around the bundles of a message: array, type, map, key, inner array.
const BUNDLES_OVERHEAD: usize = 8;
/// Capability of a Hello: the sender is a leaf, which carries nothing for others and may doze.
pub const LEAF: u64 = 1;
/// Field of a Hello that nodes which know no relay frames skip.
const RELAY_FIELD: u64 = 128;

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

/// One part of an encoded revocation list, which can be longer than a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationPart {
    /// The list's number.
    pub number: u64,
    /// BLAKE3 of the whole encoded list: parts with the same hash belong together.
    pub hash: [u8; 32],
    /// 0..total.
    pub index: u16,
    pub total: u16,
    pub octets: Vec<u8>,
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

    /// A revocation list in parts.
    pub fn revocations(list: &RevocationList) -> Vec<Self> {
        let encoded = list.encode();
        let hash = *blake3::hash(&encoded).as_bytes();
        // `MAX_REVOCATION_LIST` bounds the number of parts far below `u16::MAX`.
        let total = encoded.len().div_ceil(REVOCATION_PART) as u16;
        let parts = (0..total).zip(encoded.chunks(REVOCATION_PART));
        parts
            .map(|(index, octets)| {
                Self::Revocations(RevocationPart {
                    number: list.number,
                    hash,
                    index,
                    total,
                    octets: octets.to_vec(),
                })
            })
            .collect()
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

    /// The datagram. At most [`MAX_MESSAGE`] octets if the lists in it keep to their limits.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2);
        match self {
            Self::Hello {
                version,
                certificate,
                capabilities,
                nonce,
                relay,
            } => {
                w.uint(1)
                    .map(if relay.is_some() { 5 } else { 4 })
                    .uint(0)
                    .uint((*version).into())
                    .uint(1)
                    .bytes(certificate);
                w.uint(2).uint(*capabilities).uint(3).uint(*nonce);
                if let Some(key) = relay {
                    w.uint(RELAY_FIELD).array(2);
                    w.uint(key.receiver.into()).bytes(&key.key.0);
                }
            }
            Self::Accept { nonce } => drop(w.uint(2).map(1).uint(0).uint(*nonce)),
            Self::Observed(address) => drop(w.uint(3).map(1).uint(0).socket_address(address)),
            Self::Bundles(bundles) => {
                w.uint(4).map(1).uint(0).array(bundles.len());
                for bundle in bundles {
                    w.bytes(&bundle.encode());
                }
            }
            Self::CertificateRequest(router_ids) => write_router_ids(w.uint(5), router_ids),
            Self::Revocations(part) => {
                w.uint(6)
                    .map(5)
                    .uint(0)
                    .uint(part.number)
                    .uint(1)
                    .bytes(&part.hash);
                w.uint(2)
                    .uint(part.index.into())
                    .uint(3)
                    .uint(part.total.into())
                    .uint(4)
                    .bytes(&part.octets);
            }
            Self::Digest {
                members,
                hash,
                revocations,
            } => {
                w.uint(7)
                    .map(3)
                    .uint(0)
                    .uint((*members).into())
                    .uint(1)
                    .bytes(hash);
                w.uint(2).uint(*revocations);
            }
            Self::Summary {
                index,
                total,
                entries,
            } => {
                w.uint(8)
                    .map(3)
                    .uint(0)
                    .uint((*index).into())
                    .uint(1)
                    .uint((*total).into());
                w.uint(2).array(entries.len());
                for (router_id, sequence) in entries {
                    w.array(2).bytes(&router_id.0).uint(*sequence);
                }
            }
            Self::BundleRequest(router_ids) => write_router_ids(w.uint(9), router_ids),
            Self::Echo {
                nonce,
                sent_at,
                counters,
            } => write_echo(w.uint(10), *nonce, *sent_at, counters),
            Self::EchoReply {
                nonce,
                sent_at,
                counters,
            } => write_echo(w.uint(11), *nonce, *sent_at, counters),
            Self::Bye(reason) => drop(w.uint(12).map(1).uint(0).uint(reason.code())),
            Self::MtuProbe { nonce, size } => write_size(w.uint(13), *nonce, *size),
            Self::MtuAck { nonce, size } => write_size(w.uint(14), *nonce, *size),
            Self::Silent(router_id) => drop(w.uint(15).map(1).uint(0).bytes(&router_id.0)),
            Self::RelayKey(key) => {
                w.uint(16)
                    .map(2)
                    .uint(0)
                    .uint(key.receiver.into())
                    .uint(1)
                    .bytes(&key.key.0);
            }
            Self::RelayKeyTaken(receiver) => drop(w.uint(17).map(1).uint(0).uint((*receiver).into())),
            Self::Doze { interval } => drop(w.uint(18).map(1).uint(0).uint((*interval).into())),
            Self::DozeTaken => drop(w.uint(19).map(0)),
            Self::Unknown(kind) => drop(w.uint(*kind).map(0)),
        }
        w.into_vec()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_size(bytes, MAX_MESSAGE)?;
        let mut r = Reader::new(bytes);
        r.array_of(2)?;
        let message = match r.uint()? {
            1 => read_hello(&mut r)?,
            2 => Self::Accept {
                nonce: one_field(&mut r, "nonce", Reader::uint)?,
            },
            3 => Self::Observed(one_field(&mut r, "address", Reader::socket_address)?),
            4 => Self::Bundles(one_field(&mut r, "bundles", |r| {
                r.list("bundles", MAX_REQUESTED, |r| Bundle::decode(r.bytes()?))
            })?),
            5 => Self::CertificateRequest(one_field(&mut r, "router_ids", read_router_ids)?),
            6 => Self::Revocations(read_revocation_part(&mut r)?),
            7 => read_digest(&mut r)?,
            8 => read_summary(&mut r)?,
            9 => Self::BundleRequest(one_field(&mut r, "router_ids", read_router_ids)?),
            10 => {
                let (nonce, sent_at, counters) = read_echo(&mut r)?;
                Self::Echo {
                    nonce,
                    sent_at,
                    counters,
                }
            }
            11 => {
                let (nonce, sent_at, counters) = read_echo(&mut r)?;
                Self::EchoReply {
                    nonce,
                    sent_at,
                    counters,
                }
            }
            12 => Self::Bye(ByeReason::from_code(one_field(&mut r, "reason", Reader::uint)?)),
            13 => {
                let (nonce, size) = read_size(&mut r)?;
                Self::MtuProbe { nonce, size }
            }
            14 => {
                let (nonce, size) = read_size(&mut r)?;
                Self::MtuAck { nonce, size }
            }
            15 => Self::Silent(one_field(&mut r, "router_id", Reader::router_id)?),
            16 => Self::RelayKey(read_relay_key(&mut r)?),
            17 => Self::RelayKeyTaken(one_field(&mut r, "receiver", |r| r.small("receiver"))?),
            18 => Self::Doze {
                interval: one_field(&mut r, "interval", |r| r.small("interval"))?,
            },
            19 => {
                r.fields(|_, _| Ok(false))?;
                Self::DozeTaken
            }
            unknown => return Ok(Self::Unknown(unknown)),
        };
        r.finish()?;
        Ok(message)
    }
}

fn write_router_ids(w: &mut Writer, router_ids: &[RouterId]) {
    w.map(1).uint(0).array(router_ids.len());
    for router_id in router_ids {
        w.bytes(&router_id.0);
    }
}

fn write_echo(w: &mut Writer, nonce: u64, sent_at: u64, counters: &LinkCounters) {
    w.map(4).uint(0).uint(nonce).uint(1).uint(sent_at);
    w.uint(2).uint(counters.sent).uint(3).uint(counters.received);
}

fn write_size(w: &mut Writer, nonce: u64, size: u16) {
    w.map(2).uint(0).uint(nonce).uint(1).uint(size.into());
}

fn read_size(r: &mut Reader<'_>) -> Result<(u64, u16), DecodeError> {
    let (mut nonce, mut size) = (None, None);
    r.fields(|key, r| {
        match key {
            0 => nonce = Some(r.uint()?),
            1 => size = Some(r.small("size")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((
        nonce.ok_or(DecodeError::Missing("nonce"))?,
        size.ok_or(DecodeError::Missing("size"))?,
    ))
}

fn one_field<'b, T>(
    r: &mut Reader<'b>,
    name: &'static str,
    read: impl Fn(&mut Reader<'b>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut value = None;
    r.fields(|key, r| {
        if key == 0 {
            value = Some(read(r)?);
        }
        Ok(key == 0)
    })?;
    value.ok_or(DecodeError::Missing(name))
}

fn read_router_ids(r: &mut Reader<'_>) -> Result<Vec<RouterId>, DecodeError> {
    r.list("router_ids", MAX_REQUESTED, Reader::router_id)
}

fn read_hello(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let (mut version, mut certificate, mut capabilities, mut nonce) = (None, None, None, None);
    let mut relay = None;
    r.fields(|key, r| {
        match key {
            0 => version = Some(r.small("version")?),
            1 => certificate = Some(r.bytes()?.to_vec()),
            2 => capabilities = Some(r.uint()?),
            3 => nonce = Some(r.uint()?),
            RELAY_FIELD => {
                r.array_of(2)?;
                relay = Some(RelayKey {
                    receiver: r.small("receiver")?,
                    key: HopKey(r.octets("key")?),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Hello {
        relay,
        version: version.ok_or(DecodeError::Missing("version"))?,
        certificate: certificate.ok_or(DecodeError::Missing("certificate"))?,
        capabilities: capabilities.ok_or(DecodeError::Missing("capabilities"))?,
        nonce: nonce.ok_or(DecodeError::Missing("nonce"))?,
    })
}

fn read_relay_key(r: &mut Reader<'_>) -> Result<RelayKey, DecodeError> {
    let (mut receiver, mut key) = (None, None);
    r.fields(|field, r| {
        match field {
            0 => receiver = Some(r.small("receiver")?),
            1 => key = Some(HopKey(r.octets("key")?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(RelayKey {
        receiver: receiver.ok_or(DecodeError::Missing("receiver"))?,
        key: key.ok_or(DecodeError::Missing("key"))?,
    })
}

fn read_revocation_part(r: &mut Reader<'_>) -> Result<RevocationPart, DecodeError> {
    let (mut number, mut hash, mut index, mut total, mut octets) = (None, None, None, None, None);
    r.fields(|key, r| {
        match key {
            0 => number = Some(r.uint()?),
            1 => hash = Some(r.octets("hash")?),
            2 => index = Some(r.small("index")?),
            3 => total = Some(r.small("total")?),
            4 => octets = Some(r.bytes()?.to_vec()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let part = RevocationPart {
        number: number.ok_or(DecodeError::Missing("number"))?,
        hash: hash.ok_or(DecodeError::Missing("hash"))?,
        index: index.ok_or(DecodeError::Missing("index"))?,
        total: total.ok_or(DecodeError::Missing("total"))?,
        octets: octets.ok_or(DecodeError::Missing("octets"))?,
    };
    if part.total > MAX_REVOCATION_PARTS || part.index >= part.total {
        return Err(DecodeError::Invalid("index"));
    }
    let last = part.index + 1 == part.total;
    if part.octets.is_empty() || part.octets.len() > REVOCATION_PART {
        return Err(DecodeError::Invalid("octets"));
    }
    if !last && part.octets.len() != REVOCATION_PART {
        return Err(DecodeError::Invalid("octets"));
    }
    Ok(part)
}

fn read_digest(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let (mut members, mut hash, mut revocations) = (None, None, None);
    r.fields(|key, r| {
        match key {
            0 => members = Some(r.small("members")?),
            1 => hash = Some(r.octets("hash")?),
            2 => revocations = Some(r.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Digest {
        members: members.ok_or(DecodeError::Missing("members"))?,
        hash: hash.ok_or(DecodeError::Missing("hash"))?,
        revocations: revocations.ok_or(DecodeError::Missing("revocations"))?,
    })
}

fn read_summary(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let (mut index, mut total, mut entries) = (None, None, None);
    r.fields(|key, r| {
        match key {
            0 => index = Some(r.small("index")?),
            1 => total = Some(r.small("total")?),
            2 => {
                entries = Some(r.list("entries", MAX_SUMMARY, |r| {
                    r.array_of(2)?;
                    Ok((r.router_id()?, r.uint()?))
                })?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let index: u16 = index.ok_or(DecodeError::Missing("index"))?;
    let total = total.ok_or(DecodeError::Missing("total"))?;
    if index >= total {
        return Err(DecodeError::Invalid("index"));
    }
    Ok(Message::Summary {
        index,
        total,
        entries: entries.ok_or(DecodeError::Missing("entries"))?,
    })
}

fn read_echo(r: &mut Reader<'_>) -> Result<(u64, u64, LinkCounters), DecodeError> {
    let (mut nonce, mut sent_at, mut sent, mut received) = (None, None, None, None);
    r.fields(|key, r| {
        match key {
            0 => nonce = Some(r.uint()?),
            1 => sent_at = Some(r.uint()?),
            2 => sent = Some(r.uint()?),
            3 => received = Some(r.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let counters = LinkCounters {
        sent: sent.ok_or(DecodeError::Missing("sent"))?,
        received: received.ok_or(DecodeError::Missing("received"))?,
    };
    Ok((
        nonce.ok_or(DecodeError::Missing("nonce"))?,
        sent_at.ok_or(DecodeError::Missing("sent_at"))?,
        counters,
    ))
}

/// Puts the parts of a revocation list together again. One per neighbour: it holds at most one unfinished list
/// of [`MAX_REVOCATION_LIST`] octets, and a list with another hash takes the place of it unless its number is
/// lower.
#[derive(Debug, Default)]
pub struct RevocationAssembly {
    current: Option<(u64, [u8; 32])>,
    parts: Vec<Option<Vec<u8>>>,
}

impl RevocationAssembly {
    /// The decoded list (not yet verified) when this part was the last one missing; nothing while parts are
    /// missing or when what came together is not the list that was announced.
    pub fn add(&mut self, part: RevocationPart) -> Option<RevocationList> {
        let key = (part.number, part.hash);
        let total = usize::from(part.total);
        if self.current != Some(key) || self.parts.len() != total {
            if self.current.is_some_and(|(number, _)| part.number < number) {
                return None;
            }
            self.current = Some(key);
            self.parts = vec![None; total.min(usize::from(MAX_REVOCATION_PARTS))];
        }
        *self.parts.get_mut(usize::from(part.index))? = Some(part.octets);
        let encoded = self.parts.iter().cloned().collect::<Option<Vec<_>>>()?.concat();
        *self = Self::default();
        let announced = *blake3::hash(&encoded).as_bytes() == part.hash;
        announced
            .then(|| RevocationList::decode(&encoded).ok())?
            .filter(|list| list.number == part.number)
    }
}
