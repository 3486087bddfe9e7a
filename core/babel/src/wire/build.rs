//! Writing packets.

use super::{Centis, Echo, FLAG_PREFIX, FLAG_ROUTER_ID, FLAG_UNICAST, HEADER, MAGIC, VERSION};
use super::{SeqnoRequest, Update, ae, kind, sub};
use crate::{IpNet, RouteKey, RouterId};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One packet under construction. Each method appends one TLV (an Update with the Router-Id and Next Hop TLVs
/// it needs) and returns `false`, with the packet unchanged, when it does not fit any more.
#[derive(Clone, Debug)]
pub struct Builder {
    buf: Vec<u8>,
    limit: usize,
    router_id: Option<RouterId>,
    next_hop_v4: Option<Ipv4Addr>,
    next_hop_v6: Ipv6Addr,
    default_v4: Option<[u8; 4]>,
    default_v4_via_v6: Option<[u8; 4]>,
    default_v6: Option<[u8; 16]>,
}

impl Builder {
    /// A packet of at most `limit` octets, which will be sent from `source`.
    pub fn new(limit: usize, source: Ipv6Addr) -> Self {
        Self {
            buf: vec![MAGIC, VERSION, 0, 0],
            limit: limit.min(HEADER + usize::from(u16::MAX)),
            router_id: None,
            next_hop_v4: None,
            next_hop_v6: source,
            default_v4: None,
            default_v4_via_v6: None,
            default_v6: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buf.len() == HEADER
    }

    /// Octets that are still free.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.buf.len())
    }

    /// The finished UDP payload.
    pub fn finish(mut self) -> Vec<u8> {
        // The constructor caps the limit, so the body's length fits.
        let length = u16::try_from(self.buf.len() - HEADER).unwrap_or(u16::MAX);
        self.buf[2..HEADER].copy_from_slice(&length.to_be_bytes());
        self.buf
    }

    pub fn ack_request(&mut self, opaque: u16, interval: Centis) -> bool {
        self.tlv(
            kind::ACK_REQUEST,
            &[&[0, 0], &opaque.to_be_bytes(), &interval.0.to_be_bytes()],
        )
    }

    pub fn ack(&mut self, opaque: u16) -> bool {
        self.tlv(kind::ACK, &[&opaque.to_be_bytes()])
    }

    pub fn hello(&mut self, unicast: bool, seqno: u16, interval: Centis) -> bool {
        self.timestamped_hello(unicast, seqno, interval, None)
    }

    /// A Hello that says when it was sent, in microseconds of our clock (RFC 9616 section 6.1).
    pub fn timestamped_hello(
        &mut self,
        unicast: bool,
        seqno: u16,
        interval: Centis,
        timestamp: Option<u32>,
    ) -> bool {
        let flags = if unicast { FLAG_UNICAST } else { 0 };
        self.tlv(
            kind::HELLO,
            &[
                &flags.to_be_bytes(),
                &seqno.to_be_bytes(),
                &interval.0.to_be_bytes(),
                &encode_timestamps(timestamp.as_slice()),
            ],
        )
    }

    pub fn ihu(&mut self, address: Option<IpAddr>, rx_cost: u16, interval: Centis) -> bool {
        self.timestamped_ihu(address, rx_cost, interval, None)
    }

    /// An IHU that says when the last Hello was sent and came (RFC 9616 section 6.2).
    pub fn timestamped_ihu(
        &mut self,
        address: Option<IpAddr>,
        rx_cost: u16,
        interval: Centis,
        echo: Option<Echo>,
    ) -> bool {
        let (encoding, octets) = address.map_or((ae::WILDCARD, Vec::new()), encode_address);
        let fixed = [
            &[encoding, 0][..],
            &rx_cost.to_be_bytes(),
            &interval.0.to_be_bytes(),
        ]
        .concat();
        let echo = echo.map(|echo| [echo.origin, echo.received]);
        let timestamps = encode_timestamps(echo.as_ref().map_or(&[], |echo| &echo[..]));
        self.tlv(kind::IHU, &[&fixed, &octets, &timestamps])
    }

    /// Asks for a prefix with its source, or for everything. IPv4 is asked for by AE 1 whatever the next hop
    /// may be (RFC 9229 section 2.3).
    pub fn route_request(&mut self, route: Option<RouteKey>) -> bool {
        match route {
            None => self.tlv(kind::ROUTE_REQUEST, &[&[ae::WILDCARD, 0]]),
            Some(RouteKey { prefix, source }) => {
                let (encoding, octets) = encode_prefix(&prefix);
                let fixed = [encoding, prefix.prefix_len()];
                self.tlv(kind::ROUTE_REQUEST, &[&fixed, &octets, &encode_source(source)])
            }
        }
    }

    pub fn seqno_request(&mut self, request: &SeqnoRequest) -> bool {
        let (encoding, octets) = encode_prefix(&request.prefix);
        self.tlv(
            kind::SEQNO_REQUEST,
            &[
                &[encoding, request.prefix.prefix_len()],
                &request.seqno.to_be_bytes(),
                &[request.hop_count, 0],
                &request.router_id.0,
                &octets,
                &encode_source(request.source),
            ],
        )
    }

    /// A challenge to the receiver (RFC 8967 section 6.3). `nonce` has at most 192 octets.
    pub fn challenge_request(&mut self, nonce: &[u8]) -> bool {
        self.tlv(kind::CHALLENGE_REQUEST, &[nonce])
    }

    /// The answer to a challenge (RFC 8967 section 6.4).
    pub fn challenge_reply(&mut self, nonce: &[u8]) -> bool {
        self.tlv(kind::CHALLENGE_REPLY, &[nonce])
    }

    /// Appends an Update. A router-id is always sent before a retraction too: some daemons ignore a
    /// retraction without one. A retraction may leave out the next hop; with an IPv6 one an IPv4 prefix is
    /// encoded as RFC 9229 says.
    pub fn update(&mut self, update: &Update) -> bool {
        let start = self.buf.len();
        let saved = (self.router_id, self.next_hop_v4, self.next_hop_v6);
        if self.update_tlvs(update) {
            return true;
        }
        self.buf.truncate(start);
        (self.router_id, self.next_hop_v4, self.next_hop_v6) = saved;
        false
    }

    fn update_tlvs(&mut self, update: &Update) -> bool {
        let Update {
            interval,
            seqno,
            metric,
            router_id,
            next_hop,
            ..
        } = update;
        let prefix = update.prefix.map(|prefix| prefix.trunc());
        let mut flags = 0;
        if let Some(id) = router_id.filter(|id| self.router_id != Some(*id)) {
            if !update.is_retraction() && prefix.is_some_and(|prefix| holds_router_id(&prefix, id)) {
                flags |= FLAG_ROUTER_ID;
            } else if !self.tlv(kind::ROUTER_ID, &[&[0, 0], &id.0]) {
                return false;
            }
            self.router_id = Some(id);
        }
        if !self.next_hop(*next_hop) {
            return false;
        }
        let (encoding, plen, octets) = match prefix {
            None => (ae::WILDCARD, 0, Vec::new()),
            Some(prefix) => {
                let (encoding, octets) = encode_prefix(&prefix);
                (encoding, prefix.prefix_len(), octets)
            }
        };
        let encoding = match (encoding, next_hop) {
            (ae::IPV4, Some(IpAddr::V6(_))) => ae::V4_VIA_V6,
            _ => encoding,
        };
        // Prefixes come sorted, so the best default prefix is always the one just sent.
        let omitted = match encoding {
            ae::IPV4 => common(self.default_v4.as_ref().map(|d| &d[..]), &octets),
            ae::V4_VIA_V6 => common(self.default_v4_via_v6.as_ref().map(|d| &d[..]), &octets),
            ae::IPV6 => common(self.default_v6.as_ref().map(|d| &d[..]), &octets),
            _ => 0,
        };
        if prefix.is_some() {
            flags |= FLAG_PREFIX;
        }
        // `omitted` is at most 16.
        let fixed = [encoding, flags, plen, u8::try_from(omitted).unwrap_or(0)];
        let numbers = [
            interval.0.to_be_bytes(),
            seqno.to_be_bytes(),
            metric.to_be_bytes(),
        ]
        .concat();
        // A wildcard covers every source (RFC 9079 section 5.2).
        let source = encode_source(update.source.filter(|_| prefix.is_some()));
        if !self.tlv(kind::UPDATE, &[&fixed, &numbers, &octets[omitted..], &source]) {
            return false;
        }
        match prefix {
            None => {}
            Some(IpNet::V4(net)) if encoding == ae::V4_VIA_V6 => {
                self.default_v4_via_v6 = Some(net.addr().octets());
            }
            Some(IpNet::V4(net)) => self.default_v4 = Some(net.addr().octets()),
            Some(IpNet::V6(net)) => self.default_v6 = Some(net.addr().octets()),
        }
        true
    }

    fn next_hop(&mut self, next_hop: Option<IpAddr>) -> bool {
        let known = match next_hop {
            None => true,
            Some(IpAddr::V4(a)) => self.next_hop_v4.replace(a) == Some(a),
            Some(IpAddr::V6(a)) => core::mem::replace(&mut self.next_hop_v6, a) == a,
        };
        let Some(next_hop) = next_hop.filter(|_| !known) else {
            return true;
        };
        let (encoding, octets) = encode_address(next_hop);
        self.tlv(kind::NEXT_HOP, &[&[encoding, 0], &octets])
    }

    fn tlv(&mut self, kind: u8, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let Ok(octet) = u8::try_from(length) else {
            return false;
        };
        if self.buf.len() + 2 + length > self.limit {
            return false;
        }
        self.buf.extend_from_slice(&[kind, octet]);
        parts.iter().for_each(|part| self.buf.extend_from_slice(part));
        true
    }
}

/// A Timestamp sub-TLV, unless there is nothing to say.
fn encode_timestamps(timestamps: &[u32]) -> Vec<u8> {
    if timestamps.is_empty() {
        return Vec::new();
    }
    // One or two timestamps of four octets.
    let mut octets = vec![sub::TIMESTAMP, 4 * timestamps.len() as u8];
    timestamps
        .iter()
        .for_each(|timestamp| octets.extend(timestamp.to_be_bytes()));
    octets
}

fn encode_address(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(a) => (ae::IPV4, a.octets().to_vec()),
        IpAddr::V6(a) if a.segments()[..4] == [0xfe80, 0, 0, 0] => (ae::LINK_LOCAL, a.octets()[8..].to_vec()),
        IpAddr::V6(a) => (ae::IPV6, a.octets().to_vec()),
    }
}

/// The significant octets of a prefix, the bits beyond its length cleared.
fn encode_prefix(prefix: &IpNet) -> (u8, Vec<u8>) {
    let significant = usize::from(prefix.prefix_len()).div_ceil(8);
    match prefix.trunc() {
        IpNet::V4(net) => (ae::IPV4, net.addr().octets()[..significant].to_vec()),
        IpNet::V6(net) => (ae::IPV6, net.addr().octets()[..significant].to_vec()),
    }
}

/// The Source Prefix sub-TLV (RFC 9079 section 7). A length of 0 must not be said: it means none.
fn encode_source(source: Option<IpNet>) -> Vec<u8> {
    let Some(source) = source.filter(|source| source.prefix_len() > 0) else {
        return Vec::new();
    };
    let (_, octets) = encode_prefix(&source);
    // At most 17.
    let length = u8::try_from(1 + octets.len()).unwrap_or(u8::MAX);
    [&[sub::SOURCE_PREFIX, length, source.prefix_len()], &octets[..]].concat()
}

fn holds_router_id(prefix: &IpNet, id: RouterId) -> bool {
    match prefix {
        IpNet::V6(net) => net.prefix_len() == 128 && net.addr().octets()[8..] == id.0,
        IpNet::V4(_) => false,
    }
}

/// Leading octets that both have.
fn common(default: Option<&[u8]>, octets: &[u8]) -> usize {
    default.map_or(0, |default| {
        default.iter().zip(octets).take_while(|(a, b)| a == b).count()
    })
}
