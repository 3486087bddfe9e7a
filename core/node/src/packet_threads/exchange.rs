//! Tests of the whole path: two nodes with a WireGuard session, real sockets, and devices that stand in for TUN with
//! and without offload. What one device gives, the other must get, octet for octet.
#![allow(clippy::unwrap_used)]

use super::{
    Counters, PacketThreads, Shared, Takes,
    directions::{Incoming, Orders, Outgoing, Patience, Turn},
};
use crate::{
    system::{Readable, Wake, wait},
    tun::{SuperPackets, TunQueue},
    udp::{PortChoice, Udp},
};
use arc_swap::ArcSwap;
use osier_dataplane::{Coalescer, Joins, Segments, VIRTIO_HEADER, VirtioHeader};
use osier_proto::{
    Instant, Snapshot,
    fib::Hop,
    snapshot::TunnelHandle,
    tunnel::{Opened, SessionFactory as _, TunnelId, wireguard::WireGuardFactory},
};
use osier_test_support::{
    CountingAllocator, allocations,
    packets::{self, Flow, Segment},
};
use proptest::prelude::*;
use std::{
    io::{self, IoSlice},
    net::Ipv6Addr,
    sync::{Arc, Mutex},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What a device has for us, and what it got. Does not allocate itself once it is set up.
#[derive(Debug, Default)]
struct Ends {
    input: Vec<(VirtioHeader, Vec<u8>)>,
    /// The next of `input`.
    next: usize,
    /// Each with its header before it, one after the other.
    output: Vec<u8>,
    /// Where each ends.
    written: Vec<usize>,
}

#[derive(Debug)]
struct FakeTun {
    ends: Mutex<Ends>,
    silent: Wake,
    offload: Option<Joins>,
    /// Refuses what it said it takes, as some kernels do.
    refuses: bool,
    /// Gives no more than so many packets before the other device has got them.
    window: Option<(usize, Arc<FakeTun>)>,
}

impl FakeTun {
    fn output(&self) -> Vec<(VirtioHeader, Vec<u8>)> {
        let mut ends = self.ends.lock().unwrap();
        let written = std::mem::take(&mut ends.written);
        let output = std::mem::take(&mut ends.output);
        let starts = [0].into_iter().chain(written.iter().copied());
        starts
            .zip(&written)
            .map(|(start, end)| {
                let (header, packet) = output[start..*end].split_first_chunk().unwrap();
                (VirtioHeader::decode(*header), packet.to_vec())
            })
            .collect()
    }
}

impl TunQueue for FakeTun {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        SuperPackets::receive(self, 0, buffer).map(|(header, length)| {
            assert_eq!(header, VirtioHeader::PLAIN);
            length
        })
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let header = VirtioHeader::PLAIN.encode();
        SuperPackets::send(self, 0, &[IoSlice::new(&header), IoSlice::new(packet)])
    }

    fn readable(&self) -> Readable<'_> {
        self.silent.readable()
    }

    fn name(&self) -> Option<&str> {
        None
    }

    fn super_packets(&self) -> Option<&dyn SuperPackets> {
        self.offload.is_some().then_some(self)
    }
}

impl SuperPackets for FakeTun {
    fn readable(&self, _queue: usize) -> Readable<'_> {
        self.silent.readable()
    }

    fn receive(&self, _queue: usize, buffer: &mut [u8]) -> io::Result<(VirtioHeader, usize)> {
        let mut ends = self.ends.lock().unwrap();
        if let Some((most, other)) = &self.window {
            until(|| ends.next < most + other.ends.lock().unwrap().written.len());
        }
        let next = ends.next;
        let Some((header, packet)) = ends.input.get(next) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let (header, length) = (*header, packet.len());
        buffer[..length].copy_from_slice(packet);
        ends.next += 1;
        Ok((header, length))
    }

    fn send(&self, _queue: usize, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut header = [0; VIRTIO_HEADER];
        header.copy_from_slice(&pieces[0]);
        if self.refuses && VirtioHeader::decode(header) != VirtioHeader::PLAIN {
            return Err(io::Error::from_raw_os_error(22));
        }
        let mut ends = self.ends.lock().unwrap();
        pieces
            .iter()
            .for_each(|piece| ends.output.extend_from_slice(piece));
        let end = ends.output.len();
        ends.written.push(end);
        Ok(())
    }

    fn takes(&self) -> Joins {
        self.offload.unwrap_or_default()
    }
}

struct Node {
    shared: Shared,
    tun: Arc<FakeTun>,
    outgoing: Outgoing,
    incoming: Incoming,
    orders: Orders,
    _control: tokio::sync::mpsc::Receiver<super::FromPath>,
}

const BOTH: Joins = Joins { tcp: true, udp: true };

fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, number, 0, 0, 0, 1)
}

impl Node {
    fn new(number: u16, offload: Option<Joins>) -> Self {
        let udp = Udp::bind(PortChoice::Exactly(0)).unwrap();
        let udp = if offload.is_some() {
            udp
        } else {
            udp.without_offload()
        };
        let tun = Arc::new(FakeTun {
            ends: Mutex::default(),
            silent: Wake::new().unwrap(),
            offload,
            refuses: false,
            window: None,
        });
        let prefix = format!("fd00:0:0:{number}::/64").parse().unwrap();
        let snapshot = Snapshot::new(address(number), vec![prefix], "fd00::/48".parse().unwrap());
        let (control, reader) = tokio::sync::mpsc::channel(16);
        let shared = Shared {
            clock: Arc::default(),
            udp: Arc::new(udp),
            takes: Arc::new(Takes::new(offload.unwrap_or_default())),
            tun: tun.clone(),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            counters: Arc::new(Counters::default()),
            control,
        };
        Self {
            outgoing: Outgoing::new(&shared),
            incoming: Incoming::new(&shared),
            orders: Orders::default(),
            shared,
            tun,
            _control: reader,
        }
    }

    fn send(&mut self) -> Turn {
        self.outgoing.turn(&self.shared, &self.orders, 0, Patience::Wait)
    }

    fn receive(&mut self) -> Turn {
        self.incoming.turn(&self.shared, &self.orders, Patience::Wait)
    }

    fn counter(&self, name: &str) -> u64 {
        self.shared.counters.list().find(|(n, _)| n == name).unwrap().1
    }
}

/// Nodes 1 and 2 with a session between them.
fn pair(offloads: [Option<Joins>; 2]) -> [Node; 2] {
    let nodes = [Node::new(1, offloads[0]), Node::new(2, offloads[1])];
    connect(&nodes);
    nodes
}

fn connect(nodes: &[Node; 2]) {
    let factories = [[7; 32], [8; 32]].map(|secret| WireGuardFactory::new(&secret));
    let now = Instant::from_micros(1);
    let sessions = [0, 1].map(|i| factories[i].new_session(factories[1 - i].public_key(), i as u32 + 1, now));
    let there = [0, 1].map(|i: usize| ([127, 0, 0, 1], nodes[1 - i].shared.udp.port()).into());
    let mut buffers = [[0; 256]; 2];
    let [a, b] = &mut buffers;
    let initiation = sessions[0].initiate(now, a).unwrap();
    let Opened::Reply(response) = sessions[1].open(now, there[1], initiation, b) else {
        panic!("no response")
    };
    let Opened::Reply(keepalive) = sessions[0].open(now, there[0], response, a) else {
        panic!("no keepalive")
    };
    assert_eq!(sessions[1].open(now, there[1], keepalive, b), Opened::Packet(&[]));
    for (i, session) in sessions.into_iter().enumerate() {
        let tunnel = TunnelHandle::new(TunnelId(1), session, Some(there[i]));
        tunnel.set_sources(true, &[]);
        tunnel.set_open(true);
        let mut snapshot = Snapshot::clone(&nodes[i].shared.snapshot.load());
        snapshot.add_tunnel(i as u32 + 1, Arc::new(tunnel));
        let prefix = format!("fd00:0:0:{}::/64", 2 - i).parse().unwrap();
        snapshot.fib.insert(prefix, Hop::Tunnel(TunnelId(1)));
        nodes[i].shared.snapshot.store(Arc::new(snapshot));
    }
}

/// Lets the first node send what its device has, and the second receive until it has got so many packets.
fn run([from, to]: &mut [Node; 2], packets: u64) {
    let received = |to: &Node| {
        let snapshot = to.shared.snapshot.load();
        snapshot.tunnels[&TunnelId(1)].received().own.packets
    };
    let before = received(to);
    while from.send() != Turn::Emptied {
        // The socket's buffer is not endless.
        while received(to) < before + packets && matches!(to.receive(), Turn::More | Turn::Full) {}
    }
    let stop = Wake::new().unwrap();
    while received(to) < before + packets {
        assert!(wait(to.shared.udp.readable(), &stop, true));
        to.receive();
    }
}

fn until(condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(30),
            "it takes too long"
        );
        std::thread::yield_now();
    }
}

fn segment(sequence: u32, length: usize) -> Vec<u8> {
    let segment = Segment {
        sequence,
        payload: length,
        options: Vec::new(),
        ..Segment::new(Flow::new(0))
    };
    segment.build()
}

fn datagram(length: usize, fill: u8) -> Vec<u8> {
    packets::datagram(Flow::new(0), length, fill)
}

/// What a device with offload makes of these packets.
fn joined(packets: &[Vec<u8>], joins: Joins) -> Vec<(VirtioHeader, Vec<u8>)> {
    let mut result = Vec::new();
    for packets in packets.chunks(osier_dataplane::MAX_PACKETS) {
        let mut coalescer = Coalescer::new(joins);
        let mut buffer = packets.concat();
        let mut at = 0;
        for packet in packets {
            assert!(coalescer.push(&buffer, at..at + packet.len()));
            at += packet.len();
        }
        coalescer.drain(&mut buffer, |buffer, packet| {
            let whole = packet.pieces().map(|piece| &buffer[piece]).collect::<Vec<_>>();
            result.push((packet.virtio, whole.concat()));
        });
    }
    result
}

fn apart(written: Vec<(VirtioHeader, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut result = Vec::new();
    for (virtio, mut packet) in written {
        let mut segments = Segments::new(&virtio, &mut packet).unwrap();
        while let Some(segment) = segments.next_segment() {
            result.push(segment.to_vec());
        }
    }
    result
}

fn give(node: &Node, packets: &[Vec<u8>]) {
    let mut ends = node.tun.ends.lock().unwrap();
    ends.next = 0;
    ends.input = joined(packets, node.tun.takes());
}

/// Packets of each protocol in their order.
fn by_protocol(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.sort_by_key(|packet| packet[6]);
    packets
}

fn stream(lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut sequence = u32::MAX - 5000;
    let packets = lengths.iter().map(|length| {
        let packet = segment(sequence, *length);
        sequence = sequence.wrapping_add(*length as u32);
        packet
    });
    packets.collect()
}

#[test]
fn bulk_goes_in_few_pieces_from_end_to_end() {
    let mut nodes = pair([Some(BOTH); 2]);
    let packets = stream(&[1220; 49]);
    give(&nodes[0], &packets);
    run(&mut nodes, 49);
    let written = nodes[1].tun.output();
    // One train; loopback without GRO would still give at least one piece for each receive buffer.
    assert!(written.len() <= 4, "{} writes", written.len());
    assert_eq!(apart(written), packets);
    assert_eq!(nodes[0].counter("trains-refused"), 0);
}

/// Some kernels offer super-packets and refuse them.
#[test]
fn device_that_refuses_super_packets_gets_every_packet_and_is_not_asked_again() {
    let mut nodes = [Node::new(1, Some(BOTH)), Node::new(2, Some(BOTH))];
    let tun = Arc::new(FakeTun {
        ends: Mutex::default(),
        silent: Wake::new().unwrap(),
        offload: Some(BOTH),
        refuses: true,
        window: None,
    });
    nodes[1].shared.tun = tun.clone();
    nodes[1].tun = tun;
    connect(&nodes);
    let mut packets = stream(&[1000; 20]);
    packets.extend((0..20).map(|i| datagram(700, i)));
    for _ in 0..2 {
        give(&nodes[0], &packets);
        run(&mut nodes, 40);
        let written = nodes[1].tun.output();
        assert!(written.iter().all(|(header, _)| *header == VirtioHeader::PLAIN));
        let written = written.into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(by_protocol(written), by_protocol(packets.clone()));
        assert_eq!(nodes[1].shared.takes.joins(), Joins::default());
        assert_eq!(nodes[1].counter("deliver-errors"), 0);
    }
}

#[test]
fn super_packet_that_makes_no_sense_is_counted() {
    let mut nodes = pair([Some(BOTH); 2]);
    let nonsense = VirtioHeader {
        gso_type: 77,
        ..VirtioHeader::PLAIN
    };
    nodes[0].tun.ends.lock().unwrap().input = vec![(nonsense, datagram(10, 1))];
    run(&mut nodes, 0);
    assert_eq!(nodes[0].counter("drop-bad-offload"), 1);
}

#[test]
fn nothing_is_allocated_per_packet() {
    for offloads in [[Some(BOTH); 2], [None; 2]] {
        let mut nodes = pair(offloads);
        let packets = stream(&[1220; 49]);
        {
            // Room for all that the device will get.
            let mut ends = nodes[1].tun.ends.lock().unwrap();
            ends.output.reserve(8 << 20);
            ends.written.reserve(10_000);
        }
        give(&nodes[0], &packets);
        let mut measured = 0;
        for round in 0..20 {
            nodes[0].tun.ends.lock().unwrap().next = 0;
            let before = allocations();
            run(&mut nodes, 49);
            // The first round has reports for control.
            if round > 0 {
                measured += allocations() - before;
            }
        }
        assert_eq!(measured, 0, "{offloads:?}");
        assert!(!nodes[1].tun.ends.lock().unwrap().written.is_empty());
    }
}

#[test]
fn several_threads_keep_the_order_of_what_comes_from_one_peer() {
    const PACKETS: u32 = 30_000;
    let tcp_only = Joins {
        tcp: true,
        udp: false,
    };
    let mut nodes = [1, 2].map(|number| Node::new(number, Some(tcp_only)));
    let mut tun = FakeTun {
        ends: Mutex::default(),
        silent: Wake::new().unwrap(),
        offload: Some(tcp_only),
        refuses: false,
        // What a socket's buffer surely takes.
        window: Some((130, nodes[1].tun.clone())),
    };
    let numbered = |n: u32| {
        let mut packet = datagram(1000, 0);
        packet[60..64].copy_from_slice(&n.to_be_bytes());
        (VirtioHeader::PLAIN, packet)
    };
    tun.ends.get_mut().unwrap().input = (0..PACKETS).map(numbered).collect();
    // From now on there is something to read.
    tun.silent.wake();
    let tun = Arc::new(tun);
    nodes[0].shared.tun = tun.clone();
    nodes[0].tun = tun;
    connect(&nodes);
    let threads = nodes
        .each_ref()
        .map(|node| PacketThreads::start(&node.shared, 4).unwrap());
    let got = &nodes[1].tun;
    until(|| got.ends.lock().unwrap().written.len() == PACKETS as usize);
    drop(threads);
    let numbers = got
        .output()
        .into_iter()
        .map(|(_, packet)| u32::from_be_bytes(packet[60..64].try_into().unwrap()));
    assert!(numbers.eq(0..PACKETS), "in another order");
    assert!(nodes[0].counter("helped-turns") > 0, "nobody helped");
}

fn any_offload() -> impl Strategy<Value = Option<Joins>> {
    let tcp_only = Joins {
        tcp: true,
        udp: false,
    };
    prop_oneof![Just(None), Just(Some(tcp_only)), Just(Some(BOTH))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Offloads on, off and mixed.
    #[test]
    fn far_end_gets_the_same_octets(
        offloads in [any_offload(), any_offload()],
        segments in proptest::collection::vec(prop_oneof![3 => Just(1220_usize), 1 => 0_usize..1220], 0..80),
        datagrams in proptest::collection::vec((prop_oneof![2 => Just(500_usize), 1 => 0_usize..1232], any::<u8>()), 0..60),
        turns: [bool; 16],
    ) {
        let (mut a, mut b) = (stream(&segments).into_iter(), datagrams.iter().map(|(l, f)| datagram(*l, *f)));
        let mut packets = Vec::new();
        for turn in turns.iter().cycle() {
            let next = if *turn { a.next().or_else(|| b.next()) } else { b.next().or_else(|| a.next()) };
            match next {
                Some(packet) => packets.push(packet),
                None => break,
            }
        }
        let mut nodes = pair(offloads);
        give(&nodes[0], &packets);
        run(&mut nodes, packets.len() as u64);
        let got = apart(nodes[1].tun.output());
        prop_assert_eq!(by_protocol(got), by_protocol(packets));
        prop_assert_eq!(nodes[0].counter("send-errors"), 0);
    }
}
