#![allow(clippy::unwrap_used)]

mod extensions;
mod timestamps;

use super::*;
use crate::RouteKey;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ID: RouterId = RouterId([1, 2, 3, 4, 5, 6, 7, 8]);

/// A packet around the given TLVs.
fn packet(body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [
        &[MAGIC, VERSION][..],
        &u16::try_from(body.len()).unwrap().to_be_bytes(),
        &body,
    ]
    .concat()
}

fn read(body: &[&[u8]]) -> Vec<Result<Tlv, TlvError>> {
    parse(&packet(body), SOURCE).unwrap().collect()
}

fn updates(body: &[&[u8]]) -> Vec<Update> {
    let update = |tlv| match tlv {
        Ok(Tlv::Update(update)) => Some(update),
        _ => None,
    };
    read(body).into_iter().filter_map(update).collect()
}

fn net(prefix: &str) -> IpNet {
    prefix.parse().unwrap()
}

const ROUTER_ID: &[u8] = &[6, 10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// 2001:db8:1::/48, P flag, interval 4 s, seqno 7, metric 0x100.
const UPDATE: &[u8] = &[
    8, 16, 2, 0x80, 48, 0, 1, 0x90, 0, 7, 1, 0, 0x20, 1, 0x0d, 0xb8, 0, 1,
];

#[test]
fn a_plain_update_is_read() {
    let expected = Update {
        prefix: Some(net("2001:db8:1::/48")),
        source: None,
        interval: Centis(400),
        seqno: 7,
        metric: 0x100,
        router_id: Some(ID),
        next_hop: Some(SOURCE.into()),
    };
    assert_eq!(updates(&[ROUTER_ID, UPDATE]), [expected]);
}

#[test]
fn bad_headers_are_refused() {
    let good = packet(&[ROUTER_ID, UPDATE]);
    let with = |at: usize, octet| {
        let mut bad = good.clone();
        bad[at] = octet;
        parse(&bad, SOURCE).err()
    };
    assert_eq!(with(0, 43), Some(PacketError::Magic(43)));
    assert_eq!(with(1, 3), Some(PacketError::Version(3)));
    assert_eq!(with(3, 31), Some(PacketError::Truncated));
    assert_eq!(parse(&good[..3], SOURCE).err(), Some(PacketError::Truncated));
}

#[test]
fn the_trailer_is_not_acted_on() {
    let mut datagram = packet(&[ROUTER_ID]);
    datagram.extend_from_slice(UPDATE);
    assert_eq!(parse(&datagram, SOURCE).unwrap().count(), 0);
}

#[test]
fn unknown_tlvs_and_padding_are_skipped() {
    let found = updates(&[
        &[0, 0, 1, 3, 9, 9, 9],
        &[200, 2, 0, 0],
        ROUTER_ID,
        &[99, 0],
        UPDATE,
        &[0],
    ]);
    assert_eq!(found.len(), 1);
}

#[test]
fn optional_sub_tlvs_are_skipped_wherever_they_stand() {
    let update = [&[8, 23][..], &UPDATE[2..], &[0, 1, 1, 7, 127, 1, 7]].concat();
    assert_eq!(updates(&[ROUTER_ID, &update]).len(), 1);
}

#[test]
fn a_mandatory_sub_tlv_voids_any_tlv() {
    let hello = [4, 6, 0, 0, 0, 1, 0, 100];
    let ihu = [5, 6, 0, 0, 0, 96, 0, 100];
    let ack_request = [2, 6, 0, 0, 0, 1, 0, 100];
    let ack = [3, 2, 0, 1];
    let route_request = [9, 2, 0, 0];
    let seqno_request = [10, 15, 2, 8, 0, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x20];
    let tlvs: [&[u8]; 7] = [
        &hello,
        &ihu,
        &ack_request,
        &ack,
        &route_request,
        &seqno_request,
        UPDATE,
    ];
    for tlv in tlvs {
        assert!(read(&[ROUTER_ID, tlv])[0].is_ok());
        for sub_tlvs in [&[129, 0][..], &[0, 5, 1, 9, 130, 2, 0, 0], &[255, 0, 1, 0]] {
            let mut voided = [tlv, sub_tlvs].concat();
            voided[1] += sub_tlvs.len() as u8;
            let read = read(&[ROUTER_ID, &voided]);
            assert!(
                matches!(read[..], [Err(TlvError::Mandatory(_))]),
                "{voided:?}: {read:?}"
            );
        }
    }
}

#[test]
fn parser_state_moves_even_when_the_tlv_is_voided() {
    let mut id = [ROUTER_ID, &[128, 0]].concat();
    id[1] += 2;
    let mut first = [UPDATE, &[128, 0]].concat();
    first[1] += 2;
    // Takes six octets from the voided update's prefix.
    let second = [8, 11, 2, 0, 56, 6, 0, 100, 0, 1, 0, 1, 0xab];
    let found = updates(&[&id, &first, &second]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].prefix, Some(net("2001:db8:1:ab00::/56")));
    assert_eq!(found[0].router_id, Some(ID));
}

#[test]
fn omitted_octets_need_a_default_prefix_of_the_same_encoding() {
    let omitting = [8, 11, 2, 0, 56, 6, 0, 100, 0, 1, 0, 1, 0xab];
    assert_eq!(read(&[ROUTER_ID, &omitting]), [Err(TlvError::NoDefaultPrefix)]);
    let v4 = [8, 13, 1, 0x80, 24, 0, 0, 100, 0, 1, 0xff, 0xff, 10, 0, 0];
    assert_eq!(
        read(&[ROUTER_ID, &v4, &omitting])[1],
        Err(TlvError::NoDefaultPrefix)
    );
    // Without the P flag a prefix is no default.
    let plain = [&[8, 16, 2, 0], &UPDATE[4..]].concat();
    assert_eq!(
        read(&[ROUTER_ID, &plain, &omitting])[1],
        Err(TlvError::NoDefaultPrefix)
    );
}

#[test]
fn bits_beyond_the_prefix_length_are_cleared() {
    let update = [8, 12, 2, 0, 12, 0, 0, 100, 0, 1, 0, 1, 0x20, 0xff];
    assert_eq!(updates(&[ROUTER_ID, &update])[0].prefix, Some(net("20f0::/12")));
}

#[test]
fn the_router_id_can_be_in_the_prefix() {
    let mut update = vec![8, 26, 2, 0x40, 128, 0, 0, 100, 0, 1, 0, 1];
    update.extend("2001:db8::102:304:506:708".parse::<Ipv6Addr>().unwrap().octets());
    let found = updates(&[&update, UPDATE]);
    assert_eq!((found[0].router_id, found[1].router_id), (Some(ID), Some(ID)));
    let v4 = [8, 14, 1, 0x40, 32, 0, 0, 100, 0, 1, 0, 1, 10, 0, 0, 9];
    let next_hop = [7, 6, 1, 0, 10, 0, 0, 1];
    let found = updates(&[&next_hop, &v4]);
    assert_eq!(found[0].router_id, Some(RouterId([0, 0, 0, 0, 10, 0, 0, 9])));
    assert_eq!(found[0].next_hop, Some(Ipv4Addr::new(10, 0, 0, 1).into()));
}

#[test]
fn finite_updates_need_a_valid_router_id() {
    assert_eq!(read(&[UPDATE]), [Err(TlvError::NoRouterId)]);
    let zero = [6, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read(&[ROUTER_ID, &zero, UPDATE]), [Err(TlvError::NoRouterId)]);
    let ones = [6, 10, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(read(&[ROUTER_ID, &ones, UPDATE]), [Err(TlvError::NoRouterId)]);
}

#[test]
fn retractions_need_neither_router_id_nor_next_hop() {
    let v6 = [&UPDATE[..10], &[0xff, 0xff], &UPDATE[12..]].concat();
    let v4 = [8, 13, 1, 0, 24, 0, 0, 100, 0, 1, 0xff, 0xff, 10, 0, 0];
    let found = updates(&[&v6, &v4]);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(Update::is_retraction));
}

#[test]
fn wildcard_updates_must_be_plain_retractions() {
    let good = [8, 10, 0, 0, 0, 0, 0, 100, 0, 0, 0xff, 0xff];
    assert_eq!(updates(&[&good])[0].prefix, None);
    for (at, octet) in [(4, 1), (5, 1), (10, 0)] {
        let mut bad = good;
        bad[at] = octet;
        assert_eq!(read(&[ROUTER_ID, &bad]), [Err(TlvError::Prefix)]);
    }
    assert_eq!(read(&[&[9, 2, 0, 1]]), [Err(TlvError::Prefix)]);
    assert!(read(&[&[10, 14, 0, 0, 0, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]])[0].is_err());
}

#[test]
fn an_unknown_address_encoding_costs_one_tlv() {
    let update = [&[8, 16, 77], &UPDATE[3..]].concat();
    let ihu = [5, 6, 77, 0, 0, 96, 0, 100];
    let next_hop = [7, 2, 77, 0];
    let found = read(&[ROUTER_ID, &update, &ihu, &next_hop, UPDATE]);
    assert_eq!(
        found
            .iter()
            .filter(|tlv| **tlv == Err(TlvError::AddressEncoding(77)))
            .count(),
        3
    );
    assert!(found.last().unwrap().is_ok());
}

#[test]
fn the_next_hop_is_per_family_and_defaults_to_the_source() {
    let v4 = [8, 13, 1, 0, 24, 0, 0, 100, 0, 1, 0, 1, 10, 0, 0];
    assert_eq!(read(&[ROUTER_ID, &v4]), [Err(TlvError::NoNextHop)]);
    let next_hop = [7, 10, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let found = updates(&[ROUTER_ID, UPDATE, &next_hop, UPDATE]);
    assert_eq!(found[0].next_hop, Some(SOURCE.into()));
    assert_eq!(found[1].next_hop, Some("fe80::9".parse().unwrap()));
    let unspecified = [7, 6, 1, 0, 0, 0, 0, 0];
    assert_eq!(read(&[ROUTER_ID, &unspecified, &v4]), [Err(TlvError::NoNextHop)]);
}

#[test]
fn a_bad_tlv_costs_only_itself() {
    let short_hello = [4, 4, 0, 0, 0, 1];
    let long_prefix = [8, 11, 2, 0, 129, 0, 0, 100, 0, 1, 0, 1, 9];
    let cut_sub_tlv = [3, 4, 0, 1, 9, 200];
    let found = read(&[&short_hello, ROUTER_ID, &long_prefix, &cut_sub_tlv, UPDATE]);
    assert_eq!(found.iter().filter(|tlv| tlv.is_err()).count(), 3);
    assert!(matches!(found.last(), Some(Ok(Tlv::Update(_)))));
}

#[test]
fn reserved_fields_and_unknown_flags_are_ignored_and_sent_as_zero() {
    let hello = [4, 6, 0x7f, 0xff, 0, 1, 0, 100];
    assert_eq!(
        read(&[&hello]),
        [Ok(Tlv::Hello {
            unicast: false,
            seqno: 1,
            interval: Centis(100),
            timestamp: None
        })]
    );
    let mut noisy = UPDATE.to_vec();
    noisy[3] |= 0x3f;
    assert_eq!(updates(&[ROUTER_ID, &noisy]).len(), 1);
    let mut builder = Builder::new(512, SOURCE);
    assert!(builder.hello(true, 1, Centis(100)));
    assert!(builder.ack_request(7, Centis(10)));
    assert_eq!(
        builder.finish(),
        [
            MAGIC, VERSION, 0, 16, 4, 6, 0x80, 0, 0, 1, 0, 100, 2, 6, 0, 0, 0, 7, 0, 10
        ]
    );
}

#[test]
fn promised_intervals_are_never_zero_and_never_shorter_than_kept() {
    assert_eq!(Centis::promising(crate::Duration::ZERO), Centis(1));
    assert_eq!(Centis::promising(crate::Duration::from_millis(1001)), Centis(101));
    assert_eq!(
        Centis::promising(crate::Duration::from_secs(10_000)),
        Centis(u16::MAX)
    );
}

#[test]
fn updates_are_compressed() {
    let mut builder = Builder::new(1232, SOURCE);
    let update = |prefix: &str, metric| Update {
        prefix: Some(net(prefix)),
        source: None,
        interval: Centis(400),
        seqno: 1,
        metric,
        router_id: Some(ID),
        next_hop: None,
    };
    assert!(builder.update(&update("fd00:1:2:3::/64", 1)));
    let first = builder.room();
    assert!(builder.update(&update("fd00:1:2:4::/64", 1)));
    // No Router-Id TLV, seven octets left out.
    assert_eq!(first - builder.room(), 12 + 1);
    let mut alone = Builder::new(1232, SOURCE);
    assert!(alone.update(&update("2001:db8::102:304:506:708/128", 1)));
    assert_eq!(
        alone.finish().len(),
        HEADER + 12 + 16,
        "the router-id is in the prefix"
    );
    // Some daemons ignore a retraction that no Router-Id TLV precedes.
    let mut retraction = Builder::new(1232, SOURCE);
    assert!(retraction.update(&update("2001:db8::102:304:506:708/128", INFINITY)));
    assert_eq!(retraction.finish()[HEADER], kind::ROUTER_ID);
}

#[test]
fn what_does_not_fit_leaves_the_packet_as_it_was() {
    let update = Update {
        prefix: Some(net("10.0.0.0/8")),
        source: None,
        interval: Centis(400),
        seqno: 1,
        metric: 1,
        router_id: Some(ID),
        next_hop: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
    };
    let needed = HEADER + 12 + 8 + 13;
    let mut builder = Builder::new(needed - 1, SOURCE);
    assert!(!builder.update(&update));
    assert!(builder.is_empty());
    let mut builder = Builder::new(needed, SOURCE);
    assert!(builder.update(&update));
    assert_eq!(builder.finish().len(), needed);
}

fn any_net() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<[u8; 4]>(), 0u8..=32)
            .prop_map(|(a, n)| IpNet::new(Ipv4Addr::from(a).into(), n).unwrap().trunc()),
        (any::<[u8; 16]>(), 0u8..=128)
            .prop_map(|(a, n)| IpNet::new(Ipv6Addr::from(a).into(), n).unwrap().trunc()),
        // Neighbours that compress well.
        (any::<u8>(), 48u8..=64).prop_map(|(n, len)| {
            let address = Ipv6Addr::new(0xfd00, 1, 2, u16::from(n) << 8, 0, 0, 0, 0);
            IpNet::new(address.into(), len).unwrap().trunc()
        }),
    ]
}

/// A prefix, often with a source prefix of its family.
fn any_route() -> impl Strategy<Value = (IpNet, Option<IpNet>)> {
    (any_net(), any::<[u8; 16]>(), 0u8..=128).prop_map(|(prefix, source, n)| {
        let source = match prefix {
            IpNet::V4(_) => {
                let [a, b, c, d, ..] = source;
                IpNet::new(Ipv4Addr::from([a, b, c, d]).into(), n / 4)
            }
            IpNet::V6(_) => IpNet::new(Ipv6Addr::from(source).into(), n),
        };
        let source = source.unwrap().trunc();
        (prefix, Some(source).filter(|source| source.prefix_len() > 3))
    })
}

fn any_router_id() -> impl Strategy<Value = RouterId> {
    prop_oneof![Just(ID), any::<[u8; 8]>().prop_map(RouterId)]
        .prop_filter("valid", |id| id.0 != [0; 8] && id.0 != [255; 8])
}

fn any_update() -> impl Strategy<Value = Update> {
    let metric = prop_oneof![Just(INFINITY), any::<u16>()];
    (
        any_route(),
        any::<u16>(),
        any::<u16>(),
        metric,
        any_router_id(),
        1u8..200,
    )
        .prop_map(|((prefix, source), interval, seqno, metric, id, host)| {
            let next_hop = match prefix {
                IpNet::V4(_) if host < 50 => SOURCE.into(),
                IpNet::V4(_) if host < 60 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()).into(),
                IpNet::V4(_) => Ipv4Addr::new(192, 0, 2, host).into(),
                IpNet::V6(_) if host < 100 => SOURCE.into(),
                IpNet::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()).into(),
            };
            let (router_id, next_hop) = (Some(id), Some(next_hop));
            Update {
                prefix: Some(prefix),
                source,
                interval: Centis(interval),
                seqno,
                metric,
                router_id,
                next_hop,
            }
        })
}

fn any_tlv() -> impl Strategy<Value = Tlv> {
    let centis = || any::<u16>().prop_map(Centis);
    let address = prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|a| Some(Ipv4Addr::from(a).into())),
        any::<[u8; 16]>().prop_map(|a| Some(Ipv6Addr::from(a).into())),
        any::<u16>().prop_map(|a| Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, a).into())),
    ];
    let echo = proptest::option::of((any::<u32>(), any::<u32>()))
        .prop_map(|echo| echo.map(|(origin, received)| Echo { origin, received }));
    prop_oneof![
        (any::<u16>(), centis()).prop_map(|(opaque, interval)| Tlv::AckRequest { opaque, interval }),
        any::<u16>().prop_map(|opaque| Tlv::Ack { opaque }),
        (any::<bool>(), any::<u16>(), centis(), any::<Option<u32>>()).prop_map(
            |(unicast, seqno, interval, timestamp)| Tlv::Hello {
                timestamp,
                unicast,
                seqno,
                interval
            }
        ),
        (address, any::<u16>(), centis(), echo).prop_map(|(address, rx_cost, interval, timestamps)| {
            Tlv::Ihu {
                timestamps,
                address,
                rx_cost,
                interval,
            }
        }),
        any_update().prop_map(Tlv::Update),
        any_update().prop_map(Tlv::Update),
        Just(Tlv::RouteRequest {
            prefix: None,
            source: None
        }),
        any_route().prop_map(|(prefix, source)| Tlv::RouteRequest {
            prefix: Some(prefix),
            source
        }),
        (any_route(), any::<u16>(), any::<u8>(), any_router_id()).prop_map(
            |((prefix, source), seqno, hop_count, router_id)| Tlv::SeqnoRequest(SeqnoRequest {
                prefix,
                source,
                seqno,
                hop_count,
                router_id
            })
        ),
    ]
}

fn write(builder: &mut Builder, tlv: &Tlv) -> bool {
    match tlv {
        Tlv::AckRequest { opaque, interval } => builder.ack_request(*opaque, *interval),
        Tlv::Ack { opaque } => builder.ack(*opaque),
        Tlv::Hello {
            unicast,
            seqno,
            interval,
            timestamp,
        } => builder.timestamped_hello(*unicast, *seqno, *interval, *timestamp),
        Tlv::Ihu {
            address,
            rx_cost,
            interval,
            timestamps,
        } => builder.timestamped_ihu(*address, *rx_cost, *interval, *timestamps),
        Tlv::Update(update) => builder.update(update),
        Tlv::RouteRequest { prefix, source } => {
            let source = *source;
            builder.route_request(prefix.map(|prefix| RouteKey { prefix, source }))
        }
        Tlv::SeqnoRequest(request) => builder.seqno_request(request),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(tlvs in proptest::collection::vec(any_tlv(), 0..40)) {
        let mut builder = Builder::new(1232, SOURCE);
        let written: Vec<Tlv> = tlvs.into_iter().filter(|tlv| write(&mut builder, tlv)).collect();
        let payload = builder.finish();
        prop_assert!(payload.len() <= 1232);
        let read: Vec<_> = parse(&payload, SOURCE).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(tlvs) = parse(&octets, SOURCE) {
            prop_assert!(tlvs.count() <= octets.len());
        }
        prop_assert!(parse(&packet(&[&octets]), SOURCE).unwrap().count() <= octets.len());
    }

    #[test]
    fn a_damaged_packet_is_read_without_panic(
        tlvs in proptest::collection::vec(any_tlv(), 1..20),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut builder = Builder::new(1232, SOURCE);
        tlvs.iter().for_each(|tlv| { write(&mut builder, tlv); });
        let mut payload = builder.finish();
        for (at, octet) in damage {
            let at = at.index(payload.len());
            payload[at] = octet;
        }
        payload.truncate(cut.index(payload.len()) + 1);
        if let Ok(tlvs) = parse(&payload, SOURCE) {
            prop_assert!(tlvs.count() <= payload.len());
        }
    }
}
