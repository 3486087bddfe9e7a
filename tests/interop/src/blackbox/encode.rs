//! Packets that cases send, good and bad.
//!
//! Nothing is corrected on the way: a case that omits a router-id sends none, and `raw` sends what it says.

use osier_lab::{Error, Result};
use serde::Deserialize;
use std::net::{IpAddr, Ipv6Addr};

/// One TLV. Times are in hundredths of a second; `sub` is appended as it is, for sub-TLVs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Tlv {
    AckRequest {
        opaque: u16,
        interval: u16,
        #[serde(default)]
        reserved: u16,
        #[serde(default)]
        sub: String,
    },
    Ack {
        opaque: u16,
    },
    Hello {
        #[serde(default)]
        flags: u16,
        seqno: u16,
        interval: u16,
        #[serde(default)]
        sub: String,
    },
    /// Without an address: to whom it may concern (encoding 0).
    Ihu {
        address: Option<IpAddr>,
        cost: u16,
        interval: u16,
        #[serde(default)]
        reserved: u8,
        #[serde(default)]
        sub: String,
    },
    RouterId {
        id: String,
        #[serde(default)]
        reserved: u16,
        #[serde(default)]
        sub: String,
    },
    NextHop {
        address: IpAddr,
        #[serde(default)]
        reserved: u8,
        #[serde(default)]
        sub: String,
    },
    Update(Update),
    /// Without a prefix: everything.
    RouteRequest {
        prefix: Option<String>,
        ae: Option<u8>,
        plen: Option<u8>,
        #[serde(default)]
        sub: String,
    },
    SeqnoRequest {
        prefix: String,
        ae: Option<u8>,
        seqno: u16,
        hops: u8,
        router_id: String,
        #[serde(default)]
        sub: String,
    },
    /// Octets in hexadecimal, blanks allowed.
    Raw(String),
}

/// An Update and, when `router_id` or `next_hop` are given, the TLVs before it that say so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Without it: everything.
    prefix: Option<String>,
    router_id: Option<String>,
    next_hop: Option<IpAddr>,
    #[serde(default)]
    seqno: u16,
    metric: u16,
    #[serde(default = "half_a_minute")]
    interval: u16,
    #[serde(default)]
    flags: u8,
    #[serde(default)]
    omitted: u8,
    ae: Option<u8>,
    /// The length to say, if it is not that of `prefix`.
    plen: Option<u8>,
    #[serde(default)]
    sub: String,
}

fn half_a_minute() -> u16 {
    3000
}

/// A packet body.
pub(super) fn encode(tlvs: &[Tlv]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for tlv in tlvs {
        body.extend(tlv.encode()?);
    }
    Ok(body)
}

/// With the header before it.
pub(super) fn packet(body: &[u8], trailer: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(body.len()).map_err(|e| Error::new(e.to_string()))?;
    Ok([&[42, 2], &length.to_be_bytes()[..], body, trailer].concat())
}

impl Tlv {
    fn encode(&self) -> Result<Vec<u8>> {
        match self {
            Self::AckRequest {
                opaque,
                interval,
                reserved,
                sub,
            } => tlv(2, &[&be(*reserved), &be(*opaque), &be(*interval), &octets(sub)?]),
            Self::Ack { opaque } => tlv(3, &[&be(*opaque)]),
            Self::Hello {
                flags,
                seqno,
                interval,
                sub,
            } => tlv(4, &[&be(*flags), &be(*seqno), &be(*interval), &octets(sub)?]),
            Self::Ihu {
                address,
                cost,
                interval,
                reserved,
                sub,
            } => {
                let (ae, address) = address.map_or((0, Vec::new()), encode_address);
                tlv(
                    5,
                    &[
                        &[ae, *reserved],
                        &be(*cost),
                        &be(*interval),
                        &address,
                        &octets(sub)?,
                    ],
                )
            }
            Self::RouterId { id, reserved, sub } => tlv(6, &[&be(*reserved), &octets(id)?, &octets(sub)?]),
            Self::NextHop {
                address,
                reserved,
                sub,
            } => {
                let (ae, address) = encode_address(*address);
                tlv(7, &[&[ae, *reserved], &address, &octets(sub)?])
            }
            Self::Update(update) => update.encode(),
            Self::RouteRequest {
                prefix,
                ae,
                plen,
                sub,
            } => {
                let (encoding, length, significant) = encode_prefix(prefix.as_deref())?;
                let head = [ae.unwrap_or(encoding), plen.unwrap_or(length)];
                tlv(9, &[&head, &significant, &octets(sub)?])
            }
            Self::SeqnoRequest {
                prefix,
                ae,
                seqno,
                hops,
                router_id,
                sub,
            } => {
                let (encoding, length, significant) = encode_prefix(Some(prefix))?;
                let head = [ae.unwrap_or(encoding), length];
                tlv(
                    10,
                    &[
                        &head,
                        &be(*seqno),
                        &[*hops, 0],
                        &octets(router_id)?,
                        &significant,
                        &octets(sub)?,
                    ],
                )
            }
            Self::Raw(hex) => octets(hex),
        }
    }
}

impl Update {
    fn encode(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        if let Some(id) = &self.router_id {
            all.extend(tlv(6, &[&[0, 0], &octets(id)?])?);
        }
        if let Some(next_hop) = self.next_hop {
            let (ae, address) = encode_address(next_hop);
            all.extend(tlv(7, &[&[ae, 0], &address])?);
        }
        let (ae, plen, significant) = encode_prefix(self.prefix.as_deref())?;
        let sent = significant.get(usize::from(self.omitted)..).unwrap_or_default();
        let head = [
            self.ae.unwrap_or(ae),
            self.flags,
            self.plen.unwrap_or(plen),
            self.omitted,
        ];
        let numbers = [be(self.interval), be(self.seqno), be(self.metric)].concat();
        all.extend(tlv(8, &[&head, &numbers, sent, &octets(&self.sub)?])?);
        Ok(all)
    }
}

pub(super) fn tlv(kind: u8, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let body = parts.concat();
    let length = u8::try_from(body.len()).map_err(|_| Error::new("a TLV of more than 255 octets"))?;
    Ok([&[kind, length], &body[..]].concat())
}

fn be(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

fn encode_address(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(a) => (1, a.octets().to_vec()),
        IpAddr::V6(a) if a.is_unicast_link_local() => (3, a.octets()[8..].to_vec()),
        IpAddr::V6(a) => (2, a.octets().to_vec()),
    }
}

/// Encoding, length and significant octets; host bits are sent as they are.
pub(super) fn encode_prefix(prefix: Option<&str>) -> Result<(u8, u8, Vec<u8>)> {
    let Some(prefix) = prefix else {
        return Ok((0, 0, Vec::new()));
    };
    let parsed = prefix
        .split_once('/')
        .and_then(|(address, length)| Some((address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?)));
    let (address, length) = parsed.ok_or_else(|| Error::new(format!("not a prefix: {prefix}")))?;
    let (ae, octets) = match address {
        IpAddr::V4(a) => (1, a.octets().to_vec()),
        IpAddr::V6(a) => (2, Ipv6Addr::octets(&a).to_vec()),
    };
    let significant = usize::from(length).div_ceil(8);
    let sent = octets
        .get(..significant)
        .ok_or_else(|| Error::new(format!("too long: {prefix}")))?;
    Ok((ae, length, sent.to_vec()))
}

/// Hexadecimal to octets.
pub(super) fn octets(hex: &str) -> Result<Vec<u8>> {
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let wrong = || Error::new(format!("not octets in hexadecimal: {hex}"));
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(wrong());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}
