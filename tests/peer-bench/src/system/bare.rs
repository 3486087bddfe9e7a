//! No private network at all: the ceiling that the wire sets.

use super::{BARE, Network, System, all_numbered, numbered};
use crate::{
    install::{Programs, Source},
    topology::{Topology, neighbours},
};
use anyhow::Result;
use std::net::Ipv6Addr;

const NETWORK: u16 = 0xfd95;

pub(super) struct Bare;

impl System for Bare {
    fn name(&self) -> &'static str {
        BARE
    }

    fn source(&self) -> Source {
        Source::None
    }

    fn is_mesh(&self) -> bool {
        false
    }

    fn configure<'a>(&self, _: &Programs, topology: &'a Topology<'_>) -> Result<Box<dyn Network + 'a>> {
        Ok(Box::new(Wires { topology }))
    }
}

struct Wires<'a> {
    topology: &'a Topology<'a>,
}

impl Network for Wires<'_> {
    /// Addresses on the loopback, routes along the wires, kernels that forward.
    fn up(&mut self) -> Result<()> {
        let next = self.topology.next_hops(&self.topology.links);
        for (node, host) in self.topology.hosts.iter().enumerate() {
            let netns = &host.netns;
            netns.address("lo", &format!("{}/128", numbered(NETWORK, node)))?;
            netns.forwarding()?;
            for other in neighbours(&self.topology.links, node) {
                let there = self.topology.hosts[other]
                    .netns
                    .link_local(&format!("eth{node}"))?;
                let ways = next[node]
                    .iter()
                    .enumerate()
                    .filter(|(_, via)| **via == Some(other));
                for (to, _) in ways {
                    let (to, own) = (numbered(NETWORK, to), numbered(NETWORK, node));
                    netns.run(&format!(
                        "ip route add {to}/128 via {there} dev eth{other} src {own}"
                    ))?;
                }
            }
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        all_numbered(NETWORK, self.topology)
    }

    fn processes(&self, _: usize) -> Vec<u32> {
        Vec::new()
    }
}
