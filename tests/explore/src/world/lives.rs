//! Lives of nodes: a speaker is made, gets its interfaces, forgets, dies.

use super::{MTU, Refusals, Step, World};
use crate::case::{Fault, PREFIXES};
use crate::names::{NAMES, address, prefix, router_id};
use crate::random::mix;
use core::net::Ipv4Addr;
use osier_babel::*;

const RTT: RttCost = RttCost {
    min: Duration::from_millis(10),
    max: Duration::from_millis(120),
    cost: 150,
};

impl World {
    /// Gives a node a speaker. What it remembers is decided already.
    pub fn bear(&mut self, node: usize, seqno: u16) -> Step {
        let name = self.nodes[node].name;
        self.observer.started(node, node * NAMES + name);
        let life = self.observer.life(node);
        self.make_speaker(node, seqno, life);
        for link in 0..self.links.len() {
            let Some(slot) = self.links[link].slot(node) else {
                continue;
            };
            self.links[link].present[slot] = false;
            if self.links[link].attached[slot] {
                self.renew_session(link, slot)?;
                self.add_interface(node, link);
            }
        }
        let now = self.instant(node);
        for at in 0..PREFIXES {
            if let (Some(metric), Some(speaker)) =
                (self.nodes[node].originates[at], self.nodes[node].speaker.as_mut())
            {
                speaker.announce(prefix(at), metric, now);
            }
        }
        self.drain(node, 0)
    }

    fn make_speaker(&mut self, node: usize, seqno: u16, life: u32) {
        let seed = mix(self.seed, (node as u64) << 32 | u64::from(life));
        let config = Config {
            router_id: router_id(node, self.nodes[node].name),
            seqno,
            seed,
            limits: Limits::default(),
            forwarding: Forwarding::default(),
        };
        let now = self.instant(node);
        self.nodes[node].speaker = Some(Speaker::new(config, now));
    }

    /// The far end of a tunnel sees a new interface; on other links nobody sees anything.
    pub fn renew_session(&mut self, link: usize, slot: usize) -> Step {
        if !self.links[link].spec.tunnel {
            return Ok(());
        }
        self.links[link].session += 1;
        self.links[link].known_session[slot] = self.links[link].session;
        let far = 1 - slot;
        self.meet_session(link, far)
    }

    /// This end of a tunnel takes note of a new session, when it is there and awake.
    pub fn meet_session(&mut self, link: usize, slot: usize) -> Step {
        let node = self.links[link].spec.members[slot];
        let current = self.links[link].session;
        if self.links[link].known_session[slot] == current
            || self.nodes[node].asleep.is_some()
            || self.nodes[node].speaker.is_none()
        {
            return Ok(());
        }
        self.links[link].known_session[slot] = current;
        if self.links[link].attached[slot] {
            self.add_interface(node, link);
            self.drain(node, 0)?;
        }
        Ok(())
    }

    /// Starts the interface, anew when it is there.
    pub fn add_interface(&mut self, node: usize, link: usize) {
        let here = &self.links[link];
        let Some(slot) = here.slot(node) else { return };
        let config = InterfaceConfig {
            cost_model: if here.spec.etx {
                CostModel::Etx
            } else {
                CostModel::TwoOutOfThree
            },
            rx_cost: here.costs[slot],
            hello_interval: Duration::from_millis(here.spec.hello_ms),
            update_interval: Duration::from_millis(here.spec.update_ms),
            link_local: address(node),
            ipv4: here
                .spec
                .ipv4
                .then_some(Ipv4Addr::new(10, 255, link as u8, node as u8 + 1)),
            v4_via_v6: true,
            mtu: MTU,
            split_horizon: here.spec.tunnel,
            point_to_point: here.spec.tunnel,
            rtt: here.spec.rtt.then_some(RTT),
        };
        self.links[link].present[slot] = true;
        let now = self.instant(node);
        self.observer.interface_gone(node, link);
        if let Some(speaker) = &mut self.nodes[node].speaker {
            let id = InterfaceId(link as u32);
            speaker.add_interface(id, config, now);
            if self.links[link].spec.mac
                && let Ok(key) = MacKey::blake2s(&[link as u8 + 1; 16])
            {
                // A seed is all the entropy that there is here, but it never comes twice.
                self.keyed += 1;
                let mut entropy = [0; 32];
                entropy[..8].copy_from_slice(&mix(self.seed, self.keyed).to_be_bytes());
                entropy[8..16].copy_from_slice(&self.keyed.to_be_bytes());
                let authentication = Authentication {
                    keys: vec![key],
                    mode: if self.fault == Some(Fault::BelievesAll { node }) {
                        AuthenticationMode::SignOnly
                    } else {
                        AuthenticationMode::Require
                    },
                    entropy,
                };
                speaker.set_authentication(id, Some(authentication), now);
            }
        }
    }

    /// What the node's authority says now is applied to what was accepted earlier, if the node is awake.
    pub fn reauthorise(&mut self, node: usize) -> Step {
        let refused = self.nodes[node].refused;
        if self.nodes[node].asleep.is_some() {
            return Ok(());
        }
        (0..PREFIXES)
            .filter(|at| refused >> at & 1 == 1)
            .for_each(|at| self.observer.refused(node, at));
        self.with(node, |speaker, now| {
            speaker.reauthorise(&mut Refusals(refused), now)
        })
    }

    pub fn end_life(&mut self, node: usize) {
        if let Some(speaker) = self.nodes[node].speaker.take() {
            self.nodes[node].saved_seqno = speaker.seqno();
        }
        self.nodes[node].asleep = None;
        self.nodes[node].wake = u64::MAX;
        self.observer.ended(node);
    }

    pub(super) fn forget(&mut self, node: usize) -> Step {
        self.nodes[node].forgot = self.now;
        let seqno = self.nodes[node].speaker.as_ref().map_or(0, Speaker::seqno);
        self.make_speaker(node, seqno, 1);
        self.observer.forgot(node);
        for link in 0..self.links.len() {
            if self.links[link]
                .slot(node)
                .is_some_and(|slot| self.links[link].attached[slot])
            {
                self.add_interface(node, link);
            }
        }
        self.drain(node, 0)
    }
}
