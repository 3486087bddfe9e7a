//! What must hold: no forwarding loops ever, and everybody reachable when it is possible.

use crate::{HostId, World, underlay};
use core::net::Ipv6Addr;
use osier_proto::{IpNet, fib::Hop, tunnel::TunnelId};
use std::collections::{BTreeMap, BTreeSet};

/// Why a packet would not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Down(HostId),
    NoRoute(HostId),
    /// The tunnel that the table points to leads nowhere, for the reason given.
    Tunnel(HostId, HostId, &'static str),
    Loop(HostId),
}

impl World {
    /// The hosts a packet passes, both ends included, as the tables stand now; or where it gets stuck.
    pub fn path(&self, from: HostId, to: HostId) -> Result<Vec<HostId>, Broken> {
        let destination = self.host(to).address();
        let mut path = vec![from];
        loop {
            let here = path[path.len() - 1];
            match self.next_hop(here, destination)? {
                None => return Ok(path),
                Some(next) if path.contains(&next) => return Err(Broken::Loop(next)),
                Some(next) => path.push(next),
            }
        }
    }

    /// Ordered pairs of the given hosts that cannot reach each other as the tables stand now.
    pub fn unreachable(&self, hosts: &[HostId]) -> Vec<(HostId, HostId, Broken)> {
        let mut broken = Vec::new();
        for &to in hosts {
            let destination = self.host(to).address();
            // What is known about hosts on paths to this destination.
            let mut fate: BTreeMap<HostId, Result<(), Broken>> = BTreeMap::new();
            for &from in hosts {
                let mut path = Vec::new();
                let mut here = from;
                let verdict = loop {
                    if let Some(known) = fate.get(&here) {
                        break *known;
                    }
                    if path.contains(&here) {
                        break Err(Broken::Loop(here));
                    }
                    path.push(here);
                    match self.next_hop(here, destination) {
                        Ok(Some(next)) => here = next,
                        Ok(None) => break Ok(()),
                        Err(why) => break Err(why),
                    }
                };
                path.into_iter().for_each(|host| {
                    fate.insert(host, verdict);
                });
                if let Err(why) = verdict {
                    broken.push((from, to, why));
                }
            }
        }
        broken
    }

    /// Whether all live hosts reach each other as the tables stand now.
    pub fn all_reachable(&self) -> bool {
        self.unreachable(&self.running()).is_empty()
    }

    /// Follows the table of `here`; `None` when the packet has arrived.
    fn next_hop(&self, here: HostId, destination: Ipv6Addr) -> Result<Option<HostId>, Broken> {
        let host = self.host(here);
        if !host.is_running() {
            return Err(Broken::Down(here));
        }
        let tunnel = match host.snapshot.fib.lookup(destination) {
            Some(Hop::Local) => return Ok(None),
            Some(Hop::Tunnel(tunnel) | Hop::Relayed { via: tunnel, .. }) => tunnel,
            Some(Hop::Unreachable) | None => return Err(Broken::NoRoute(here)),
        };
        let next = self
            .peer(here, tunnel)
            .ok_or(Broken::Tunnel(here, here, "it does not exist"))?;
        let endpoint = host.snapshot.tunnels.get(&tunnel).and_then(|t| t.endpoint());
        let arrives = endpoint.is_some_and(|e| {
            underlay::host_of(e.ip()) == Some(next) && self.port_leads_in(next, here, e.port())
        });
        if !arrives {
            return Err(Broken::Tunnel(here, next, "its endpoint is wrong"));
        }
        if !self.underlay.connected(here, next) {
            return Err(Broken::Tunnel(here, next, "its link is down"));
        }
        if !self.host(next).is_running() {
            return Err(Broken::Tunnel(here, next, "its peer is dead"));
        }
        if !self.open_between(here, tunnel, next) {
            return Err(Broken::Tunnel(here, next, "it is not open at both ends"));
        }
        Ok(Some(next))
    }

    /// Whether both ends hold an open tunnel with each other.
    fn open_between(&self, here: HostId, tunnel: TunnelId, next: HostId) -> bool {
        let key = self.host(here).certificate.tunnel_key;
        let ours = self.host(here).snapshot.tunnels.get(&tunnel);
        let back = self
            .host(next)
            .snapshot
            .tunnels
            .values()
            .any(|t| t.is_open() && t.session().peer() == key);
        self.host(next).is_running() && ours.is_some_and(|t| t.is_open()) && back
    }

    /// Follows the next hops for a prefix from a host whose table has just changed, whatever the state of links.
    pub(crate) fn find_loop(&self, start: HostId, prefix: IpNet) -> Option<Vec<HostId>> {
        let IpNet::V6(net) = prefix else { return None };
        let mut seen = BTreeSet::from([start]);
        let mut path = vec![start];
        let mut here = start;
        loop {
            let tunnel = self.host(here).snapshot.fib.lookup(net.addr())?.tunnel()?;
            let next = self.peer(here, tunnel)?;
            if !self.open_between(here, tunnel, next) {
                return None;
            }
            path.push(next);
            if !seen.insert(next) {
                return Some(path);
            }
            here = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{HostOptions, Options, World, check::Broken};
    use core::time::Duration;
    use osier_proto::fib::Hop;
    use std::sync::Arc;

    #[test]
    fn a_loop_between_tables_is_found() {
        let mut world = World::new(Options {
            seed: 1,
            ..Options::default()
        });
        let hosts = world.add_hosts(3, &HostOptions::default());
        world.start_all(&hosts, Duration::from_millis(20));
        let limit = Duration::from_secs(15);
        assert!(
            world
                .run_until(limit, Duration::from_millis(100), |w| w.all_reachable())
                .is_some()
        );
        world.run_for(Duration::from_secs(5));
        let (a, b, c) = (hosts[0], hosts[1], hosts[2]);
        let prefix = world.host(c).prefix();
        assert_eq!(world.find_loop(a, prefix), None);
        for (here, next) in [(a, b), (b, a)] {
            let mut snapshot = world.host(here).snapshot().clone();
            let tunnel = *snapshot
                .tunnels
                .keys()
                .find(|t| world.peer(here, **t) == Some(next))
                .unwrap();
            snapshot.fib.insert(prefix, Hop::Tunnel(tunnel));
            world.hosts[here.0 as usize].snapshot = Arc::new(snapshot);
        }
        assert_eq!(world.find_loop(a, prefix), Some(vec![a, b, a]));
        assert_eq!(world.path(a, c), Err(Broken::Loop(a)));
        let broken = world.unreachable(&hosts);
        assert_eq!(broken.len(), 2, "from a and from b: {broken:?}");
        assert!(
            broken
                .iter()
                .all(|(_, to, why)| *to == c && matches!(why, Broken::Loop(_)))
        );
    }
}
