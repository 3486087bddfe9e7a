#![allow(clippy::unwrap_used, clippy::expect_used)]

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
        135, 0, 0x77, 0x7e, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 0, 0,
        0, 0, 1,
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
