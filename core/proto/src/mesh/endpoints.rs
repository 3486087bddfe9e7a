//! Where others can reach us: what the operator says, what a NAT mapped, what our interfaces have, and what
//! neighbours observe.

use crate::{
    Duration, Instant,
    identity::NodeId,
    record::{Endpoint, EndpointKind, MAX_ENDPOINTS, is_reachable},
};
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

/// Observations kept, and for how long.
const OBSERVERS: usize = 64;
const OBSERVATION_LIFE: Duration = Duration::from_secs(600);
/// Neighbours that must see us at the same address before we advertise it: one could lie, and behind a NAT
/// that maps each destination apart no two agree, nor would it be of use.
const AGREEMENT: usize = 2;
/// An observed address through which nobody came for this long is a NAT that lets nobody in: it is left out,
/// and tried again after a rest.
const TRIAL: Duration = Duration::from_secs(600);
const REST: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub struct OwnEndpoints {
    pub configured: Vec<SocketAddr>,
    pub local: Vec<SocketAddr>,
    pub mapped: Option<SocketAddr>,
    observed: BTreeMap<NodeId, (SocketAddr, Instant)>,
    /// Since when an observed address is on trial, and whether somebody dialled us since.
    trial: Option<Instant>,
    reached: bool,
}

impl OwnEndpoints {
    pub fn new(configured: Vec<SocketAddr>) -> Self {
        Self {
            configured,
            ..Self::default()
        }
    }

    /// A neighbour sees us there.
    pub fn observe(&mut self, by: NodeId, address: SocketAddr, now: Instant) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !is_reachable(&address) {
            return;
        }
        self.observed
            .retain(|_, (_, at)| now.saturating_since(*at) < OBSERVATION_LIFE);
        if self.observed.len() < OBSERVERS || self.observed.contains_key(&by) {
            self.observed.insert(by, (address, now));
        }
        let rested = |since| now.saturating_since(since) >= TRIAL + REST;
        if !self.agreed(now).is_empty() && self.trial.is_none_or(rested) {
            self.trial = Some(now);
        }
    }

    /// Somebody dialled us and got through.
    pub fn reached(&mut self) {
        self.reached = true;
    }

    fn trial_failed(&self, now: Instant) -> bool {
        !self.reached
            && self
                .trial
                .is_some_and(|since| now.saturating_since(since) >= TRIAL)
    }

    /// Our network changed: what was seen before is void.
    pub fn forget_observations(&mut self) {
        self.observed.clear();
        self.trial = None;
        self.reached = false;
    }

    /// Whether neighbours see us at addresses that are not ours: there is a NAT.
    pub fn behind_nat(&self) -> bool {
        self.observed
            .values()
            .any(|(address, _)| !self.local.iter().any(|l| l.ip() == address.ip()))
    }

    /// What our record says, best first.
    pub fn list(&self, now: Instant) -> Vec<Endpoint> {
        let mut list: Vec<Endpoint> = Vec::new();
        let mut add = |address: SocketAddr, kind| {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            if list.len() < MAX_ENDPOINTS
                && is_reachable(&address)
                && !list.iter().any(|e| e.address == address)
            {
                list.push(Endpoint { address, kind });
            }
        };
        self.configured
            .iter()
            .for_each(|a| add(*a, EndpointKind::Configured));
        self.mapped.iter().for_each(|a| add(*a, EndpointKind::Mapped));
        let (near, global): (Vec<_>, Vec<_>) = self.usable_local().partition(|a| is_near(a.ip()));
        global.iter().for_each(|a| add(*a, EndpointKind::Local));
        if !self.trial_failed(now) {
            self.agreed(now)
                .iter()
                .for_each(|a| add(*a, EndpointKind::Observed));
        }
        near.iter().for_each(|a| add(*a, EndpointKind::Local));
        list
    }

    /// Without loopback, unless there is nothing else (several nodes on one machine), and without addresses
    /// that mean nothing on another host.
    fn usable_local(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let only_loopback = self.local.iter().all(|a| a.ip().is_loopback());
        self.local
            .iter()
            .copied()
            .filter(move |a| only_loopback || !a.ip().is_loopback())
            .filter(|a| !matches!(a.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()))
    }

    fn agreed(&self, now: Instant) -> Vec<SocketAddr> {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (address, at) in self.observed.values() {
            if now.saturating_since(*at) < OBSERVATION_LIFE {
                *votes.entry(*address).or_default() += 1;
            }
        }
        let needed = if self.local.is_empty() { 1 } else { AGREEMENT };
        votes.retain(|_, count| *count >= needed);
        votes.into_keys().collect()
    }

    /// Every address that is ourselves.
    pub fn own(&self, now: Instant) -> Vec<SocketAddr> {
        let mut own: Vec<_> = self.list(now).into_iter().map(|e| e.address).collect();
        own.extend(&self.local);
        own
    }
}

fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn an_observed_address_needs_two_neighbours() {
        let mut own = OwnEndpoints {
            local: vec![address("192.168.1.2:5000")],
            ..OwnEndpoints::default()
        };
        let now = Instant::ZERO;
        own.observe(node(1), address("203.0.113.1:5000"), now);
        assert!(own.behind_nat());
        assert_eq!(own.list(now).len(), 1);
        own.observe(node(1), address("203.0.113.1:5001"), now);
        own.observe(node(2), address("203.0.113.1:5002"), now);
        assert_eq!(
            own.list(now).len(),
            1,
            "they disagree: the NAT maps each destination apart"
        );
        own.observe(node(2), address("[::ffff:203.0.113.1]:5001"), now);
        let list = own.list(now);
        assert_eq!(list[0].address, address("203.0.113.1:5001"));
        assert_eq!(list[0].kind, EndpointKind::Observed);
        assert_eq!(
            own.list(now + OBSERVATION_LIFE).len(),
            1,
            "old observations do not count"
        );
    }

    #[test]
    fn an_observed_address_that_nobody_comes_through_is_not_advertised_for_long() {
        for reached in [false, true] {
            let mut own = OwnEndpoints::new(Vec::new());
            own.local = vec![address("192.168.1.2:5000")];
            let mut advertised = Vec::new();
            for minute in 0..90 {
                let now = Instant::ZERO + Duration::from_secs(60 * minute);
                own.observe(node(1), address("203.0.113.1:5000"), now);
                own.observe(node(2), address("203.0.113.1:5000"), now);
                if reached && minute == 5 {
                    own.reached();
                }
                if own.list(now).len() == 2 {
                    advertised.push(minute);
                }
            }
            let expected: Vec<u64> = if reached {
                (0..90).collect()
            } else {
                (0..10).chain(70..80).collect()
            };
            assert_eq!(advertised, expected);
        }
    }

    #[test]
    fn what_the_operator_says_comes_first_and_private_addresses_last() {
        let own = OwnEndpoints {
            configured: vec![address("198.51.100.1:1")],
            local: vec![
                address("10.0.0.1:1"),
                address("127.0.0.1:1"),
                address("[fe80::1]:1"),
                address("[2001:db8::1]:1"),
            ],
            mapped: Some(address("203.0.113.1:9")),
            ..OwnEndpoints::default()
        };
        let list: Vec<_> = own
            .list(Instant::ZERO)
            .iter()
            .map(|e| e.address.to_string())
            .collect();
        assert_eq!(
            list,
            ["198.51.100.1:1", "203.0.113.1:9", "[2001:db8::1]:1", "10.0.0.1:1"]
        );
    }
}
