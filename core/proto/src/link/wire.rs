//! The octets of [`Message`].

use super::{ByeReason, LinkCounters, MAX_MESSAGE, MAX_REQUESTED, MAX_SUMMARY, Message, RevocationPart};
use crate::{
    RouterId,
    codec::{Reader, Writer, check_size},
    error::DecodeError,
    record::Bundle,
    relay::{HopKey, RelayKey},
};

/// Field of a Hello that nodes which know no relay frames of this version skip. Those of version 1 had 128.
const RELAY_FIELD: u64 = 129;

impl Message {
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
            6 => Self::Revocations(RevocationPart::read(&mut r)?),
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
