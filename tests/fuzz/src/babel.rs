//! The Babel speaker: a neighbour that says anything at all.

use crate::{
    fixtures::{prefix, public},
    join, split,
};
use core::net::Ipv6Addr;
use osier_babel::{
    AcceptAll, Config, CostModel, Destination, Duration, Forwarding, Instant, InterfaceConfig, InterfaceId,
    Limits, MULTICAST, Speaker,
};

pub(crate) const START: Instant = Instant::from_micros(1_000_000);
pub(crate) const INTERFACE: InterfaceId = InterfaceId(1);
/// Small, so that mutations reach them.
pub(crate) const LIMITS: Limits = Limits {
    neighbours_per_interface: 4,
    prefixes: 64,
    prefixes_per_neighbour: 32,
    pending_requests: 8,
};

pub(crate) fn link_local(node: u8) -> Ipv6Addr {
    public(node).0.link_local()
}

pub(crate) fn new_speaker(node: u8, now: Instant) -> Speaker {
    let router_id = public(node).0.router_id();
    let mut speaker = Speaker::new(
        Config {
            router_id,
            seqno: 1,
            seed: node.into(),
            limits: LIMITS,
            forwarding: Forwarding::default(),
        },
        now,
    );
    let interface = InterfaceConfig {
        cost_model: CostModel::Etx,
        rx_cost: 96,
        hello_interval: Duration::from_secs(4),
        update_interval: Duration::from_secs(16),
        link_local: link_local(node),
        ipv4: None,
        v4_via_v6: true,
        mtu: 1280,
        split_horizon: true,
        point_to_point: node == 1,
        rtt: None,
    };
    speaker.add_interface(INTERFACE, interface, now);
    speaker.announce(prefix(node), 0, now);
    speaker
}

/// Lets timers due until `until` fire and hands every packet to `sent`. Fails if the speaker spins.
pub(crate) fn run_until(speaker: &mut Speaker, until: Instant, mut sent: impl FnMut(Destination, &[u8])) {
    for _ in 0..10_000 {
        while let Some(transmit) = speaker.poll_transmit() {
            sent(transmit.destination, &transmit.payload);
        }
        while speaker.poll_event().is_some() {}
        match speaker.poll_timeout() {
            Some((due, _)) if due <= until => speaker.handle_timeout(due),
            _ => return,
        }
    }
    panic!("the speaker's timers spin");
}

/// Packets of a neighbour, a quarter of a second apart; the first octet of each is its destination (odd:
/// unicast), then half a minute of silence.
pub fn speaker(data: &[u8]) -> bool {
    let mut speaker = new_speaker(1, START);
    let mut now = START;
    let check = |_: Destination, payload: &[u8]| {
        assert!(payload.len() <= 1280 - 48, "a packet over the MTU");
        assert_eq!(payload[..2], [42, 2], "magic and version");
        assert_eq!(
            usize::from(u16::from_be_bytes([payload[2], payload[3]])) + 4,
            payload.len()
        );
    };
    for packet in split(data) {
        let Some((&first, payload)) = packet.split_first() else {
            continue;
        };
        now += Duration::from_millis(250);
        run_until(&mut speaker, now, check);
        let destination = if first % 2 == 1 { link_local(1) } else { MULTICAST };
        // A few neighbours, so that routes compete.
        let source = link_local(2 + first / 2 % 6);
        speaker.handle_packet(INTERFACE, source, destination, payload, &mut AcceptAll, now);
    }
    run_until(&mut speaker, now + Duration::from_secs(30), check);
    assert!(speaker.routes().count() <= LIMITS.prefixes * LIMITS.neighbours_per_interface);
    assert!(speaker.neighbours().count() <= LIMITS.neighbours_per_interface);
    let counters = speaker.counters();
    counters.packets_received > counters.malformed_packets && counters.ignored_tlvs == 0
}

/// One packet made of TLVs.
fn packet(first: u8, tlvs: &[&[u8]]) -> Vec<u8> {
    let body = tlvs.concat();
    let mut packet = vec![first, 42, 2];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend(body);
    packet
}

pub fn conversations() -> Vec<(String, Vec<u8>)> {
    // TLVs of RFC 8966 section 4.6.
    const HELLO: &[u8] = &[4, 6, 0, 0, 0, 1, 1, 0x90];
    const IHU: &[u8] = &[5, 6, 0, 0, 0, 96, 4, 0xb0];
    const ROUTER_ID: &[u8] = &[6, 10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const NEXT_HOP_V4: &[u8] = &[7, 6, 1, 0, 192, 0, 2, 1];
    // fd00:51e4:0:1::/64 with the prefix flag, then fd00:51e4:0:2::/64 that omits five octets.
    const UPDATE: &[u8] = &[
        8, 18, 2, 0x80, 64, 0, 6, 0x40, 0, 5, 0, 0, 0xfd, 0, 0x51, 0xe4, 0, 0, 0, 9,
    ];
    const UPDATE_COMPRESSED: &[u8] = &[8, 13, 2, 0, 64, 5, 6, 0x40, 0, 5, 0, 50, 0, 0, 8];
    const UPDATE_V4: &[u8] = &[8, 13, 1, 0, 24, 0, 6, 0x40, 0, 5, 0, 0, 10, 1, 2];
    // For ::/0 from fd00::/8, and for 10.1.3.0/24 with an IPv6 next hop, first whole and then without two octets.
    const UPDATE_FROM: &[u8] = &[8, 14, 2, 0, 0, 0, 6, 0x40, 0, 5, 0, 0, 128, 2, 8, 0xfd];
    const UPDATE_V4_VIA_V6: &[u8] = &[8, 13, 4, 0x80, 24, 0, 6, 0x40, 0, 5, 0, 0, 10, 1, 3];
    const UPDATE_V4_VIA_V6_COMPRESSED: &[u8] = &[8, 11, 4, 0, 24, 2, 6, 0x40, 0, 5, 0, 50, 4];
    const REQUEST_FROM: &[u8] = &[9, 6, 2, 0, 128, 2, 8, 0xfd];
    const SEQNO_REQUEST_FROM: &[u8] = &[10, 18, 2, 0, 0, 9, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 128, 2, 8, 0xfd];
    const REQUEST_V4_VIA_V6: &[u8] = &[9, 5, 4, 24, 10, 1, 3];
    const RETRACT_FROM: &[u8] = &[8, 14, 2, 0, 0, 0, 6, 0x40, 0, 5, 0xff, 0xff, 128, 2, 8, 0xfd];
    const RETRACT_ALL: &[u8] = &[8, 10, 0, 0, 0, 0, 6, 0x40, 0, 0, 0xff, 0xff];
    const WILDCARD_REQUEST: &[u8] = &[9, 2, 0, 0];
    const REQUEST: &[u8] = &[9, 10, 2, 64, 0xfd, 0, 0x51, 0xe4, 0, 0, 0, 9];
    const SEQNO_REQUEST: &[u8] = &[
        10, 22, 2, 64, 0, 9, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xfd, 0, 0x51, 0xe4, 0, 0, 0, 9,
    ];
    const PADN: &[u8] = &[1, 2, 0, 0];
    const UNKNOWN: &[u8] = &[200, 1, 0];
    const ACK_REQUEST: &[u8] = &[2, 6, 0, 0, 0x12, 0x34, 0, 100];
    // A Hello with an unknown optional sub-TLV, and one with an unknown mandatory one.
    const OPTIONAL: &[u8] = &[4, 9, 0, 0, 0, 2, 1, 0x90, 100, 1, 0];
    const MANDATORY: &[u8] = &[4, 9, 0, 0, 0, 2, 1, 0x90, 200, 1, 0];

    let one = |name: &str, packets: &[Vec<u8>]| (name.to_owned(), join(packets.iter().map(Vec::as_slice)));
    let up = packet(0, &[HELLO, IHU]);
    let routes = packet(0, &[ROUTER_ID, UPDATE, UPDATE_COMPRESSED, NEXT_HOP_V4, UPDATE_V4]);
    let mut seeds = vec![
        one("hello", core::slice::from_ref(&up)),
        one("routes", &[up.clone(), routes.clone()]),
        one(
            "two-neighbours",
            &[up.clone(), packet(2, &[HELLO, IHU]), routes.clone(), {
                let mut other = routes.clone();
                other[0] = 2;
                other
            }],
        ),
        one(
            "retraction",
            &[up.clone(), routes.clone(), packet(0, &[RETRACT_ALL])],
        ),
        one(
            "requests",
            &[
                up.clone(),
                packet(1, &[WILDCARD_REQUEST, REQUEST]),
                packet(1, &[SEQNO_REQUEST]),
            ],
        ),
        one(
            "padding-and-unknown",
            &[packet(0, &[&[0], PADN, UNKNOWN, HELLO, ACK_REQUEST])],
        ),
        one(
            "source-specific",
            &[
                up.clone(),
                packet(0, &[ROUTER_ID, UPDATE_FROM, UPDATE]),
                packet(1, &[REQUEST_FROM, SEQNO_REQUEST_FROM]),
                packet(0, &[RETRACT_FROM]),
            ],
        ),
        one(
            "v4-via-v6",
            &[
                up.clone(),
                packet(
                    0,
                    &[
                        ROUTER_ID,
                        UPDATE_V4_VIA_V6,
                        NEXT_HOP_V4,
                        UPDATE_V4,
                        UPDATE_V4_VIA_V6_COMPRESSED,
                    ],
                ),
                packet(1, &[REQUEST_V4_VIA_V6]),
            ],
        ),
        one("sub-tlvs", &[packet(0, &[OPTIONAL, MANDATORY])]),
    ];

    // What a speaker of ours says in its first seconds.
    let mut said: Vec<Vec<u8>> = Vec::new();
    let mut other = new_speaker(2, START);
    run_until(
        &mut other,
        START + Duration::from_secs(20),
        |destination, payload| {
            let unicast = u8::from(destination != Destination::Multicast);
            said.push([&[unicast], payload].concat());
        },
    );
    seeds.push(one("own-speaker", &said));
    seeds
}
