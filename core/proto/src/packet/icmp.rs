//! ICMPv6 (RFC 4443): echoes and the errors that a router sends or understands.

use super::{DEFAULT_HOP_LIMIT, IPV6_HEADER, Ipv6Packet, MIN_MTU, PacketError, checksum, write_ipv6};
use core::net::Ipv6Addr;

/// Octets of the ICMPv6 header with its four octets of body that every message here has.
pub const ICMPV6_HEADER: usize = 8;
/// Its next-header value.
pub const ICMPV6: u8 = 58;

const TYPE_UNREACHABLE: u8 = 1;
const TYPE_TOO_BIG: u8 = 2;
const TYPE_TIME_EXCEEDED: u8 = 3;
pub const TYPE_ECHO_REQUEST: u8 = 128;
pub const TYPE_ECHO_REPLY: u8 = 129;
pub(super) const TYPE_REDIRECT: u8 = 137;

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
