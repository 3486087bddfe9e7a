//! IPv6, UDP and ICMPv6: what is parsed has consistent parts, and an error about anything is itself well-formed.

use crate::fixtures::address;
use core::net::Ipv6Addr;
use osier_proto::packet::{
    Echo, Icmp, IcmpError, IcmpHeader, Ipv6Packet, MIN_MTU, UdpHeader, build_echo_reply, build_echo_request,
    build_error, build_udp, decrement_hop_limit, parse_icmp, parse_udp, quoted_echo, udp_packet,
};

pub fn packet(data: &[u8]) -> bool {
    let _ = quoted_echo(data);
    let mut forwarded = data.to_vec();
    if decrement_hop_limit(&mut forwarded) {
        assert_eq!(forwarded[7] + 1, data[7]);
    } else {
        assert_eq!(forwarded, data);
    }
    let mut out = vec![0; 0x1_0000 + 40];
    let Ok(packet) = Ipv6Packet::parse(data) else {
        assert!(parse_udp(data).is_err() && parse_icmp(data).is_err());
        assert_eq!(build_error(IcmpError::NoRoute, address(1), data, &mut out), None);
        return false;
    };
    assert!(packet.len() <= data.len());
    let _ = packet.upper_layer();

    if let Ok((header, payload)) = parse_udp(data) {
        let length = build_udp(&header, payload, &mut out);
        if packet.next_header() == osier_proto::packet::UDP {
            // Without extension headers it is the same packet, but for traffic class and flow label.
            assert_eq!(length, Some(packet.len()));
            assert_eq!(out[4..packet.len()], packet.octets()[4..]);
        }
    }
    if let Ok((source, destination, Icmp::EchoRequest(echo, payload))) = parse_icmp(data) {
        let header = IcmpHeader {
            source: destination,
            destination: source,
            hop_limit: 64,
        };
        let length = build_echo_reply(&header, echo, payload, &mut out);
        let reply = length.map(|length| parse_icmp(&out[..length]));
        assert_eq!(
            reply,
            Some(Ok((destination, source, Icmp::EchoReply(echo, payload))))
        );
    }
    for error in [
        IcmpError::TimeExceeded,
        IcmpError::NoRoute,
        IcmpError::PacketTooBig { mtu: 1280 },
    ] {
        if let Some(length) = build_error(error, address(1), data, &mut out) {
            assert!(length <= MIN_MTU);
            let read = parse_icmp(&out[..length]);
            assert!(
                matches!(read, Ok((_, to, Icmp::Error(read, _))) if read == error && to == packet.source())
            );
            let mut second = vec![0; MIN_MTU];
            assert_eq!(
                build_error(error, address(2), &out[..length], &mut second),
                None,
                "an error for an error"
            );
        }
    }
    true
}

pub fn packets() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, packet: Vec<u8>| seeds.push((name.to_owned(), packet));
    let link_local = |node: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node);
    let udp = |destination, payload: &[u8]| {
        let header = UdpHeader {
            source: link_local(1),
            destination,
            hop_limit: 1,
            source_port: 6696,
            destination_port: 6696,
        };
        udp_packet(&header, payload).unwrap_or_default()
    };
    add("udp", udp(link_local(2), b"payload"));
    add("udp-empty", udp(link_local(2), b""));
    add("udp-multicast", udp(osier_babel::MULTICAST, &[42, 2, 0, 0]));

    let mut out = vec![0; 2000];
    let header = IcmpHeader {
        source: address(2),
        destination: address(3),
        hop_limit: 64,
    };
    let echo = Echo {
        identifier: 0x1234,
        sequence: 1,
    };
    let length = build_echo_request(&header, echo, b"0123456789abcdef", &mut out).unwrap_or_default();
    let request = out[..length].to_vec();
    let length = build_echo_reply(&header, echo, b"0123456789abcdef", &mut out).unwrap_or_default();
    add("echo-reply", out[..length].to_vec());
    let errors = [
        ("no-route", IcmpError::NoRoute),
        ("prohibited", IcmpError::AdministrativelyProhibited),
        ("address-unreachable", IcmpError::AddressUnreachable),
        ("too-big", IcmpError::PacketTooBig { mtu: 1280 }),
        ("time-exceeded", IcmpError::TimeExceeded),
    ];
    for (name, error) in errors {
        let length = build_error(error, address(1), &request, &mut out).unwrap_or_default();
        add(name, out[..length].to_vec());
    }
    // Destination options, then a first fragment, then UDP.
    let plain = udp(link_local(2), b"behind headers");
    let mut extended = plain[..40].to_vec();
    extended[6] = 60;
    extended.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    extended.extend([17, 0, 0, 1, 0, 0, 0, 9]);
    extended.extend(&plain[40..]);
    extended[5] += 16;
    add("extension-headers", extended);
    let mut padded = request.clone();
    padded.extend([0; 8]);
    add("padded", padded);
    add("echo-request", request);
    seeds
}
