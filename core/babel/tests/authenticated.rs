//! Speakers with keys on one link, and somebody who records all their packets and plays them back.
#![allow(clippy::unwrap_used)]

use core::net::Ipv6Addr;
use osier_babel::{
    AcceptAll, Authentication, AuthenticationMode, Config, CostModel, Destination, Duration, Event,
    Forwarding, Instant, InterfaceConfig, InterfaceId, IpNet, Limits, MULTICAST, MacKey, RouterId, Speaker,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const LINK: InterfaceId = InterfaceId(1);
const SPEAKERS: usize = 3;
const FLIGHT: Duration = Duration::from_millis(3);

fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

fn prefix(node: usize) -> IpNet {
    format!("2001:db8:{node:x}::/48").parse().unwrap()
}

fn key(octet: u8) -> MacKey {
    MacKey::hmac_sha256(&[octet; 32]).unwrap()
}

/// A packet on its way, or kept by whoever listens.
#[derive(Clone)]
struct Packet {
    from: usize,
    to: Destination,
    payload: Vec<u8>,
}

struct Link {
    speakers: Vec<Speaker>,
    keys: Vec<Vec<MacKey>>,
    now: Instant,
    under_way: Vec<(Instant, Packet)>,
    recorded: Vec<Packet>,
    route_changes: usize,
    lives: u8,
}

impl Link {
    fn new() -> Self {
        let mut link = Self {
            speakers: Vec::new(),
            keys: vec![vec![key(1)]; SPEAKERS],
            now: Instant::ZERO,
            under_way: Vec::new(),
            recorded: Vec::new(),
            route_changes: 0,
            lives: 0,
        };
        for node in 0..SPEAKERS {
            let speaker = link.fresh(node);
            link.speakers.push(speaker);
        }
        link
    }

    fn fresh(&mut self, node: usize) -> Speaker {
        self.lives += 1;
        let config = Config {
            router_id: RouterId([1, 0, 0, 0, 0, 0, 0, node as u8 + 1]),
            seqno: 100 * u16::from(self.lives),
            seed: self.lives.into(),
            limits: Limits::default(),
            forwarding: Forwarding::default(),
        };
        let mut speaker = Speaker::new(config, self.now);
        speaker.set_authentication(LINK, Some(self.authentication(node)), self.now);
        let interface = InterfaceConfig {
            cost_model: CostModel::TwoOutOfThree,
            rx_cost: 96,
            hello_interval: Duration::from_secs(1),
            update_interval: Duration::from_secs(4),
            link_local: address(node),
            ipv4: None,
            v4_via_v6: true,
            mtu: 1500,
            split_horizon: false,
            point_to_point: false,
            rtt: None,
        };
        speaker.add_interface(LINK, interface, self.now);
        speaker.announce(prefix(node), 0, self.now);
        speaker
    }

    fn authentication(&self, node: usize) -> Authentication {
        Authentication {
            keys: self.keys[node].clone(),
            mode: AuthenticationMode::Require,
            entropy: [self.lives; 32],
        }
    }

    fn set_keys(&mut self, node: usize, keys: &[u8]) {
        self.keys[node] = keys.iter().map(|octet| key(*octet)).collect();
        let authentication = self.authentication(node);
        self.speakers[node].set_authentication(LINK, Some(authentication), self.now);
    }

    /// It loses all it knew.
    fn restart(&mut self, node: usize) {
        self.speakers[node] = self.fresh(node);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let timers = self
                .speakers
                .iter()
                .filter_map(|s| s.poll_timeout())
                .map(|(at, _)| at);
            let arrivals = self.under_way.iter().map(|(at, _)| *at);
            let Some(next) = timers.chain(arrivals).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for (_, packet) in self
                .under_way
                .extract_if(.., |(at, _)| *at <= now)
                .collect::<Vec<_>>()
            {
                self.deliver(&packet);
            }
            self.speakers
                .iter_mut()
                .for_each(|speaker| speaker.handle_timeout(now));
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for (from, speaker) in self.speakers.iter_mut().enumerate() {
            while let Some(transmit) = speaker.poll_transmit() {
                let packet = Packet {
                    from,
                    to: transmit.destination,
                    payload: transmit.payload,
                };
                self.recorded.push(packet.clone());
                self.under_way.push((self.now + FLIGHT, packet));
            }
            while let Some(event) = speaker.poll_event() {
                self.route_changes += usize::from(matches!(event, Event::RouteChanged { .. }));
            }
        }
    }

    fn deliver(&mut self, packet: &Packet) {
        for node in (0..SPEAKERS).filter(|node| *node != packet.from) {
            let dst = match packet.to {
                Destination::Multicast => MULTICAST,
                Destination::Unicast(to) => to,
            };
            if dst == MULTICAST || dst == address(node) {
                let (src, payload) = (address(packet.from), &packet.payload);
                self.speakers[node].handle_packet(LINK, src, dst, payload, &mut AcceptAll, self.now);
            }
        }
    }

    fn replay(&mut self, number: usize) {
        let packet = self.recorded[number % self.recorded.len()].clone();
        self.deliver(&packet);
    }

    /// Everybody has a direct route to everybody else's prefix.
    fn is_connected(&self) -> bool {
        (0..SPEAKERS).all(|node| {
            let others = (0..SPEAKERS).filter(|other| *other != node);
            others.into_iter().all(|other| {
                let route = self.speakers[node].selected(prefix(other));
                route.is_some_and(|route| route.neighbour == address(other) && route.metric == 96)
            })
        })
    }

    fn failures(&self) -> (u64, u64) {
        let counters = self.speakers.iter().map(|speaker| speaker.counters());
        counters.fold((0, 0), |(failed, replayed), c| {
            (failed + c.mac_failed, replayed + c.mac_replayed)
        })
    }
}

#[test]
fn members_find_each_other_within_two_seconds() {
    let mut link = Link::new();
    link.run(Duration::from_secs(2));
    assert!(link.is_connected());
    assert_eq!(link.failures(), (0, 0));
}

#[test]
fn rotating_keys_moves_no_route() {
    let mut link = Link::new();
    link.run(Duration::from_secs(5));
    let before = link.route_changes;
    for keys in [&[1, 2][..], &[2]] {
        for node in 0..SPEAKERS {
            link.set_keys(node, keys);
            link.run(Duration::from_secs(3));
        }
    }
    link.run(Duration::from_secs(30));
    assert!(link.is_connected());
    assert_eq!((link.route_changes, link.failures()), (before, (0, 0)));
}

#[test]
fn a_member_that_lost_all_it_knew_is_back_at_once() {
    let mut link = Link::new();
    link.run(Duration::from_secs(10));
    link.restart(1);
    link.run(Duration::from_secs(3));
    assert!(link.is_connected());
}

#[test]
fn who_has_other_keys_is_alone_and_disturbs_nobody() {
    let mut link = Link::new();
    link.set_keys(2, &[9]);
    link.run(Duration::from_secs(20));
    assert_eq!(link.speakers[2].neighbours().count(), 0);
    assert_eq!(link.speakers[0].neighbours().count(), 1);
    assert!(link.speakers[0].selected(prefix(1)).is_some());
    assert!(link.speakers[0].selected(prefix(2)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is played back, from this life or an earlier one: no route moves, and no packet of members is
    /// taken for a replay that is none.
    #[test]
    fn playing_packets_back_moves_no_route(
        replays in proptest::collection::vec((any::<usize>(), 0u64..700), 1..120),
        restarted in 0..SPEAKERS,
    ) {
        let mut link = Link::new();
        link.run(Duration::from_secs(6));
        link.restart(restarted);
        link.run(Duration::from_secs(10));
        prop_assert!(link.is_connected());
        let (before, neighbours) = (link.route_changes, links(&link));
        for (number, pause) in replays {
            link.replay(number);
            link.run(Duration::from_millis(pause));
        }
        prop_assert_eq!(link.route_changes, before);
        link.run(Duration::from_secs(5));
        prop_assert!(link.is_connected());
        prop_assert_eq!(links(&link), neighbours);
    }
}

/// Who is whose neighbour, and at what cost.
fn links(link: &Link) -> BTreeSet<(usize, Ipv6Addr, u16)> {
    let speakers = link.speakers.iter().enumerate();
    speakers
        .flat_map(|(node, speaker)| speaker.neighbours().map(move |n| (node, n.address, n.cost)))
        .collect()
}
