//! Reading packets.

use super::{Centis, Echo, FLAG_PREFIX, FLAG_ROUTER_ID, FLAG_UNICAST, HEADER, MAGIC, MANDATORY, VERSION};
use super::{SeqnoRequest, Tlv, Update, ae, kind, sub};
use crate::{INFINITY, IpNet, RouterId};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::{Ipv4Net, Ipv6Net};

/// Why a whole packet is dropped (RFC 8966 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("the packet is shorter than a header or than the body length in it")]
    Truncated,
    #[error("magic is {0}, not 42")]
    Magic(u8),
    #[error("version is {0}, not 2")]
    Version(u8),
}

/// Why one TLV is ignored. The rest of the packet is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    #[error("a TLV or sub-TLV ends before its contents do")]
    Truncated,
    #[error("unknown mandatory sub-TLV of type {0}")]
    Mandatory(u8),
    #[error("a source prefix that is malformed, repeated or out of place")]
    SourcePrefix,
    #[error("address encoding {0} is unknown or not allowed here")]
    AddressEncoding(u8),
    #[error("prefix length or omitted octets out of range")]
    Prefix,
    #[error("octets are omitted but no default prefix was set")]
    NoDefaultPrefix,
    #[error("finite update without a router-id")]
    NoRouterId,
    #[error("finite update without a next hop")]
    NoNextHop,
}

/// Checks the header and yields the TLVs of the body. `source` is the sender's address: the next hop of IPv6
/// updates until a Next Hop TLV says otherwise. The trailer is not read: no TLV that we know may act there.
pub fn parse(payload: &[u8], source: Ipv6Addr) -> Result<Tlvs<'_>, PacketError> {
    let (header, rest) = payload
        .split_first_chunk::<HEADER>()
        .ok_or(PacketError::Truncated)?;
    let [magic, version, high, low] = *header;
    if magic != MAGIC {
        return Err(PacketError::Magic(magic));
    }
    if version != VERSION {
        return Err(PacketError::Version(version));
    }
    let body = rest
        .get(..usize::from(u16::from_be_bytes([high, low])))
        .ok_or(PacketError::Truncated)?;
    Ok(Tlvs {
        rest: body,
        router_id: None,
        next_hop_v4: None,
        next_hop_v6: Some(source),
        default_v4: None,
        default_v4_via_v6: None,
        default_v6: None,
    })
}

/// The TLVs of a packet body in order; see [`parse`].
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
    router_id: Option<RouterId>,
    next_hop_v4: Option<Ipv4Addr>,
    next_hop_v6: Option<Ipv6Addr>,
    default_v4: Option<[u8; 4]>,
    /// AE 4 has a compression state of its own (RFC 9229 section 4.1).
    default_v4_via_v6: Option<[u8; 4]>,
    default_v6: Option<[u8; 16]>,
}

impl Iterator for Tlvs<'_> {
    type Item = Result<Tlv, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&kind, rest) = self.rest.split_first()?;
            if kind == kind::PAD1 {
                self.rest = rest;
                continue;
            }
            // A length that leads out of the body leaves nothing to resume at.
            let Some((body, rest)) = rest
                .split_first()
                .and_then(|(&n, rest)| rest.split_at_checked(n.into()))
            else {
                self.rest = &[];
                return Some(Err(TlvError::Truncated));
            };
            self.rest = rest;
            match self.tlv(kind, Reader(body)) {
                Ok(None) => {}
                Ok(Some(tlv)) => return Some(Ok(tlv)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Tlvs<'_> {
    fn tlv(&mut self, kind: u8, mut r: Reader<'_>) -> Result<Option<Tlv>, TlvError> {
        let tlv = match kind {
            kind::ACK_REQUEST => {
                r.u16()?;
                Tlv::AckRequest {
                    opaque: r.u16()?,
                    interval: r.centis()?,
                }
            }
            kind::ACK => Tlv::Ack { opaque: r.u16()? },
            kind::HELLO => {
                let (flags, seqno, interval) = (r.u16()?, r.u16()?, r.centis()?);
                let timestamp = r.sub_tlvs(None)?.timestamp;
                Tlv::Hello {
                    unicast: flags & FLAG_UNICAST != 0,
                    seqno,
                    interval,
                    timestamp: timestamp.and_then(|body| Reader(body).u32().ok()),
                }
            }
            kind::IHU => {
                let encoding = r.u8()?;
                r.u8()?;
                let (rx_cost, interval) = (r.u16()?, r.centis()?);
                let address = match encoding {
                    ae::WILDCARD => None,
                    _ => Some(r.address(encoding)?),
                };
                let timestamp = r.sub_tlvs(None)?.timestamp;
                Tlv::Ihu {
                    address,
                    rx_cost,
                    interval,
                    timestamps: timestamp.and_then(|body| Reader(body).echo().ok()),
                }
            }
            kind::ROUTER_ID => {
                r.u16()?;
                self.router_id = valid_router_id(r.array()?);
                return r.sub_tlvs(None).map(|_| None);
            }
            kind::NEXT_HOP => {
                let encoding = r.u8()?;
                r.u8()?;
                match r.address(encoding)? {
                    IpAddr::V4(a) => self.next_hop_v4 = usable(a.into()).then_some(a),
                    IpAddr::V6(a) => self.next_hop_v6 = usable(a.into()).then_some(a),
                }
                return r.sub_tlvs(None).map(|_| None);
            }
            kind::UPDATE => return self.update(r).map(|update| Some(Tlv::Update(update))),
            kind::ROUTE_REQUEST => {
                let (encoding, plen) = (r.u8()?, r.u8()?);
                let prefix = match (encoding, plen) {
                    (ae::WILDCARD, 0) => None,
                    (ae::WILDCARD, _) => return Err(TlvError::Prefix),
                    _ => Some(r.prefix(encoding, plen)?),
                };
                let source = r.sub_tlvs(Some(encoding))?.source;
                Tlv::RouteRequest { prefix, source }
            }
            kind::SEQNO_REQUEST => {
                let (encoding, plen, seqno, hop_count) = (r.u8()?, r.u8()?, r.u16()?, r.u8()?);
                r.u8()?;
                let router_id = RouterId(r.array()?);
                let prefix = r.prefix(encoding, plen)?;
                let source = r.sub_tlvs(Some(encoding))?.source;
                Tlv::SeqnoRequest(SeqnoRequest {
                    prefix,
                    source,
                    seqno,
                    hop_count,
                    router_id,
                })
            }
            // PadN, and what we do not know.
            _ => return Ok(None),
        };
        r.sub_tlvs(None)?;
        Ok(Some(tlv))
    }

    fn update(&mut self, mut r: Reader<'_>) -> Result<Update, TlvError> {
        let (encoding, flags, plen, omitted) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
        let (interval, seqno, metric) = (r.centis()?, r.u16()?, r.u16()?);
        let mut next_hop = None;
        let prefix = match encoding {
            ae::WILDCARD => {
                if metric != INFINITY || plen != 0 || omitted != 0 {
                    return Err(TlvError::Prefix);
                }
                None
            }
            ae::IPV4 | ae::V4_VIA_V6 => {
                let (default, via) = if encoding == ae::IPV4 {
                    (&mut self.default_v4, self.next_hop_v4.map(IpAddr::V4))
                } else {
                    (&mut self.default_v4_via_v6, self.next_hop_v6.map(IpAddr::V6))
                };
                next_hop = via;
                let octets = r.octets(plen, omitted, *default)?;
                if flags & FLAG_PREFIX != 0 {
                    *default = Some(octets);
                }
                if flags & FLAG_ROUTER_ID != 0 {
                    let mut id = [0; 8];
                    id[4..].copy_from_slice(&octets);
                    self.router_id = valid_router_id(id);
                }
                Some(v4_net(octets, plen)?)
            }
            ae::IPV6 => {
                let octets = r.octets(plen, omitted, self.default_v6)?;
                if flags & FLAG_PREFIX != 0 {
                    self.default_v6 = Some(octets);
                }
                if flags & FLAG_ROUTER_ID != 0 {
                    self.router_id = router_id_in(octets);
                }
                next_hop = self.next_hop_v6.map(IpAddr::V6);
                Some(v6_net(octets, plen)?)
            }
            ae::LINK_LOCAL => {
                // Nobody can route to a link-local prefix, but its router-id is for the Updates after it.
                let octets = r.link_local_octets(plen)?;
                if flags & FLAG_ROUTER_ID != 0 {
                    self.router_id = router_id_in(octets);
                }
                return Err(TlvError::AddressEncoding(encoding));
            }
            _ => return Err(TlvError::AddressEncoding(encoding)),
        };
        // The parser state has moved: a mandatory sub-TLV voids only what the Update itself says (4.5).
        let source = r.sub_tlvs(Some(encoding))?.source;
        if metric != INFINITY {
            self.router_id.ok_or(TlvError::NoRouterId)?;
            next_hop.ok_or(TlvError::NoNextHop)?;
        }
        Ok(Update {
            prefix,
            source,
            interval,
            seqno,
            metric,
            router_id: self.router_id,
            next_hop,
        })
    }
}

/// All zeroes and all ones are reserved (section 4.1.3); after such a router-id there is none.
fn valid_router_id(id: [u8; 8]) -> Option<RouterId> {
    (id != [0; 8] && id != [0xff; 8]).then_some(RouterId(id))
}

fn router_id_in(address: [u8; 16]) -> Option<RouterId> {
    let [.., a, b, c, d, e, f, g, h] = address;
    valid_router_id([a, b, c, d, e, f, g, h])
}

fn usable(next_hop: IpAddr) -> bool {
    !(next_hop.is_unspecified() || next_hop.is_multicast() || next_hop.is_loopback())
}

fn v4_net(octets: [u8; 4], plen: u8) -> Result<IpNet, TlvError> {
    Ipv4Net::new(octets.into(), plen)
        .map(|net| net.trunc().into())
        .map_err(|_| TlvError::Prefix)
}

fn v6_net(octets: [u8; 16], plen: u8) -> Result<IpNet, TlvError> {
    Ipv6Net::new(octets.into(), plen)
        .map(|net| net.trunc().into())
        .map_err(|_| TlvError::Prefix)
}

/// The unread rest of one TLV.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TlvError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(TlvError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, TlvError> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Result<u16, TlvError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, TlvError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The body of a Timestamp sub-TLV in an IHU (RFC 9616 section 6.2). What follows is of later versions.
    fn echo(&mut self) -> Result<Echo, TlvError> {
        Ok(Echo {
            origin: self.u32()?,
            received: self.u32()?,
        })
    }

    fn centis(&mut self) -> Result<Centis, TlvError> {
        self.u16().map(Centis)
    }

    fn address(&mut self, encoding: u8) -> Result<IpAddr, TlvError> {
        match encoding {
            ae::IPV4 => self.array::<4>().map(IpAddr::from),
            ae::IPV6 => self.array::<16>().map(IpAddr::from),
            ae::LINK_LOCAL => self.link_local_octets(128).map(IpAddr::from),
            _ => Err(TlvError::AddressEncoding(encoding)),
        }
    }

    /// A prefix of a request, which is never compressed.
    fn prefix(&mut self, encoding: u8, plen: u8) -> Result<IpNet, TlvError> {
        match encoding {
            // What is asked for does not depend on a next hop (RFC 9229 section 2.3).
            ae::IPV4 | ae::V4_VIA_V6 => v4_net(self.octets(plen, 0, None)?, plen),
            ae::IPV6 => v6_net(self.octets(plen, 0, None)?, plen),
            _ => Err(TlvError::AddressEncoding(encoding)),
        }
    }

    /// The octets of a prefix, of which the first `omitted` come from `default`.
    fn octets<const N: usize>(
        &mut self,
        plen: u8,
        omitted: u8,
        default: Option<[u8; N]>,
    ) -> Result<[u8; N], TlvError> {
        let (significant, omitted) = (usize::from(plen).div_ceil(8), usize::from(omitted));
        if significant > N || omitted > N {
            return Err(TlvError::Prefix);
        }
        let mut octets = [0; N];
        if omitted > 0 {
            let default = default.ok_or(TlvError::NoDefaultPrefix)?;
            octets[..omitted].copy_from_slice(&default[..omitted]);
        }
        if significant > omitted {
            let sent = self
                .0
                .split_at_checked(significant - omitted)
                .ok_or(TlvError::Truncated)?;
            octets[omitted..significant].copy_from_slice(sent.0);
            self.0 = sent.1;
        }
        Ok(octets)
    }

    fn link_local_octets(&mut self, plen: u8) -> Result<[u8; 16], TlvError> {
        let significant = usize::from(plen).div_ceil(8);
        if significant > 16 {
            return Err(TlvError::Prefix);
        }
        let mut octets = [0; 16];
        octets[0] = 0xfe;
        octets[1] = 0x80;
        let sent = self
            .0
            .split_at_checked(significant.saturating_sub(8))
            .ok_or(TlvError::Truncated)?;
        octets[8..8 + sent.0.len()].copy_from_slice(sent.0);
        self.0 = sent.1;
        Ok(octets)
    }

    /// What is left of a TLV are sub-TLVs (section 4.4). `encoding` is that of the prefix that a source prefix
    /// would go with; `None` where none is allowed.
    fn sub_tlvs(&mut self, encoding: Option<u8>) -> Result<SubTlvs<'a>, TlvError> {
        let mut found = SubTlvs::default();
        while !self.0.is_empty() {
            let kind = self.u8()?;
            if kind == sub::PAD1 {
                continue;
            }
            let length = usize::from(self.u8()?);
            let (body, rest) = self.0.split_at_checked(length).ok_or(TlvError::Truncated)?;
            self.0 = rest;
            match (kind, encoding) {
                (sub::SOURCE_PREFIX, Some(encoding)) => {
                    let source = Reader(body).source_prefix(encoding)?;
                    if found.source.replace(source).is_some() {
                        return Err(TlvError::SourcePrefix);
                    }
                }
                // One that is too short counts for nothing where it is read; the TLV stands all the same.
                (sub::TIMESTAMP, _) => found.timestamp = Some(body),
                (MANDATORY.., _) => return Err(TlvError::Mandatory(kind)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The body of a Source Prefix sub-TLV (RFC 9079 section 7). Octets after the prefix are ignored.
    fn source_prefix(&mut self, encoding: u8) -> Result<IpNet, TlvError> {
        let plen = self.u8().map_err(|_| TlvError::SourcePrefix)?;
        if plen == 0 {
            return Err(TlvError::SourcePrefix);
        }
        // Not with a wildcard: it covers every source anyway (section 5.2).
        self.prefix(encoding, plen).map_err(|_| TlvError::SourcePrefix)
    }
}

/// What sub-TLVs said.
#[derive(Default)]
struct SubTlvs<'a> {
    source: Option<IpNet>,
    /// The contents of a Timestamp.
    timestamp: Option<&'a [u8]>,
}
