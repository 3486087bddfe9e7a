//! As much of IPv6 (RFC 8200) and ICMPv6 (RFC 4443) as forwarding needs.

use core::net::Ipv6Addr;
use osier_proto::{
    Instant,
    snapshot::{MIN_MTU, PROBE_MAGIC},
};

const HEADER: usize = 40;
const ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// Type, code, checksum and four octets whose meaning depends on the type.
const ICMP_HEADER: usize = 8;
/// Hop limit of what we originate.
const HOP_LIMIT: u8 = 64;

/// What forwarding wants to know of an IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
    next_header: u8,
    /// Of the whole packet, by its own word.
    pub(crate) length: usize,
}

impl Header {
    /// `None` unless this is IPv6 and as long as it says. Octets after its end are not part of it.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<HEADER>()?;
        let length = HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || length > packet.len() {
            return None;
        }
        Some(Self {
            source: address(header, 8),
            destination: address(header, 24),
            hop_limit: header[7],
            next_header: header[6],
            length,
        })
    }

    /// Whether an ICMPv6 error may be sent about this packet (RFC 4443 section 2.4 (e)).
    pub(crate) fn deserves_error(&self, packet: &[u8]) -> bool {
        let from_one_node = !(self.source.is_unspecified()
            || self.source.is_multicast()
            || self.source.is_loopback()
            || self.source.is_unicast_link_local());
        // Informational messages have types above 127; what is too short to have a type gets no answer either.
        let is_error = self.next_header == ICMPV6 && packet.get(HEADER).is_none_or(|t| *t < 128);
        from_one_node && !self.destination.is_multicast() && !is_error
    }

    /// Whether this is an echo request.
    pub(crate) fn is_echo_request(&self, packet: &[u8]) -> bool {
        self.icmp_type(packet) == Some(ECHO_REQUEST)
    }

    /// Whether this is an echo request of control's.
    pub(crate) fn is_probe_request(&self, packet: &[u8]) -> bool {
        self.is_echo_request(packet) && has_magic(packet, 0)
    }

    /// Whether this answers an echo request of control's: by a reply, or by an error about it.
    pub(crate) fn is_probe_answer(&self, packet: &[u8]) -> bool {
        match self.icmp_type(packet) {
            Some(ECHO_REPLY) => has_magic(packet, 0),
            // Destination unreachable, packet too big, time exceeded, parameter problem: all quote the packet.
            Some(1..=4) => {
                let quoted = HEADER + ICMP_HEADER;
                packet.get(quoted + 6) == Some(&ICMPV6)
                    && packet.get(quoted + HEADER) == Some(&ECHO_REQUEST)
                    && has_magic(packet, quoted)
            }
            _ => false,
        }
    }

    fn icmp_type(&self, packet: &[u8]) -> Option<u8> {
        (self.next_header == ICMPV6 && self.length >= HEADER + ICMP_HEADER).then(|| packet[HEADER])
    }
}

/// Whether the echo message of the packet that begins at `start` has the probe's magic as payload.
fn has_magic(packet: &[u8], start: usize) -> bool {
    packet
        .get(start + HEADER + ICMP_HEADER..)
        .is_some_and(|payload| payload.starts_with(&PROBE_MAGIC))
}

/// The ICMPv6 errors we send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    NoRoute,
    /// To an address of our own prefix that does not exist.
    AddressUnreachable,
    TooBig(u16),
    TimeExceeded,
}

impl Error {
    fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::AddressUnreachable => (1, 3, 0),
            Self::TooBig(mtu) => (2, 0, u32::from(mtu)),
            Self::TimeExceeded => (3, 0, 0),
        }
    }
}

/// Writes an ICMPv6 error about `invoking`, of which it quotes as much as fits the minimum MTU; its length.
pub(crate) fn error(error: Error, from: Ipv6Addr, to: Ipv6Addr, invoking: &[u8], out: &mut [u8]) -> usize {
    let (kind, code, parameter) = error.fields();
    let quoted = &invoking[..invoking.len().min(usize::from(MIN_MTU) - HEADER - ICMP_HEADER)];
    let length = HEADER + ICMP_HEADER + quoted.len();
    let out = &mut out[..length];
    out[HEADER..HEADER + 2].copy_from_slice(&[kind, code]);
    out[HEADER + 4..HEADER + 8].copy_from_slice(&parameter.to_be_bytes());
    out[HEADER + ICMP_HEADER..].copy_from_slice(quoted);
    finish(from, to, out);
    length
}

/// Writes the reply to an echo request; its length.
pub(crate) fn echo_reply(request: &[u8], header: &Header, out: &mut [u8]) -> usize {
    let out = &mut out[..header.length];
    out[HEADER..].copy_from_slice(&request[HEADER..header.length]);
    out[HEADER] = ECHO_REPLY;
    finish(header.destination, header.source, out);
    header.length
}

/// Writes the IPv6 header and the checksum of an ICMPv6 packet.
fn finish(from: Ipv6Addr, to: Ipv6Addr, packet: &mut [u8]) {
    let payload = (packet.len() - HEADER) as u16;
    packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    packet[4..6].copy_from_slice(&payload.to_be_bytes());
    packet[6] = ICMPV6;
    packet[7] = HOP_LIMIT;
    packet[8..24].copy_from_slice(&from.octets());
    packet[24..40].copy_from_slice(&to.octets());
    packet[HEADER + 2..HEADER + 4].fill(0);
    let sum = checksum(packet);
    packet[HEADER + 2..HEADER + 4].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum over an ICMPv6 packet and its pseudo-header (RFC 8200 section 8.1); zero over a correct one.
pub(crate) fn checksum(packet: &[u8]) -> u16 {
    let length = (packet.len() - HEADER) as u64;
    // Addresses and message lie next to each other; the rest of the pseudo-header is length and protocol.
    let mut sum = length + u64::from(ICMPV6);
    let mut pairs = packet[8..].chunks_exact(2);
    sum += pairs
        .by_ref()
        .map(|p| u64::from(u16::from_be_bytes([p[0], p[1]])))
        .sum::<u64>();
    if let [last] = pairs.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn address(header: &[u8; HEADER], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Limits how many errors are sent: a burst of 100, refilled with 100 a second (RFC 4443 section 2.4 (f)).
#[derive(Debug)]
pub(crate) struct TokenBucket {
    tokens: u64,
    /// Up to when tokens have been credited.
    credited: Instant,
}

const BURST: u64 = 100;
const MICROS_PER_TOKEN: u64 = 10_000;

impl TokenBucket {
    pub(crate) fn new() -> Self {
        Self {
            tokens: BURST,
            credited: Instant::ZERO,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let earned = now.as_micros().saturating_sub(self.credited.as_micros()) / MICROS_PER_TOKEN;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.credited = Instant::from_micros(now.as_micros() / MICROS_PER_TOKEN * MICROS_PER_TOKEN);
        }
        let granted = self.tokens > 0;
        self.tokens -= u64::from(granted);
        granted
    }
}
