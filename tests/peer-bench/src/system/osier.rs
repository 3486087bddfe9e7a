//! Osier at its default settings, enrolled at a registry of its own.

use super::{Network, OSIER, System};
use crate::{
    install::{Programs, Source},
    topology::Topology,
};
use anyhow::Result;
use osier_e2e::{
    internet::Host,
    mesh::{Member, Registry},
};
use std::net::Ipv6Addr;

pub(super) struct Osier;

impl System for Osier {
    fn name(&self) -> &'static str {
        OSIER
    }

    fn source(&self) -> Source {
        Source::Own
    }

    fn is_mesh(&self) -> bool {
        true
    }

    fn configure<'a>(&self, _: &Programs, topology: &'a Topology<'_>) -> Result<Box<dyn Network + 'a>> {
        let on = |node: usize| {
            let host = &topology.hosts[node];
            Host::on(host.netns.clone(), host.public)
        };
        let registry = match topology.internet() {
            Ok(internet) => Registry::create(internet)?,
            Err(_) => Registry::create_on(topology.lab, on(topology.relays[0]))?,
        };
        let invite = registry.invite(topology.hosts.len())?;
        let nodes = 0..topology.hosts.len();
        let members = nodes.map(|node| Member::join(topology.lab, on(node), &invite, &[]));
        Ok(Box::new(Mesh {
            members: members.collect::<Result<_>>()?,
            _registry: registry,
        }))
    }
}

struct Mesh {
    members: Vec<Member>,
    /// Kept running: nodes renew their records there.
    _registry: Registry,
}

impl Network for Mesh {
    fn up(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::up)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.members.iter().map(|m| m.enrolled).collect()
    }

    fn processes(&self, node: usize) -> Vec<u32> {
        self.members[node].id().into_iter().collect()
    }
}
