//! Source prefixes (RFC 9079) and IPv4 prefixes with IPv6 next hops (RFC 9229).

use super::*;

/// An Update for 2001:db8:1::/48, an IPv6 Route Request and a Seqno Request for 20::/8, a sub-TLV to follow.
const SPECIFIC: [&[u8]; 3] = [
    UPDATE,
    &[9, 3, 2, 8, 0x20],
    &[10, 15, 2, 8, 0, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x20],
];

fn with_sub_tlvs(tlv: &[u8], sub_tlvs: &[u8]) -> Vec<u8> {
    let mut tlv = [tlv, sub_tlvs].concat();
    tlv[1] += sub_tlvs.len() as u8;
    tlv
}

fn source_of(tlv: &Tlv) -> Option<IpNet> {
    match tlv {
        Tlv::Update(update) => update.source,
        Tlv::RouteRequest { source, .. } => *source,
        Tlv::SeqnoRequest(request) => request.source,
        _ => None,
    }
}

#[test]
fn a_source_prefix_is_read_wherever_it_stands() {
    // fd00::/9 exactly, with bits beyond its length, with octets after it, and among other sub-TLVs.
    for sub_tlvs in [
        &[128, 3, 9, 0xfd, 0][..],
        &[128, 3, 9, 0xfd, 0x7f],
        &[128, 6, 9, 0xfd, 0, 1, 2, 3],
        &[0, 5, 1, 9, 128, 3, 9, 0xfd, 0, 0, 1, 0],
    ] {
        for tlv in SPECIFIC {
            let read = read(&[ROUTER_ID, &with_sub_tlvs(tlv, sub_tlvs)]);
            let [Ok(tlv)] = &read[..] else {
                panic!("{sub_tlvs:?}: {read:?}");
            };
            assert_eq!(source_of(tlv), Some(net("fd00::/9")));
        }
    }
    let v4 = [9, 5, 1, 8, 10, 128, 2];
    assert_eq!(read(&[&v4]), [Err(TlvError::Truncated)], "a body cut short");
    let v4 = [9, 7, 1, 8, 10, 128, 2, 8, 192];
    let expected = Tlv::RouteRequest {
        prefix: Some(net("10.0.0.0/8")),
        source: Some(net("192.0.0.0/8")),
    };
    assert_eq!(read(&[&v4]), [Ok(expected)]);
}

#[test]
fn a_bad_source_prefix_voids_its_tlv() {
    for sub_tlvs in [
        // Twice, even the same; none; length 0; shorter than it says; longer than an address.
        &[128, 2, 8, 0xfd, 128, 2, 8, 0xfd][..],
        &[128, 0],
        &[128, 1, 0],
        &[128, 2, 0, 0xfd],
        &[128, 2, 9, 0xfd],
        &[
            128, 18, 129, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
        ],
    ] {
        for tlv in SPECIFIC {
            let read = read(&[ROUTER_ID, &with_sub_tlvs(tlv, sub_tlvs), &[3, 2, 0, 1]]);
            assert_eq!(
                read,
                [Err(TlvError::SourcePrefix), Ok(Tlv::Ack { opaque: 1 })],
                "{sub_tlvs:?}"
            );
        }
    }
    // An IPv4 prefix has an IPv4 source: 33 bits are too many.
    let v4 = with_sub_tlvs(&[9, 3, 1, 8, 10], &[128, 6, 33, 1, 2, 3, 4, 5]);
    assert_eq!(read(&[&v4]), [Err(TlvError::SourcePrefix)]);
}

#[test]
fn a_source_prefix_with_a_wildcard_or_elsewhere_voids_the_tlv() {
    let source = [128, 2, 8, 0xfd];
    let retraction = [8, 10, 0, 0, 0, 0, 1, 0x90, 0, 7, 0xff, 0xff];
    for wildcard in [&retraction[..], &[9, 2, 0, 0]] {
        assert!(read(&[wildcard])[0].is_ok());
        assert_eq!(
            read(&[&with_sub_tlvs(wildcard, &source)]),
            [Err(TlvError::SourcePrefix)]
        );
    }
    for other in [
        &[4, 6, 0, 0, 0, 1, 0, 100][..],
        &[5, 6, 0, 0, 0, 96, 0, 100],
        &[3, 2, 0, 1],
    ] {
        assert_eq!(
            read(&[&with_sub_tlvs(other, &source)]),
            [Err(TlvError::Mandatory(128))]
        );
    }
}

#[test]
fn a_source_prefix_of_length_zero_or_with_a_wildcard_is_never_sent() {
    let mut builder = Builder::new(1232, SOURCE);
    let zero = Some(net("::/0"));
    let update = |prefix, source, metric| Update {
        prefix,
        source,
        interval: Centis(400),
        seqno: 1,
        metric,
        router_id: Some(ID),
        next_hop: None,
    };
    assert!(builder.update(&update(Some(net("fd00::/8")), zero, 1)));
    assert!(builder.update(&update(None, Some(net("fd00::/8")), INFINITY)));
    assert!(builder.route_request(Some(RouteKey {
        prefix: net("fd00::/8"),
        source: zero
    })));
    for tlv in parse(&builder.finish(), SOURCE).unwrap() {
        assert_eq!(source_of(&tlv.unwrap()), None);
    }
}

/// Updates of RFC 9229 for 10.1.2.0/24 with the prefix flag and for 10.1.3.0/24 without three octets.
const V4_VIA_V6: &[u8] = &[8, 13, 4, 0x80, 24, 0, 1, 0x90, 0, 7, 1, 0, 10, 1, 2];
const V4_VIA_V6_COMPRESSED: &[u8] = &[8, 11, 4, 0, 24, 2, 1, 0x90, 0, 7, 1, 0, 3];

#[test]
fn an_ipv4_prefix_can_have_an_ipv6_next_hop() {
    let next_hop_v6 = [7, 10, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let next_hop_v4 = [7, 6, 1, 0, 192, 0, 2, 1];
    let found = updates(&[
        ROUTER_ID,
        &next_hop_v4,
        V4_VIA_V6,
        &next_hop_v6,
        V4_VIA_V6_COMPRESSED,
    ]);
    let found: Vec<_> = found
        .iter()
        .map(|update| (update.prefix, update.next_hop))
        .collect();
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    assert_eq!(
        found,
        [
            (Some(net("10.1.2.0/24")), Some(SOURCE.into())),
            (Some(net("10.1.3.0/24")), Some(other.into())),
        ]
    );
    // The router-id flag reads it as of any IPv4 prefix.
    let with_id = [8, 14, 4, 0x40, 32, 0, 1, 0x90, 0, 7, 1, 0, 10, 1, 2, 3];
    assert_eq!(
        updates(&[&with_id])[0].router_id,
        Some(RouterId([0, 0, 0, 0, 10, 1, 2, 3]))
    );
}

#[test]
fn both_encodings_of_ipv4_keep_defaults_of_their_own() {
    let plain_compressed = [8, 11, 1, 0, 24, 2, 1, 0x90, 0, 7, 1, 0, 3];
    let next_hop = [7, 6, 1, 0, 192, 0, 2, 1];
    assert_eq!(
        read(&[ROUTER_ID, &next_hop, V4_VIA_V6, &plain_compressed])[1],
        Err(TlvError::NoDefaultPrefix)
    );
    let plain = [8, 13, 1, 0x80, 24, 0, 1, 0x90, 0, 7, 1, 0, 10, 9, 2];
    assert_eq!(
        read(&[ROUTER_ID, &next_hop, &plain, V4_VIA_V6_COMPRESSED])[1],
        Err(TlvError::NoDefaultPrefix)
    );
    let both = updates(&[
        ROUTER_ID,
        &next_hop,
        V4_VIA_V6,
        &plain,
        &plain_compressed,
        V4_VIA_V6_COMPRESSED,
    ]);
    let both: Vec<_> = both.iter().filter_map(|update| update.prefix).collect();
    assert_eq!(both[2..], [net("10.9.3.0/24"), net("10.1.3.0/24")]);
}

#[test]
fn a_next_hop_or_ihu_is_never_v4_via_v6() {
    let next_hop = [7, 6, 4, 0, 192, 0, 2, 1];
    let ihu = [5, 10, 4, 0, 0, 96, 0, 100, 192, 0, 2, 1];
    assert_eq!(read(&[&next_hop]), [Err(TlvError::AddressEncoding(4))]);
    assert_eq!(read(&[&ihu]), [Err(TlvError::AddressEncoding(4))]);
}

#[test]
fn requests_for_ipv4_are_the_same_in_both_encodings_and_sent_in_the_plain_one() {
    for (plain, via_v6) in [
        (&[9, 3, 1, 8, 10][..], &[9, 3, 4, 8, 10][..]),
        (
            &[10, 15, 1, 8, 0, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10],
            &[10, 15, 4, 8, 0, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10],
        ),
    ] {
        assert!(read(&[plain])[0].is_ok());
        assert_eq!(read(&[plain]), read(&[via_v6]));
        let mut builder = Builder::new(1232, SOURCE);
        assert!(write(&mut builder, &read(&[via_v6])[0].clone().unwrap()));
        assert_eq!(builder.finish()[HEADER..], *plain);
    }
}

#[test]
fn a_retraction_of_ipv4_needs_no_next_hop_in_either_encoding() {
    for encoding in [1, 4] {
        let retraction = [8, 11, encoding, 0, 8, 0, 1, 0x90, 0, 7, 0xff, 0xff, 10];
        assert_eq!(updates(&[&retraction])[0].prefix, Some(net("10.0.0.0/8")));
    }
}
