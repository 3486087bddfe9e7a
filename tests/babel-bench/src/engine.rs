//! The engine alone: packets of many neighbours into one speaker, without sockets.

use crate::feed::{Feed, GROUP, Version};
use crate::{memory, process};
use osier_babel::{
    AcceptAll, Config, CostModel, Event, Forwarding, Instant, InterfaceConfig, InterfaceId, Limits, RouterId,
    Speaker,
};
use std::net::Ipv6Addr;
use std::time::Duration;

const LINK: InterfaceId = InterfaceId(1);
const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 2, 1);

/// What one dump of all neighbours cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub updates: usize,
    pub cpu: Duration,
    pub allocations: usize,
    /// Changes of selected routes.
    pub changes: usize,
}

impl Cost {
    pub fn micros_per_update(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.updates.max(1) as f64
    }
}

/// A speaker with the neighbours of a feed.
#[derive(Debug)]
pub struct Engine {
    feed: Feed,
    pub speaker: Speaker,
    now: Instant,
    empty: usize,
}

impl Engine {
    pub fn new(feed: Feed) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut speaker = Speaker::new(
            Config {
                router_id: RouterId([1; 8]),
                seqno: 1,
                seed: 1,
                limits: Limits::default(),
                forwarding: Forwarding::default(),
            },
            now,
        );
        let config = InterfaceConfig {
            cost_model: CostModel::TwoOutOfThree,
            rx_cost: 96,
            hello_interval: Duration::from_secs(60),
            update_interval: Duration::from_secs(600),
            link_local: OURS,
            ipv4: None,
            v4_via_v6: true,
            mtu: 1500,
            split_horizon: true,
            point_to_point: false,
            rtt: None,
        };
        speaker.add_interface(LINK, config, now);
        let mut engine = Self {
            feed,
            speaker,
            now,
            empty: 0,
        };
        for neighbour in 0..feed.neighbours {
            engine.hear(neighbour, &Feed::hello(neighbour, 1, OURS));
        }
        engine.rest();
        engine.empty = memory::live();
        engine
    }

    /// Every neighbour tells its whole table.
    pub fn dump(&mut self, version: Version) -> Cost {
        let mut cost = Cost {
            updates: self.feed.routes(),
            cpu: Duration::ZERO,
            allocations: 0,
            changes: 0,
        };
        for neighbour in 0..self.feed.neighbours {
            let packets = self.feed.dump(neighbour, version);
            let (cpu, allocations) = (process::own_cpu(), memory::allocations());
            for packet in &packets {
                self.hear(neighbour, packet);
                while let Some(event) = self.speaker.poll_event() {
                    cost.changes += usize::from(matches!(event, Event::RouteChanged { .. }));
                }
            }
            cost.cpu += process::own_cpu() - cpu;
            cost.allocations += memory::allocations() - allocations;
        }
        let cpu = process::own_cpu();
        self.rest();
        cost.cpu += process::own_cpu() - cpu;
        cost
    }

    /// Heap octets per route held; 0 without the counting allocator.
    pub fn octets_per_route(&self) -> f64 {
        memory::live().saturating_sub(self.empty) as f64 / self.speaker.routes().count().max(1) as f64
    }

    fn hear(&mut self, neighbour: usize, packet: &[u8]) {
        self.now += Duration::from_micros(50);
        let source = Feed::address(neighbour);
        self.speaker
            .handle_packet(LINK, source, GROUP, packet, &mut AcceptAll, self.now);
    }

    /// A second passes, and what is due is done.
    fn rest(&mut self) {
        self.now += Duration::from_secs(1);
        self.speaker.handle_timeout(self.now);
        while self.speaker.poll_transmit().is_some() {}
        while self.speaker.poll_event().is_some() {}
    }
}
