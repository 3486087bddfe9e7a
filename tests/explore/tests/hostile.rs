//! A neighbour that means harm, or is broken: every flood and every malformed packet is counted, costs bounded
//! memory and bounded answers, and takes nothing from the other neighbours.
#![allow(clippy::unwrap_used)]

use osier_babel::wire::{Builder, Centis, SeqnoRequest, Update};
use osier_babel::*;
use std::net::Ipv6Addr;

const LINK: InterfaceId = InterfaceId(1);
const OWN_ID: RouterId = RouterId([2, 0, 0, 0, 0, 0, 0, 1]);
const VICTIM_ID: RouterId = RouterId([2, 0, 0, 0, 0, 0, 0, 9]);
const GOOD: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const BAD: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The `n`th of very many prefixes.
fn many(n: u32) -> IpNet {
    IpNet::new_assert(Ipv6Addr::from(0xfd01 << 112 | u128::from(n) << 64).into(), 64)
}

fn update(prefix: IpNet, router_id: RouterId, seqno: u16, metric: u16) -> Update {
    Update {
        prefix: Some(prefix),
        source: None,
        interval: Centis(1600),
        seqno,
        metric,
        router_id: Some(router_id),
        next_hop: None,
    }
}

/// A speaker with a link on which a good and a bad neighbour are heard.
struct Target {
    speaker: Speaker,
    now: Instant,
    hellos: u16,
}

impl Target {
    fn new(limits: Limits) -> Self {
        let now = Instant::from_micros(1_000_000);
        let config = Config {
            router_id: OWN_ID,
            seqno: 100,
            seed: 1,
            limits,
            forwarding: Forwarding::default(),
        };
        let mut speaker = Speaker::new(config, now);
        let interface = InterfaceConfig {
            cost_model: CostModel::TwoOutOfThree,
            rx_cost: 96,
            hello_interval: Duration::from_secs(4),
            update_interval: Duration::from_secs(16),
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            ipv4: None,
            v4_via_v6: true,
            mtu: 1280,
            split_horizon: false,
            point_to_point: false,
            rtt: None,
        };
        speaker.add_interface(LINK, interface, now);
        speaker.announce(net("fd00:1::/32"), 0, now);
        let mut target = Self {
            speaker,
            now,
            hellos: 0,
        };
        target.greet();
        target.says(GOOD, |b| b.update(&update(net("fd00:2::/32"), VICTIM_ID, 7, 10)));
        target.run(Duration::from_secs(1));
        assert!(target.serves_the_good());
        target
    }

    /// Both neighbours say Hello and that they hear us.
    fn greet(&mut self) {
        self.hellos += 1;
        for neighbour in [GOOD, BAD] {
            let hellos = self.hellos;
            self.says(neighbour, |b| {
                b.hello(false, hellos, Centis(400))
                    && b.ihu(Some("fe80::1".parse().unwrap()), 96, Centis(1200))
            });
        }
    }

    fn hears(&mut self, from: Ipv6Addr, payload: &[u8]) {
        let now = self.now;
        self.speaker
            .handle_packet(LINK, from, MULTICAST, payload, &mut AcceptAll, now);
    }

    fn says(&mut self, from: Ipv6Addr, write: impl FnOnce(&mut Builder) -> bool) {
        let mut builder = Builder::new(1232, from);
        assert!(write(&mut builder));
        self.hears(from, &builder.finish());
    }

    /// Lets time pass; the octets sent meanwhile.
    fn run(&mut self, time: Duration) -> usize {
        let end = self.now + time;
        let mut octets = 0;
        loop {
            while let Some(transmit) = self.speaker.poll_transmit() {
                octets += transmit.payload.len();
            }
            while self.speaker.poll_event().is_some() {}
            match self.speaker.poll_timeout() {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.speaker.handle_timeout(self.now);
                }
                _ => break,
            }
        }
        self.now = end;
        octets
    }

    /// Whether the good neighbour's route is in use, and it can still bring a new one.
    fn serves_the_good(&mut self) -> bool {
        self.greet();
        self.says(GOOD, |b| b.update(&update(net("fd00:3::/32"), VICTIM_ID, 7, 10)));
        let used = ["fd00:2::/32", "fd00:3::/32"].map(|prefix| self.speaker.selected(net(prefix)));
        self.says(GOOD, |b| {
            b.update(&update(net("fd00:3::/32"), VICTIM_ID, 7, INFINITY))
        });
        used.into_iter()
            .all(|route| route.is_some_and(|route| route.neighbour == GOOD))
    }

    fn counters(&self) -> Counters {
        self.speaker.counters()
    }

    /// Hellos every 4 s, and the good neighbour's updates.
    fn live(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / 4 {
            self.greet();
            self.says(GOOD, |b| b.update(&update(net("fd00:2::/32"), VICTIM_ID, 7, 10)));
            self.run(Duration::from_secs(4));
        }
    }
}

#[test]
fn a_million_prefixes_of_one_neighbour_are_cut_off_at_the_limit() {
    const ANNOUNCED: u32 = 1_000_000;
    let limits = Limits::default();
    let mut target = Target::new(limits);
    let mut next = 0;
    while next < ANNOUNCED {
        let mut builder = Builder::new(1232, BAD);
        while next < ANNOUNCED && builder.update(&update(many(next), RouterId([7; 8]), 1, 10)) {
            next += 1;
        }
        let payload = builder.finish();
        target.hears(BAD, &payload);
    }
    let kept = target
        .speaker
        .routes()
        .filter(|route| route.neighbour == BAD)
        .count();
    assert_eq!(kept, limits.prefixes_per_neighbour);
    assert_eq!(target.counters().limit_drops, u64::from(ANNOUNCED) - kept as u64);
    let began = target.counters().limit_drops;
    // The good neighbour's table is not full.
    target.says(GOOD, |b| b.update(&update(net("fd00:4::/32"), VICTIM_ID, 7, 10)));
    assert_eq!(target.counters().limit_drops, began);
    assert!(target.serves_the_good());
    // And all is given back when it goes.
    target.says(BAD, |b| {
        b.update(&Update {
            prefix: None,
            metric: INFINITY,
            router_id: None,
            ..update(many(0), OWN_ID, 0, 0)
        })
    });
    assert!(target.speaker.routes().all(|route| route.neighbour == GOOD));
}

#[test]
fn a_full_table_leaves_room_for_prefixes_that_are_known() {
    let limits = Limits {
        prefixes: 100,
        ..Limits::default()
    };
    let mut target = Target::new(limits);
    for n in 0..1_000 {
        target.says(BAD, |b| b.update(&update(many(n), RouterId([7; 8]), 1, 900)));
    }
    assert!(target.speaker.routes().count() <= 100);
    assert!(target.counters().limit_drops >= 900);
    // The good neighbour's old prefix is still taken, and a better way to the bad one's.
    target.says(GOOD, |b| b.update(&update(many(0), RouterId([7; 8]), 1, 1)));
    assert_eq!(target.speaker.selected(many(0)).unwrap().neighbour, GOOD);
}

#[test]
fn a_flood_of_seqno_requests_raises_our_seqno_at_a_bounded_rate() {
    let mut target = Target::new(Limits::default());
    let start = target.speaker.seqno();
    let mut octets = 0;
    for n in 0..5_000u32 {
        let seqno = target.speaker.seqno().wrapping_add(1);
        target.says(BAD, |b| {
            b.seqno_request(&SeqnoRequest {
                prefix: net("fd00:1::/32"),
                source: None,
                seqno,
                hop_count: 64,
                router_id: OWN_ID,
            })
        });
        octets += target.run(Duration::from_millis(1));
        assert!(
            n > 15 || target.speaker.seqno() == seqno,
            "the first ones are granted"
        );
    }
    let raised = target.speaker.seqno().wrapping_sub(start);
    assert!((16..=40).contains(&raised), "{raised} in 5 s");
    assert_eq!(target.counters().seqno_raises_refused, 5_000 - u64::from(raised));
    assert!(octets < 40_000, "{octets} octets in answer");
    assert!(target.serves_the_good());
}

#[test]
fn requests_for_what_others_originate_are_bounded_and_not_passed_on_twice() {
    let mut target = Target::new(Limits {
        pending_requests: 8,
        ..Limits::default()
    });
    for n in 0..50 {
        target.says(GOOD, |b| b.update(&update(many(n), VICTIM_ID, 7, 10)));
    }
    target.run(Duration::from_secs(1));
    let mut octets = 0;
    for n in 0..5_000u32 {
        target.says(BAD, |b| {
            b.seqno_request(&SeqnoRequest {
                prefix: many(n % 50),
                source: None,
                seqno: 8,
                hop_count: 64,
                router_id: VICTIM_ID,
            })
        });
        octets += target.run(Duration::from_millis(1));
    }
    assert!(target.counters().limit_drops > 4_000);
    assert!(octets < 40_000, "{octets} octets for 5,000 requests");
    assert!(target.serves_the_good());
}

#[test]
fn a_seqno_flood_takes_only_what_it_names_and_only_while_it_lasts() {
    let mut target = Target::new(Limits::default());
    // It says that it has ever newer routes to the good neighbour's prefix, then goes.
    for n in 0..10_000u16 {
        let seqno = n.wrapping_mul(3);
        if n.is_multiple_of(1_000) {
            target.greet();
        }
        target.says(BAD, |b| {
            b.update(&update(net("fd00:2::/32"), VICTIM_ID, seqno, 1))
        });
        target.run(Duration::from_millis(2));
    }
    assert_eq!(
        target.speaker.selected(net("fd00:2::/32")).unwrap().neighbour,
        BAD
    );
    target.greet();
    target.says(BAD, |b| {
        b.update(&update(net("fd00:2::/32"), VICTIM_ID, 0, INFINITY))
    });
    assert_eq!(
        target.speaker.selected(net("fd00:2::/32")),
        None,
        "unfeasible until forgotten"
    );
    assert!(target.counters().unfeasible_updates > 0);
    // The stated bound: one source lifetime.
    target.live(Duration::from_secs(200));
    assert!(target.serves_the_good());
}

#[test]
fn a_storm_of_updates_is_answered_by_few() {
    let mut target = Target::new(Limits::default());
    let mut octets = 0;
    for n in 0..20_000u32 {
        // Every metric is notable, every fourth a retraction.
        let metric = if n.is_multiple_of(4) {
            INFINITY
        } else {
            100 << (n % 4)
        };
        let seqno = (n / 4) as u16;
        target.says(BAD, |b| {
            b.update(&update(many(n % 20), RouterId([7; 8]), seqno, metric))
        });
        if n.is_multiple_of(10) {
            octets += target.run(Duration::from_millis(1));
        }
    }
    // In 2 s: 20 prefixes of about 20 octets, at most once per 10 ms.
    assert!(octets < 200 * 20 * 24 + 20_000, "{octets} octets in 2 s");
    assert!(target.serves_the_good());
    assert!(target.counters().route_changes > 0);
}

#[test]
fn many_requests_for_the_table_get_it_a_few_times_a_second() {
    let mut target = Target::new(Limits::default());
    for n in 0..500 {
        target.says(GOOD, |b| b.update(&update(many(n), VICTIM_ID, 7, 10)));
    }
    target.run(Duration::from_secs(5));
    let once = {
        target.says(BAD, |b| b.route_request(None));
        target.run(Duration::from_millis(900))
    };
    let mut octets = 0;
    for _ in 0..2_000 {
        target.says(BAD, |b| b.route_request(None));
        octets += target.run(Duration::from_millis(1));
    }
    assert!(
        octets < once * 16,
        "{octets} octets in 2 s, one table takes {once}"
    );
    assert!(target.serves_the_good());
}

#[test]
fn too_many_neighbours_and_router_ids_are_dropped_and_counted() {
    let mut target = Target::new(Limits {
        neighbours_per_interface: 10,
        ..Limits::default()
    });
    for n in 0..1_000 {
        let stranger = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
        target.says(stranger, |b| b.hello(false, 1, Centis(400)));
    }
    assert_eq!(target.speaker.neighbours().count(), 10);
    assert_eq!(target.counters().limit_drops, 1_000 - 8);
    // Each router-id that was announced on is remembered for minutes.
    for n in 0..1_000u16 {
        let [high, low] = n.to_be_bytes();
        let router_id = RouterId([9, 0, 0, 0, 0, 0, high, low]);
        target.says(BAD, |b| b.update(&update(many(1), router_id, 1, 10)));
        target.run(Duration::from_millis(30));
    }
    assert!(target.counters().limit_drops > 1_800);
    assert!(target.serves_the_good());
}

#[test]
fn a_neighbour_that_restarts_all_the_time_is_a_burden_for_itself_only() {
    let mut target = Target::new(Limits::default());
    let mut octets = 0;
    for n in 0..2_000u16 {
        target.says(BAD, |b| b.hello(false, n.wrapping_mul(1000), Centis(400)));
        octets += target.run(Duration::from_millis(1));
    }
    assert!(octets < 100_000, "{octets} octets in 2 s");
    assert!(target.serves_the_good());
}

#[test]
fn our_router_id_in_the_hands_of_others_is_counted_and_never_used() {
    let mut target = Target::new(Limits::default());
    let own = target.speaker.seqno();
    // What comes back to us, as it does on any link with several members, is no conflict.
    target.says(BAD, |b| b.update(&update(net("fd00:1::/32"), OWN_ID, own, 96)));
    assert_eq!(target.counters().router_id_conflicts, 0);
    target.says(BAD, |b| b.update(&update(net("fd00:1::/32"), OWN_ID, own + 5, 0)));
    target.says(BAD, |b| b.update(&update(many(1), OWN_ID, own + 5, 0)));
    assert_eq!(target.counters().router_id_conflicts, 2);
    assert_eq!(target.speaker.selected(many(1)), None);
    assert_eq!(target.speaker.selected(net("fd00:1::/32")), None, "it is ours");
    // Two others with one router-id: the later seqno wins, nothing else suffers.
    target.says(BAD, |b| b.update(&update(net("fd00:2::/32"), VICTIM_ID, 7, 0)));
    assert!(target.speaker.selected(net("fd00:2::/32")).is_some());
    target.says(BAD, |b| {
        b.update(&update(net("fd00:2::/32"), VICTIM_ID, 7, INFINITY))
    });
    assert!(target.serves_the_good());
}

#[test]
fn malformed_packets_and_tlvs_are_each_counted_and_cost_only_themselves() {
    // Bodies of TLVs that mean nothing, each in front of a good Update for a new prefix.
    let bad_tlvs: &[(&str, &[u8])] = &[
        ("a TLV longer than the packet", &[8, 200, 2, 0]),
        ("an Update too short", &[8, 4, 2, 0, 64, 0]),
        (
            "a prefix longer than its family",
            &[8, 10, 2, 0, 129, 0, 0, 100, 0, 1, 0, 10],
        ),
        (
            "an IPv4 prefix of 33 bits",
            &[8, 10, 1, 0, 33, 0, 0, 100, 0, 1, 0, 10],
        ),
        (
            "omitted octets without a default",
            &[8, 10, 1, 0, 8, 1, 0, 100, 0, 1, 0, 10],
        ),
        (
            "a finite Update of everything",
            &[8, 10, 0, 0, 0, 0, 0, 100, 0, 1, 0, 10],
        ),
        (
            "a wildcard with a length",
            &[8, 10, 0, 0, 8, 0, 0, 100, 0, 1, 255, 255],
        ),
        (
            "an Update of an unknown encoding",
            &[8, 10, 77, 0, 0, 0, 0, 100, 0, 1, 0, 10],
        ),
        (
            "an Update without its prefix",
            &[8, 10, 2, 0, 64, 0, 0, 100, 0, 1, 0, 10],
        ),
        ("a Hello too short", &[4, 3, 0, 0, 1]),
        ("an IHU too short", &[5, 2, 2, 0]),
        ("an IHU without its address", &[5, 6, 2, 0, 0, 96, 1, 0]),
        ("a Router-Id too short", &[6, 4, 0, 0, 1, 2]),
        (
            "an Update with a Router-Id of zeroes",
            &[
                6, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 18, 2, 0, 64, 0, 0, 100, 0, 1, 0, 10, 253, 9, 0, 0,
                0, 0, 0, 0,
            ],
        ),
        ("a Next Hop without its address", &[7, 2, 2, 0]),
        ("a route request of everything with a length", &[9, 2, 0, 64]),
        ("a route request without its prefix", &[9, 2, 2, 64]),
        ("a seqno request too short", &[10, 6, 2, 64, 0, 1, 1, 0]),
        (
            "a seqno request of everything",
            &[10, 14, 0, 0, 0, 1, 64, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
        ("an acknowledgment request too short", &[2, 2, 0, 0]),
        ("an acknowledgment too short", &[3, 1, 0]),
        (
            "a mandatory sub-TLV that nobody knows",
            &[4, 8, 0, 0, 0, 1, 1, 144, 200, 0],
        ),
        ("a sub-TLV longer than its TLV", &[4, 8, 0, 0, 0, 1, 1, 144, 1, 9]),
    ];
    for (what, tlv) in bad_tlvs {
        let mut target = Target::new(Limits::default());
        let mut builder = Builder::new(1232, BAD);
        builder.update(&update(many(1), RouterId([7; 8]), 1, 10));
        let good = builder.finish();
        let body = [&good[4..], tlv].concat();
        let before = target.speaker.routes().count();
        target.hears(BAD, &packet(&body));
        let counters = target.counters();
        assert_eq!(counters.ignored_tlvs + counters.malformed_packets, 1, "{what}");
        assert_eq!(target.speaker.routes().count(), before + 1, "{what}");
        assert!(target.serves_the_good(), "{what}");
    }
    let good = packet(&[4, 6, 0, 0, 0, 1, 1, 144]);
    let bad_packets: &[(&str, Vec<u8>)] = &[
        ("nothing at all", Vec::new()),
        ("half a header", vec![42, 2]),
        ("another magic", [&[43], &good[1..]].concat()),
        ("another version", [&[42, 3], &good[2..]].concat()),
        ("a length beyond the end", [&[42, 2, 0, 99], &good[4..]].concat()),
    ];
    for (what, payload) in bad_packets {
        let mut target = Target::new(Limits::default());
        target.hears(BAD, payload);
        assert_eq!(target.counters().malformed_packets, 1, "{what}");
        assert!(target.serves_the_good(), "{what}");
    }
}

fn packet(body: &[u8]) -> Vec<u8> {
    [&[42, 2], &(body.len() as u16).to_be_bytes()[..], body].concat()
}
