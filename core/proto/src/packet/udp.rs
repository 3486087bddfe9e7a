//! UDP over IPv6 (RFC 768, RFC 8200 section 8.1).

use super::{IPV6_HEADER, Ipv6Packet, PacketError, checksum, write_ipv6};
use core::net::Ipv6Addr;

/// Octets of the UDP header.
pub const UDP_HEADER: usize = 8;
/// Its next-header value.
pub const UDP: u8 = 17;

/// Addresses, ports and hop limit of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

/// Builds a whole packet at the start of `out` and gives its length; `None` if it does not fit.
pub fn build_udp(header: &UdpHeader, payload: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = UDP_HEADER + payload.len();
    let segment = write_ipv6(
        out,
        header.source,
        header.destination,
        UDP,
        header.hop_limit,
        length,
    )?;
    segment[..2].copy_from_slice(&header.source_port.to_be_bytes());
    segment[2..4].copy_from_slice(&header.destination_port.to_be_bytes());
    // `write_ipv6` has seen that it fits 16 bits.
    segment[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    segment[6..8].fill(0);
    segment[8..].copy_from_slice(payload);
    // Zero means "no checksum", which IPv6 does not allow; 0xffff is the other zero of ones' complement.
    let sum = match checksum(header.source, header.destination, UDP, segment) {
        0 => 0xffff,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    Some(IPV6_HEADER + length)
}

/// [`build_udp`] into a new vector, for the control plane. `None`: the payload is longer than UDP allows.
pub fn udp_packet(header: &UdpHeader, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = vec![0; IPV6_HEADER + UDP_HEADER + payload.len()];
    build_udp(header, payload, &mut packet)?;
    Some(packet)
}

/// Header and payload of a UDP datagram whose lengths and checksum are right.
pub fn parse_udp(packet: &[u8]) -> Result<(UdpHeader, &[u8]), PacketError> {
    let packet = Ipv6Packet::parse(packet)?;
    let (UDP, segment) = packet.upper_layer() else {
        return Err(PacketError::Protocol);
    };
    let head = segment.get(..UDP_HEADER).ok_or(PacketError::Truncated)?;
    if usize::from(u16::from_be_bytes([head[4], head[5]])) != segment.len() {
        return Err(PacketError::Length);
    }
    let (source, destination) = (packet.source(), packet.destination());
    if head[6..8] == [0, 0] || checksum(source, destination, UDP, segment) != 0 {
        return Err(PacketError::Checksum);
    }
    let header = UdpHeader {
        source,
        destination,
        hop_limit: packet.hop_limit(),
        source_port: u16::from_be_bytes([head[0], head[1]]),
        destination_port: u16::from_be_bytes([head[2], head[3]]),
    };
    Ok((header, &segment[UDP_HEADER..]))
}
