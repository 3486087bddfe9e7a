//! What forwarding reads of an IPv6 packet (RFC 8200), which echo messages (RFC 4443) are control's own, and how
//! many errors may be sent.

use core::net::Ipv6Addr;
use osier_proto::{
    Instant,
    packet::{
        self, DEFAULT_HOP_LIMIT, Echo, ICMPV6, ICMPV6_HEADER, IPV6_HEADER, IcmpHeader, TYPE_ECHO_REPLY,
        TYPE_ECHO_REQUEST,
    },
    snapshot::PROBE_MAGIC,
};

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
        let header = packet.first_chunk::<IPV6_HEADER>()?;
        let length = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
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

    /// Whether this is an echo request.
    pub(crate) fn is_echo_request(&self, packet: &[u8]) -> bool {
        self.icmp_type(packet) == Some(TYPE_ECHO_REQUEST)
    }

    /// Whether this is an echo request of control's.
    pub(crate) fn is_probe_request(&self, packet: &[u8]) -> bool {
        self.is_echo_request(packet) && has_magic(packet, 0)
    }

    /// Whether this answers an echo request of control's: by a reply, or by an error about it.
    pub(crate) fn is_probe_answer(&self, packet: &[u8]) -> bool {
        match self.icmp_type(packet) {
            Some(TYPE_ECHO_REPLY) => has_magic(packet, 0),
            // Destination unreachable, packet too big, time exceeded, parameter problem: all quote the packet.
            Some(1..=4) => {
                let quoted = IPV6_HEADER + ICMPV6_HEADER;
                packet.get(quoted + 6) == Some(&ICMPV6)
                    && packet.get(quoted + IPV6_HEADER) == Some(&TYPE_ECHO_REQUEST)
                    && has_magic(packet, quoted)
            }
            _ => false,
        }
    }

    /// Whether this is an ICMPv6 error.
    pub(crate) fn is_error(&self, packet: &[u8]) -> bool {
        self.icmp_type(packet).is_some_and(|kind| kind < 128)
    }

    /// Where the packet was going that this ICMPv6 error is about.
    pub(crate) fn error_about(&self, packet: &[u8]) -> Option<Ipv6Addr> {
        let quoted = packet.get(IPV6_HEADER + ICMPV6_HEADER..self.length)?;
        self.is_error(packet)
            .then(|| quoted.first_chunk())?
            .map(|header| address(header, 24))
    }

    fn icmp_type(&self, packet: &[u8]) -> Option<u8> {
        (self.next_header == ICMPV6 && self.length >= IPV6_HEADER + ICMPV6_HEADER)
            .then(|| packet[IPV6_HEADER])
    }
}

/// Whether the echo message of the packet that begins at `start` has the probe's magic as payload.
fn has_magic(packet: &[u8], start: usize) -> bool {
    packet
        .get(start + IPV6_HEADER + ICMPV6_HEADER..)
        .is_some_and(|payload| payload.starts_with(&PROBE_MAGIC))
}

/// Writes the reply to an echo request; its length, 0 when `out` is too small.
pub(crate) fn echo_reply(request: &[u8], header: &Header, out: &mut [u8]) -> usize {
    let Some([_, _, _, _, a, b, c, d, payload @ ..]) = request.get(IPV6_HEADER..header.length) else {
        return 0;
    };
    let back = IcmpHeader {
        source: header.destination,
        destination: header.source,
        hop_limit: DEFAULT_HOP_LIMIT,
    };
    let echo = Echo {
        identifier: u16::from_be_bytes([*a, *b]),
        sequence: u16::from_be_bytes([*c, *d]),
    };
    packet::build_echo_reply(&back, echo, payload, out).unwrap_or(0)
}

fn address(header: &[u8; IPV6_HEADER], at: usize) -> Ipv6Addr {
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
