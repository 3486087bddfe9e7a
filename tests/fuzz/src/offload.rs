//! Super-packets: whatever header stands before whatever packet, there are packets or an error; and packets that are
//! joined and split again are what they were.

use crate::{fixtures::address, join, split};
use osier_dataplane::{Coalescer, Joins, MAX_PACKETS, Segments, VIRTIO_HEADER, VirtioHeader};
use osier_test_support::packets::{self, Flow, Segment};

/// The first ten octets are the header.
pub fn segment(data: &[u8]) -> bool {
    let Some((header, packet)) = data.split_first_chunk::<VIRTIO_HEADER>() else {
        return false;
    };
    let mut packet = packet.to_vec();
    let octets = packet.len();
    let Ok(mut segments) = Segments::new(&VirtioHeader::decode(*header), &mut packet) else {
        return false;
    };
    let mut count = 0;
    while let Some(segment) = segments.next_segment() {
        assert!(segment.len() <= octets);
        count += 1;
    }
    assert!((1..=octets.max(1)).contains(&count));
    true
}

pub fn coalesce(data: &[u8]) -> bool {
    let packets: Vec<&[u8]> = split(data).take(MAX_PACKETS).collect();
    let mut coalescer = Coalescer::new(Joins { tcp: true, udp: true });
    let mut buffer = packets.concat();
    let mut at = 0;
    for packet in &packets {
        assert!(coalescer.push(&buffer, at..at + packet.len()));
        at += packet.len();
    }
    let (mut result, mut joined) = (Vec::new(), false);
    coalescer.drain(&mut buffer, |buffer, packet| {
        joined |= packet.packets > 1;
        let mut whole = packet
            .pieces()
            .map(|piece| &buffer[piece])
            .collect::<Vec<_>>()
            .concat();
        if packet.packets == 1 {
            result.push(whole);
            return;
        }
        match Segments::new(&packet.virtio, &mut whole) {
            Ok(mut segments) => {
                while let Some(segment) = segments.next_segment() {
                    result.push(segment.to_vec());
                }
            }
            Err(error) => panic!("cannot be split again: {error}"),
        }
    });
    let mut packets: Vec<_> = packets.iter().map(|packet| packet.to_vec()).collect();
    packets.sort();
    result.sort();
    assert!(packets == result, "other packets came out than went in");
    joined
}

fn flow(port: u16) -> Flow {
    Flow {
        source: address(1),
        destination: address(2),
        ports: [5000, port],
    }
}

fn tcp(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let segment = Segment {
        sequence,
        flags,
        window: 256,
        options: Vec::new(),
        ..Segment::new(flow(80))
    };
    segment.carrying(payload)
}

fn udp(payload: &[u8]) -> Vec<u8> {
    packets::udp(flow(53), payload)
}

pub fn super_packets() -> Vec<(String, Vec<u8>)> {
    let seed = |name: &str, header: VirtioHeader, packet: &[u8]| {
        (name.to_owned(), [&header.encode()[..], packet].concat())
    };
    let tcp_header = VirtioHeader {
        flags: 1,
        gso_type: 4,
        header_length: 60,
        gso_size: 50,
        checksum_start: 40,
        checksum_offset: 16,
    };
    let udp_header = VirtioHeader {
        gso_type: 5,
        header_length: 48,
        checksum_offset: 6,
        ..tcp_header
    };
    vec![
        seed("plain", VirtioHeader::PLAIN, &udp(b"plain")),
        seed("tcp", tcp_header, &tcp(u32::MAX - 60, 0x18, &[7; 170])),
        seed("udp", udp_header, &udp(&[9; 120])),
        seed(
            "checksum",
            VirtioHeader {
                gso_type: 0,
                gso_size: 0,
                ..tcp_header
            },
            &tcp(1, 0x10, &[3; 33]),
        ),
        seed(
            "no-size",
            VirtioHeader {
                gso_size: 0,
                ..tcp_header
            },
            &tcp(1, 0x10, &[3; 33]),
        ),
    ]
}

pub fn rows() -> Vec<(String, Vec<u8>)> {
    let row = |packets: &[Vec<u8>]| join(packets.iter().map(Vec::as_slice));
    let segments: Vec<_> = (0..4_u32)
        .map(|i| tcp(i * 40, if i == 3 { 0x18 } else { 0x10 }, &[i as u8; 40]))
        .collect();
    let datagrams = vec![udp(&[1; 30]), udp(&[2; 30]), udp(&[3; 20]), udp(&[4; 30])];
    let mixed: Vec<_> = segments
        .iter()
        .zip(&datagrams)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    vec![
        ("tcp".into(), row(&segments)),
        ("udp".into(), row(&datagrams)),
        ("mixed".into(), row(&mixed)),
    ]
}
