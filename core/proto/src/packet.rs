//! IPv6, UDP and ICMPv6 as far as a router needs them: parse, build, checksum.
//!
//! Everything works on slices and allocates nothing (but for [`udp_packet`]), because the data plane uses it.
//! Sources: RFC 8200 (IPv6), RFC 768 and RFC 8200 section 8.1 (UDP), RFC 4443 (ICMPv6).

use core::net::Ipv6Addr;

/// Octets of the fixed IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Octets of the UDP header.
pub const UDP_HEADER: usize = 8;
/// Octets of the ICMPv6 header with its four octets of body that every message here has.
pub const ICMPV6_HEADER: usize = 8;
/// Every IPv6 link carries packets of this size (RFC 8200 section 5); ICMPv6 errors are no longer.
pub const MIN_MTU: usize = 1280;
/// Next-header values.
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
/// Hop limit of packets that we originate towards the mesh.
pub const DEFAULT_HOP_LIMIT: u8 = 64;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are looked through.
const MAX_EXTENSIONS: usize = 8;

const TYPE_UNREACHABLE: u8 = 1;
const TYPE_TOO_BIG: u8 = 2;
const TYPE_TIME_EXCEEDED: u8 = 3;
pub const TYPE_ECHO_REQUEST: u8 = 128;
pub const TYPE_ECHO_REPLY: u8 = 129;
const TYPE_REDIRECT: u8 = 137;

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

/// Identifier and sequence of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    pub identifier: u16,
    pub sequence: u16,
}

/// Errors that a router sends or understands (RFC 4443 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    NoRoute,
    AdministrativelyProhibited,
    AddressUnreachable,
    /// Destination Unreachable with another code.
    Unreachable(u8),
    PacketTooBig {
        mtu: u32,
    },
    /// The hop limit was used up on the way.
    TimeExceeded,
}

impl IcmpError {
    /// Type, code and the four octets behind the checksum.
    fn parts(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (TYPE_UNREACHABLE, 0, 0),
            Self::AdministrativelyProhibited => (TYPE_UNREACHABLE, 1, 0),
            Self::AddressUnreachable => (TYPE_UNREACHABLE, 3, 0),
            Self::Unreachable(code) => (TYPE_UNREACHABLE, code, 0),
            Self::PacketTooBig { mtu } => (TYPE_TOO_BIG, 0, mtu),
            Self::TimeExceeded => (TYPE_TIME_EXCEEDED, 0, 0),
        }
    }

    /// Code of a Destination Unreachable; `None` for other errors.
    pub fn unreachable_code(self) -> Option<u8> {
        match self.parts() {
            (TYPE_UNREACHABLE, code, _) => Some(code),
            _ => None,
        }
    }
}

/// An ICMPv6 message whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp<'a> {
    EchoRequest(Echo, &'a [u8]),
    EchoReply(Echo, &'a [u8]),
    /// With as much of the packet that caused it as was sent back.
    Error(IcmpError, &'a [u8]),
    /// Anything else: type and code.
    Other(u8, u8),
}

/// Source, destination and message of an ICMPv6 packet.
pub fn parse_icmp(packet: &[u8]) -> Result<(Ipv6Addr, Ipv6Addr, Icmp<'_>), PacketError> {
    let packet = Ipv6Packet::parse(packet)?;
    let (ICMPV6, message) = packet.upper_layer() else {
        return Err(PacketError::Protocol);
    };
    let [kind, code, _, _, a, b, c, d, rest @ ..] = message else {
        return Err(PacketError::Truncated);
    };
    let (source, destination) = (packet.source(), packet.destination());
    if checksum(source, destination, ICMPV6, message) != 0 {
        return Err(PacketError::Checksum);
    }
    let echo = Echo {
        identifier: u16::from_be_bytes([*a, *b]),
        sequence: u16::from_be_bytes([*c, *d]),
    };
    let icmp = match (*kind, *code) {
        (TYPE_UNREACHABLE, 0) => Icmp::Error(IcmpError::NoRoute, rest),
        (TYPE_UNREACHABLE, 1) => Icmp::Error(IcmpError::AdministrativelyProhibited, rest),
        (TYPE_UNREACHABLE, 3) => Icmp::Error(IcmpError::AddressUnreachable, rest),
        (TYPE_UNREACHABLE, code) => Icmp::Error(IcmpError::Unreachable(code), rest),
        (TYPE_TOO_BIG, _) => Icmp::Error(
            IcmpError::PacketTooBig {
                mtu: u32::from_be_bytes([*a, *b, *c, *d]),
            },
            rest,
        ),
        (TYPE_TIME_EXCEEDED, 0) => Icmp::Error(IcmpError::TimeExceeded, rest),
        (TYPE_ECHO_REQUEST, 0) => Icmp::EchoRequest(echo, rest),
        (TYPE_ECHO_REPLY, 0) => Icmp::EchoReply(echo, rest),
        (kind, code) => Icmp::Other(kind, code),
    };
    Ok((source, destination, icmp))
}

/// The echo request quoted by an [`Icmp::Error`], with its destination: which probe of ours failed.
pub fn quoted_echo(quoted: &[u8]) -> Option<(Ipv6Addr, Echo)> {
    let packet = Ipv6Packet::parse_quoted(quoted).ok()?;
    match packet.upper_layer() {
        (ICMPV6, [TYPE_ECHO_REQUEST, 0, _, _, a, b, c, d, ..]) => {
            let identifier = u16::from_be_bytes([*a, *b]);
            Some((
                packet.destination(),
                Echo {
                    identifier,
                    sequence: u16::from_be_bytes([*c, *d]),
                },
            ))
        }
        _ => None,
    }
}

/// Where an ICMPv6 packet that we build comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpHeader {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
}

/// Builds an echo request at the start of `out` and gives its length; `None` if it does not fit.
pub fn build_echo_request(header: &IcmpHeader, echo: Echo, payload: &[u8], out: &mut [u8]) -> Option<usize> {
    build_icmp(header, TYPE_ECHO_REQUEST, 0, echo_body(echo), payload, out)
}

/// Builds an echo reply at the start of `out` and gives its length; `None` if it does not fit.
pub fn build_echo_reply(header: &IcmpHeader, echo: Echo, payload: &[u8], out: &mut [u8]) -> Option<usize> {
    build_icmp(header, TYPE_ECHO_REPLY, 0, echo_body(echo), payload, out)
}

fn echo_body(echo: Echo) -> u32 {
    u32::from(echo.identifier) << 16 | u32::from(echo.sequence)
}

fn build_icmp(
    header: &IcmpHeader,
    kind: u8,
    code: u8,
    body: u32,
    payload: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let length = ICMPV6_HEADER + payload.len();
    let message = write_ipv6(
        out,
        header.source,
        header.destination,
        ICMPV6,
        header.hop_limit,
        length,
    )?;
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&body.to_be_bytes());
    message[8..].copy_from_slice(payload);
    let sum = checksum(header.source, header.destination, ICMPV6, message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(IPV6_HEADER + length)
}

/// Whether RFC 4443 section 2.4(e) lets a router send this error about `offending` (a whole IPv6 packet): not
/// about an ICMPv6 error or redirect, a multicast destination (but for Packet Too Big), or a source that is not
/// one node's address that an answer can be routed to.
pub fn deserves_error(error: IcmpError, offending: &[u8]) -> bool {
    let Ok(packet) = Ipv6Packet::parse(offending) else {
        return false;
    };
    let culprit = packet.source();
    let nobody = culprit.is_unspecified()
        || culprit.is_multicast()
        || culprit.is_loopback()
        || culprit.is_unicast_link_local();
    let multicast = packet.destination().is_multicast() && !matches!(error, IcmpError::PacketTooBig { .. });
    // Types below 128 are errors. One that is cut off before its type might be one too.
    let about_error = matches!(packet.upper_layer(), (ICMPV6, message)
        if message.first().is_none_or(|&kind| kind < 128 || kind == TYPE_REDIRECT));
    !(nobody || multicast || about_error)
}

/// Builds the error that `offending` calls for, from `source` to the packet's source, with as much of the packet
/// as fits [`MIN_MTU`]. `None` where no error may be sent ([`deserves_error`]) and where `out` is too small. How
/// often errors go out is for the caller to limit (RFC 4443 section 2.4(f)).
pub fn build_error(error: IcmpError, source: Ipv6Addr, offending: &[u8], out: &mut [u8]) -> Option<usize> {
    if !deserves_error(error, offending) {
        return None;
    }
    let packet = Ipv6Packet::parse(offending).ok()?;
    let quoted = packet.octets();
    let quoted = &quoted[..quoted.len().min(MIN_MTU - IPV6_HEADER - ICMPV6_HEADER)];
    let (kind, code, body) = error.parts();
    let header = IcmpHeader {
        source,
        destination: packet.source(),
        hop_limit: DEFAULT_HOP_LIMIT,
    };
    build_icmp(&header, kind, code, body, quoted, out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 1);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 3, 0, 0, 0, 1);

    fn udp(destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
        let header = UdpHeader {
            source: A,
            destination,
            hop_limit: 7,
            source_port: 6696,
            destination_port: 6697,
        };
        udp_packet(&header, payload).unwrap()
    }

    fn ping(source: Ipv6Addr, length: usize) -> Vec<u8> {
        let mut out = vec![0; 2000];
        let header = IcmpHeader {
            source,
            destination: B,
            hop_limit: 64,
        };
        let echo = Echo {
            identifier: 0x1234,
            sequence: 7,
        };
        let n = build_echo_request(&header, echo, &vec![0x5a; length], &mut out).unwrap();
        out.truncate(n);
        out
    }

    fn error_about(packet: &[u8], error: IcmpError) -> Option<Vec<u8>> {
        let mut out = vec![0; MIN_MTU];
        let n = build_error(error, ROUTER, packet, &mut out)?;
        out.truncate(n);
        Some(out)
    }

    #[test]
    fn udp_is_read_back_whatever_its_length() {
        for length in [0, 1, 2, 3, 4, 1000, 1001] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let packet = udp(B, &payload);
            let (header, read) = parse_udp(&packet).unwrap();
            assert_eq!((header.source, header.destination, header.hop_limit), (A, B, 7));
            assert_eq!((header.source_port, header.destination_port), (6696, 6697));
            assert_eq!(read, payload);
        }
    }

    #[test]
    fn the_checksum_agrees_with_the_sum_of_16_bit_words() {
        // A neighbour solicitation.
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let destination: Ipv6Addr = "ff02::1:ff00:2".parse().unwrap();
        let message = [
            135, 0, 0x77, 0x7e, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 0,
            0, 0, 0, 1,
        ];
        // Straight from RFC 1071: 16-bit words added with end-around carry.
        let mut octets: Vec<u8> = source.octets().into_iter().chain(destination.octets()).collect();
        octets.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        octets.extend(message);
        octets[40 + 2..40 + 4].fill(0);
        let mut sum = 0u32;
        for word in octets.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word[1]);
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let mut blank = message;
        blank[2..4].fill(0);
        assert_eq!(checksum(source, destination, ICMPV6, &blank), !(sum as u16));
    }

    #[test]
    fn a_flipped_bit_in_udp_is_noticed() {
        let packet = udp(B, b"some payload");
        for bit in 0..packet.len() * 8 {
            // Traffic class, flow label and hop limit are not protected by anything.
            if (4..32).contains(&bit) || (56..64).contains(&bit) {
                continue;
            }
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(parse_udp(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_udp_datagram_without_checksum_is_refused() {
        let mut packet = udp(B, b"x");
        packet[46..48].fill(0);
        assert_eq!(parse_udp(&packet), Err(PacketError::Checksum));
    }

    #[test]
    fn padding_behind_a_packet_is_cut_off() {
        let mut packet = udp(B, b"abc");
        let length = packet.len();
        packet.resize(length + 13, 0);
        assert_eq!(Ipv6Packet::parse(&packet).unwrap().len(), length);
        assert_eq!(parse_udp(&packet).unwrap().1, b"abc");
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        let mut packet = udp(B, b"");
        packet[7] = 2;
        assert!(decrement_hop_limit(&mut packet));
        assert_eq!(packet[7], 1);
        assert!(!decrement_hop_limit(&mut packet));
        packet[7] = 0;
        assert!(!decrement_hop_limit(&mut packet));
        assert!(!decrement_hop_limit(&mut packet[..7]));
    }

    #[test]
    fn echoes_are_read_back() {
        let packet = ping(A, 56);
        let (source, destination, icmp) = parse_icmp(&packet).unwrap();
        let Icmp::EchoRequest(echo, payload) = icmp else {
            panic!("{icmp:?}")
        };
        assert_eq!((source, destination, payload.len()), (A, B, 56));
        let mut out = [0; 200];
        let header = IcmpHeader {
            source: B,
            destination: A,
            hop_limit: 64,
        };
        let n = build_echo_reply(&header, echo, payload, &mut out).unwrap();
        assert_eq!(
            parse_icmp(&out[..n]).unwrap(),
            (B, A, Icmp::EchoReply(echo, payload))
        );
    }

    #[test]
    fn errors_are_read_back_with_the_probe_that_caused_them() {
        let errors = [
            IcmpError::NoRoute,
            IcmpError::AdministrativelyProhibited,
            IcmpError::AddressUnreachable,
            IcmpError::Unreachable(5),
            IcmpError::PacketTooBig { mtu: 1280 },
            IcmpError::TimeExceeded,
        ];
        for error in errors {
            let built = error_about(&ping(A, 2), error).unwrap();
            let (source, destination, icmp) = parse_icmp(&built).unwrap();
            let Icmp::Error(read, quoted) = icmp else {
                panic!("{icmp:?}")
            };
            assert_eq!((source, destination, read), (ROUTER, A, error));
            assert_eq!(
                quoted_echo(quoted),
                Some((
                    B,
                    Echo {
                        identifier: 0x1234,
                        sequence: 7
                    }
                ))
            );
        }
    }

    #[test]
    fn an_error_is_never_longer_than_the_smallest_mtu() {
        let built = error_about(&ping(A, 1400), IcmpError::PacketTooBig { mtu: 1280 }).unwrap();
        assert_eq!(built.len(), MIN_MTU);
        let (_, _, Icmp::Error(_, quoted)) = parse_icmp(&built).unwrap() else {
            panic!()
        };
        assert!(quoted_echo(quoted).is_some());
    }

    #[test]
    fn there_is_no_error_about_what_rfc_4443_forbids() {
        let error = error_about(&ping(A, 8), IcmpError::TimeExceeded).unwrap();
        assert_eq!(error_about(&error, IcmpError::TimeExceeded), None, "an error");
        assert_eq!(
            error_about(&ping(Ipv6Addr::UNSPECIFIED, 0), IcmpError::NoRoute),
            None,
            "no source"
        );
        assert_eq!(
            error_about(&ping("ff02::1".parse().unwrap(), 0), IcmpError::NoRoute),
            None,
            "multicast"
        );
        let multicast = udp("ff0e::1".parse().unwrap(), b"x");
        assert_eq!(error_about(&multicast, IcmpError::TimeExceeded), None);
        assert!(error_about(&multicast, IcmpError::PacketTooBig { mtu: 1280 }).is_some());
        let mut redirect = ping(A, 40);
        redirect[IPV6_HEADER] = TYPE_REDIRECT;
        assert_eq!(error_about(&redirect, IcmpError::NoRoute), None, "a redirect");
    }

    #[test]
    fn an_error_behind_extension_headers_is_recognised() {
        let error = error_about(&ping(A, 8), IcmpError::TimeExceeded).unwrap();
        let mut wrapped = error.clone();
        wrapped[6] = DESTINATION_OPTIONS;
        wrapped.splice(IPV6_HEADER..IPV6_HEADER, [ICMPV6, 0, 1, 4, 0, 0, 0, 0]);
        let length = (wrapped.len() - IPV6_HEADER) as u16;
        wrapped[4..6].copy_from_slice(&length.to_be_bytes());
        assert_eq!(error_about(&wrapped, IcmpError::TimeExceeded), None);
    }

    #[test]
    fn what_does_not_fit_is_not_built() {
        let header = IcmpHeader {
            source: A,
            destination: B,
            hop_limit: 1,
        };
        let echo = Echo {
            identifier: 0,
            sequence: 0,
        };
        assert_eq!(
            build_echo_request(&header, echo, &[0; 70_000], &mut vec![0; 80_000]),
            None
        );
        assert_eq!(build_echo_request(&header, echo, &[0; 8], &mut [0; 55]), None);
        assert_eq!(build_echo_request(&header, echo, &[0; 8], &mut [0; 56]), Some(56));
    }
}
