//! Super-packets: what is joined and split again is what it was, octet for octet, and nonsense does no harm.

#![allow(clippy::unwrap_used)]

use core::ops::Range;
use osier_dataplane::{Coalescer, Joins, SegmentError, Segments, VirtioHeader};
use osier_test_support::packets::*;
use proptest::prelude::*;

const BOTH: Joins = Joins { tcp: true, udp: true };

/// Joins, and splits every super-packet again. Also: how many super-packets there were.
fn round_trip(packets: &[Vec<u8>], joins: Joins) -> (Vec<Vec<u8>>, usize) {
    let mut coalescer = Coalescer::new(joins);
    let mut buffer = packets.concat();
    let (mut at, mut result, mut count) = (0, Vec::new(), 0);
    for packet in packets {
        let place = at..at + packet.len();
        at = place.end;
        assert!(coalescer.push(&buffer, place));
    }
    coalescer.drain(&mut buffer, |buffer, packet| {
        count += 1;
        let pieces: Vec<Range<usize>> = packet.pieces().collect();
        assert_eq!(pieces.len(), packet.packets);
        let mut whole: Vec<u8> = pieces
            .into_iter()
            .flat_map(|piece| buffer[piece].to_vec())
            .collect();
        assert_eq!(whole.len(), packet.octets);
        let before = result.len();
        result.extend(split(&packet.virtio, &mut whole).unwrap());
        assert_eq!(result.len() - before, packet.packets);
    });
    assert!(coalescer.is_empty());
    (result, count)
}

fn split(virtio: &VirtioHeader, packet: &mut [u8]) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut segments = Segments::new(virtio, packet)?;
    let mut result = Vec::new();
    while let Some(segment) = segments.next_segment() {
        result.push(segment.to_vec());
    }
    Ok(result)
}

/// Packets of each flow in their order.
fn by_flow(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sorted = packets.to_vec();
    // Stable: addresses, then protocol and ports.
    sorted.sort_by_key(|packet| {
        (
            packet[8..40].to_vec(),
            packet[6],
            packet.get(40..44).map(<[u8]>::to_vec),
        )
    });
    sorted
}

fn stream(flow: Flow, lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut segment = Segment::new(flow);
    lengths
        .iter()
        .map(|length| {
            segment.payload = *length;
            let packet = segment.build();
            segment.sequence = segment.sequence.wrapping_add(*length as u32);
            packet
        })
        .collect()
}

fn count(packets: &[Vec<u8>], joins: Joins) -> usize {
    let (result, count) = round_trip(packets, joins);
    assert_eq!(by_flow(&result), by_flow(packets));
    count
}

#[test]
fn bulk_becomes_one() {
    let packets = stream(Flow::new(1), &[1208; 40]);
    assert_eq!(count(&packets, BOTH), 1);
    assert_eq!(count(&packets, Joins::default()), 40);
    let packets: Vec<_> = (0..40).map(|i| datagram(Flow::new(1), 1000, i)).collect();
    assert_eq!(count(&packets, BOTH), 1);
    let tcp_only = Joins {
        tcp: true,
        udp: false,
    };
    assert_eq!(count(&packets, tcp_only), 40);
}

#[test]
fn two_flows_that_take_turns_become_two() {
    let (a, b) = (stream(Flow::new(1), &[900; 20]), stream(Flow::new(2), &[800; 20]));
    let packets: Vec<_> = a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(count(&packets, BOTH), 2);
}

#[test]
fn super_packet_has_at_most_64_kib() {
    let packets = stream(Flow::new(1), &[1208; 100]);
    assert_eq!(count(&packets, BOTH), 2);
}

#[test]
fn only_the_last_is_shorter() {
    assert_eq!(count(&stream(Flow::new(1), &[500, 500, 20, 500, 500]), BOTH), 2);
    assert_eq!(count(&stream(Flow::new(1), &[500, 501]), BOTH), 2);
    assert_eq!(count(&stream(Flow::new(1), &[500, 500, 0, 500]), BOTH), 3);
}

/// Each of these may not be joined to plain data before it, nor data after it.
#[test]
fn what_differs_stays_apart() {
    type Differ = fn(&mut Segment);
    let differences: [(&str, Differ); 16] = [
        ("SYN", |s| s.flags |= 0x02),
        ("FIN", |s| s.flags |= 0x01),
        ("RST", |s| s.flags |= 0x04),
        ("URG", |s| s.flags |= 0x20),
        ("ECE", |s| s.flags |= 0x40),
        ("CWR", |s| s.flags |= 0x80),
        ("no ACK", |s| s.flags = 0),
        ("a reserved bit", |s| s.reserved = 1),
        ("the acknowledgement", |s| s.acknowledgement += 1),
        ("the window", |s| s.window += 1),
        ("the urgent pointer", |s| s.urgent = 1),
        ("an option", |s| s.options[3] ^= 1),
        ("no options", |s| s.options.clear()),
        ("the hop limit", |s| s.hop_limit -= 1),
        ("the traffic class", |s| s.traffic_class = 3),
        ("the sequence number", |s| s.sequence += 1),
    ];
    for (name, differ) in differences {
        let mut segment = Segment::new(Flow::new(1));
        segment.payload = 100;
        let first = segment.build();
        segment.sequence += 100;
        let mut other = segment.clone();
        differ(&mut other);
        segment.sequence += 100;
        let packets = [first, other.build(), segment.build()];
        assert_eq!(count(&packets, BOTH), 3, "{name}");
    }
}

#[test]
fn pushed_segment_is_the_last() {
    let mut segment = Segment::new(Flow::new(1));
    segment.payload = 100;
    let mut packets = Vec::new();
    for flags in [0x10, 0x18, 0x10, 0x18, 0x18] {
        segment.flags = flags;
        packets.push(segment.build());
        segment.sequence += 100;
    }
    assert_eq!(count(&packets, BOTH), 3);
}

#[test]
fn wrong_checksum_is_neither_joined_nor_repaired() {
    for packets in [
        stream(Flow::new(1), &[100; 3]),
        (0..3).map(|i| datagram(Flow::new(1), 100, i)).collect(),
    ] {
        for bad in 0..3 {
            let mut packets = packets.clone();
            *packets[bad].last_mut().unwrap() ^= 1;
            assert_eq!(count(&packets, BOTH), if bad == 1 { 3 } else { 2 });
        }
        let mut all_bad = packets;
        all_bad.iter_mut().for_each(|packet| packet[50] ^= 1);
        assert_eq!(count(&all_bad, BOTH), 3);
    }
}

#[test]
fn packet_of_an_unknown_flow_is_not_overtaken() {
    let mut packets = stream(Flow::new(1), &[100; 4]);
    packets.insert(2, ipv6(Flow::new(1), 44, 64, &[0; 30]));
    let (result, count) = round_trip(&packets, BOTH);
    assert_eq!((result, count), (packets, 3));
}

#[test]
fn full_coalescer_takes_no_more() {
    let packet = ipv6(Flow::new(1), 59, 64, &[]);
    let mut coalescer = Coalescer::new(BOTH);
    for _ in 0..osier_dataplane::MAX_PACKETS {
        assert!(!coalescer.is_full() && coalescer.push(&packet, 0..40));
    }
    assert!(coalescer.is_full() && !coalescer.push(&packet, 0..40));
    assert!(!Coalescer::new(BOTH).push(&packet, 0..41), "outside the buffer");
}

/// As the kernel gives it: the checksum field holds the sum of the pseudo-header.
#[test]
fn missing_checksum_is_completed() {
    for packet in [
        stream(Flow::new(1), &[777]).remove(0),
        datagram(Flow::new(1), 778, 1),
    ] {
        let offset = if packet[6] == 6 { 16 } else { 6 };
        let virtio = VirtioHeader {
            flags: 1,
            checksum_start: 40,
            checksum_offset: offset,
            ..VirtioHeader::PLAIN
        };
        let mut unfinished = packet.clone();
        let partial = partial_checksum(&packet);
        unfinished[40 + usize::from(offset)..][..2].copy_from_slice(&partial);
        assert_eq!(split(&virtio, &mut unfinished), Ok(vec![packet]));
    }
}

/// Only the kernel makes such: FIN and PSH belong to the last segment, CWR to the first.
#[test]
fn flags_go_where_they_belong() {
    let mut segment = Segment::new(Flow::new(1));
    segment.payload = 250;
    segment.flags = 0x10 | 0x08 | 0x01 | 0x80;
    let mut packet = segment.build();
    let virtio = VirtioHeader {
        flags: 1,
        gso_type: 0x84,
        gso_size: 100,
        checksum_start: 40,
        checksum_offset: 16,
        header_length: 0,
    };
    let segments = split(&virtio, &mut packet).unwrap();
    let flags: Vec<u8> = segments.iter().map(|s| s[53]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
    assert!(segments.iter().all(|s| has_right_checksum(s)));
    assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [172, 172, 122]);
}

#[test]
fn nonsense_is_refused() {
    let good = VirtioHeader {
        flags: 1,
        gso_type: 4,
        gso_size: 100,
        checksum_start: 40,
        checksum_offset: 16,
        header_length: 72,
    };
    let packet = stream(Flow::new(1), &[300]).remove(0);
    let try_it = |virtio: VirtioHeader| split(&virtio, &mut packet.clone());
    assert_eq!(try_it(good).unwrap().len(), 3);
    let cases = [
        (VirtioHeader { gso_type: 1, ..good }, SegmentError::Kind(1)),
        (VirtioHeader { gso_type: 77, ..good }, SegmentError::Kind(77)),
        (VirtioHeader { gso_size: 0, ..good }, SegmentError::NoSize),
        (
            VirtioHeader {
                checksum_start: 39,
                ..good
            },
            SegmentError::Headers,
        ),
        (
            VirtioHeader {
                checksum_start: 60_000,
                ..good
            },
            SegmentError::Headers,
        ),
        (
            VirtioHeader {
                checksum_start: 365,
                ..good
            },
            SegmentError::Headers,
        ),
        (
            VirtioHeader {
                checksum_offset: 6,
                ..good
            },
            SegmentError::Headers,
        ),
        (
            VirtioHeader {
                gso_type: 5,
                checksum_offset: 6,
                ..good
            },
            SegmentError::Headers,
        ),
        (
            VirtioHeader {
                gso_type: 0,
                checksum_start: 400,
                ..good
            },
            SegmentError::Checksum,
        ),
        (
            VirtioHeader {
                gso_type: 0,
                checksum_offset: 60_000,
                ..good
            },
            SegmentError::Checksum,
        ),
        (
            VirtioHeader {
                gso_type: 0,
                checksum_start: 371,
                checksum_offset: 0,
                ..good
            },
            SegmentError::Checksum,
        ),
    ];
    for (virtio, error) in cases {
        assert_eq!(try_it(virtio), Err(error), "{virtio:?}");
    }
    let mut ipv4 = packet.clone();
    ipv4[0] = 0x45;
    assert_eq!(split(&good, &mut ipv4), Err(SegmentError::NotIpv6));
    assert_eq!(split(&good, &mut []), Err(SegmentError::NotIpv6));
    assert_eq!(
        split(&good, &mut packet.clone()[..60]),
        Err(SegmentError::Headers)
    );
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let flow = (0_u8..3).prop_map(Flow::new);
    let length = prop_oneof![Just(100_usize), Just(1208), 0_usize..1300];
    prop_oneof![
        3 => (flow.clone(), length.clone(), any::<u8>()).prop_map(|(flow, length, fill)| datagram(flow, length, fill)),
        1 => (flow, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(flow, header, payload)| ipv6(flow, header, 64, &payload)),
    ]
}

fn any_stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let step = (
        prop_oneof![4 => Just(1208_usize), 1 => 0_usize..1208],
        prop_oneof![8 => Just(0x10_u8), 2 => Just(0x18), 1 => any::<u8>()],
        prop_oneof![20 => Just(0_u32), 1 => any::<u32>()],
        prop_oneof![20 => Just(0_u16), 1 => 0_u16..5],
        any::<bool>(),
    );
    let start = prop_oneof![Just(u32::MAX - 3000), any::<u32>()];
    (0_u8..3, start, proptest::collection::vec(step, 1..30)).prop_map(|(flow, start, steps)| {
        let mut segment = Segment::new(Flow::new(flow));
        segment.sequence = start;
        let mut packets = Vec::new();
        for (payload, flags, jump, window, bad) in steps {
            segment.payload = payload;
            segment.flags = flags;
            segment.window = segment.window.wrapping_add(window);
            segment.sequence = segment.sequence.wrapping_add(jump);
            let mut packet = segment.build();
            if bad && window > 0 {
                packet[40 + 16] ^= 0x10;
            }
            packets.push(packet);
            segment.sequence = segment.sequence.wrapping_add(payload as u32);
        }
        packets
    })
}

/// Streams and other packets, each in its order, one between the other.
fn any_mix() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sources = proptest::collection::vec(
        prop_oneof![
            any_stream(),
            proptest::collection::vec(any_packet(), 1..30),
            (any_packet(), 1_usize..30).prop_map(|(packet, times)| vec![packet; times]),
        ],
        1..4,
    );
    (
        sources,
        proptest::collection::vec(any::<prop::sample::Index>(), 120),
    )
        .prop_map(|(sources, choices)| {
            let mut queues: Vec<_> = sources.into_iter().map(Vec::into_iter).collect();
            let mut mixed = Vec::new();
            for choice in choices {
                if queues.is_empty() {
                    break;
                }
                let at = choice.index(queues.len());
                match queues[at].next() {
                    Some(packet) => mixed.push(packet),
                    None => drop(queues.remove(at)),
                }
            }
            mixed
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn joined_and_split_is_the_same(packets in any_mix(), tcp: bool, udp: bool) {
        let (result, _) = round_trip(&packets, Joins { tcp, udp });
        prop_assert_eq!(by_flow(&result), by_flow(&packets));
    }

    #[test]
    fn any_header_before_any_packet_gives_packets_or_an_error(
        header: [u8; 10],
        kind in prop_oneof![Just(0_u8), Just(4), Just(5), Just(0x84), any::<u8>()],
        start in prop_oneof![Just(40_u16), any::<u16>()],
        offset in prop_oneof![Just(6_u16), Just(16), any::<u16>()],
        packet in prop_oneof![any_packet(), proptest::collection::vec(any::<u8>(), 0..300)],
        cut in 0_usize..1400,
    ) {
        let mut virtio = VirtioHeader::decode(header);
        (virtio.gso_type, virtio.checksum_start, virtio.checksum_offset) = (kind, start, offset);
        let mut packet = packet;
        packet.truncate(cut);
        let octets = packet.len();
        if let Ok(segments) = split(&virtio, &mut packet) {
            prop_assert!(!segments.is_empty() && segments.len() <= octets.max(1));
            if kind & 0x7f != 0 {
                prop_assert!(segments.iter().all(|s| usize::from(u16::from_be_bytes([s[4], s[5]])) == s.len() - 40));
                prop_assert!(start != 40 || segments.iter().all(|s| has_right_checksum(s)));
            }
        }
    }
}
