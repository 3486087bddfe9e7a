//! IPv6, UDP and ICMPv6 as far as a router needs them: parse, build, checksum.
//!
//! Everything works on slices and allocates nothing (but for [`udp_packet`]), because the data plane uses it.
//! Sources: RFC 8200 (IPv6), RFC 768 and RFC 8200 section 8.1 (UDP), RFC 4443 (ICMPv6).

mod icmp;
mod udp;

pub use icmp::*;
pub use udp::*;

use core::net::Ipv6Addr;

/// Octets of the fixed IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Every IPv6 link carries packets of this size (RFC 8200 section 5); ICMPv6 errors are no longer.
pub const MIN_MTU: usize = 1280;
/// Hop limit of packets that we originate towards the mesh.
pub const DEFAULT_HOP_LIMIT: u8 = 64;

/// TCP's next-header value (RFC 9293).
pub const TCP: u8 = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are looked through.
const MAX_EXTENSIONS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("shorter than its headers say")]
    Truncated,
    #[error("not IPv6")]
    Version,
    #[error("another protocol")]
    Protocol,
    #[error("lengths that contradict each other")]
    Length,
    #[error("wrong checksum")]
    Checksum,
}

/// A checked view of an IPv6 packet. What a session's padding put behind the packet is not part of it.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Packet<'a> {
    octets: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Version 6, and as many octets as the payload length says.
    pub fn parse(octets: &'a [u8]) -> Result<Self, PacketError> {
        let header = octets.get(..IPV6_HEADER).ok_or(PacketError::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(PacketError::Version);
        }
        let length = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
        Ok(Self {
            octets: octets.get(..length).ok_or(PacketError::Truncated)?,
        })
    }

    /// The packet in an ICMPv6 error, which may be cut short.
    pub fn parse_quoted(octets: &'a [u8]) -> Result<Self, PacketError> {
        let header = octets.get(..IPV6_HEADER).ok_or(PacketError::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(PacketError::Version);
        }
        Ok(Self { octets })
    }

    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Never: there is at least a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    pub fn next_header(&self) -> u8 {
        self.octets[6]
    }

    pub fn hop_limit(&self) -> u8 {
        self.octets[7]
    }

    pub fn source(&self) -> Ipv6Addr {
        address(self.octets, 8)
    }

    pub fn destination(&self) -> Ipv6Addr {
        address(self.octets, 24)
    }

    /// Everything behind the fixed header.
    pub fn payload(&self) -> &'a [u8] {
        &self.octets[IPV6_HEADER..]
    }

    /// Protocol and octets of the upper layer, behind the extension headers. A fragment that is not the first
    /// has none that can be read: it gives its fragment header.
    pub fn upper_layer(&self) -> (u8, &'a [u8]) {
        let (mut next, mut rest) = (self.next_header(), self.payload());
        for _ in 0..MAX_EXTENSIONS {
            let (length, first) = match (next, rest) {
                (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, [_, length, ..]) => {
                    ((usize::from(*length) + 1) * 8, true)
                }
                (FRAGMENT, [_, _, high, low, ..]) => (8, u16::from_be_bytes([*high, *low]) & !7 == 0),
                _ => break,
            };
            match rest.get(length..) {
                Some(behind) if first => (next, rest) = (rest[0], behind),
                _ => break,
            }
        }
        (next, rest)
    }
}

fn address(octets: &[u8], at: usize) -> Ipv6Addr {
    let mut address = [0; 16];
    address.copy_from_slice(&octets[at..at + 16]);
    Ipv6Addr::from(address)
}

/// Takes one hop off a packet that is to be forwarded. `false`: it must not be, its hops are used up; the packet
/// is unchanged.
pub fn decrement_hop_limit(packet: &mut [u8]) -> bool {
    match packet.get_mut(7) {
        Some(hop_limit) if *hop_limit > 1 => {
            *hop_limit -= 1;
            true
        }
        _ => false,
    }
}

/// Internet checksum (RFC 1071) over the pseudo-header (RFC 8200 section 8.1) and `segment`. Over a segment with
/// its right checksum in place it gives 0.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, segment: &[u8]) -> u16 {
    // 32 bits at a time into 64 bits: folding at the end gives the ones' complement sum of 16-bit words.
    let mut sum = segment.len() as u64 + u64::from(protocol);
    let mut add = |octets: &[u8]| {
        let mut words = octets.chunks_exact(4);
        for word in &mut words {
            sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        }
        let mut last = [0; 4];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        sum += u64::from(u32::from_be_bytes(last));
    };
    add(&source.octets());
    add(&destination.octets());
    add(segment);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Writes a fixed header in front of a payload of `length` octets; `None` if either does not fit.
fn write_ipv6(
    out: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    hop_limit: u8,
    length: usize,
) -> Option<&mut [u8]> {
    let payload_length = u16::try_from(length).ok()?;
    let packet = out.get_mut(..IPV6_HEADER + length)?;
    packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    packet[4..6].copy_from_slice(&payload_length.to_be_bytes());
    packet[6] = protocol;
    packet[7] = hop_limit;
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(&destination.octets());
    Some(&mut packet[IPV6_HEADER..])
}

#[cfg(test)]
mod tests;
