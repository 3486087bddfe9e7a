//! The hosts of a measurement and the wires between them.

use anyhow::{Context, Result};
use osier_e2e::internet::{Host, Internet};
use osier_lab::{Lab, Netns, Silence, tool};
use std::net::Ipv4Addr;

/// What a wire does for the kernel's own packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// As a network card: what leaves is at most 1500 octets, what arrives is merged (GRO).
    Plain,
    /// As a veth pair comes: packets of up to 64 KiB cross it whole.
    Tso,
}

pub struct Topology<'a> {
    pub lab: &'a Lab,
    pub hosts: Vec<Host>,
    /// Pairs, the lower number first, between which tunnels are set up where a system wants that done by hand.
    pub links: Vec<(usize, usize)>,
    /// Hosts that everyone may know from the start and that may carry others' traffic.
    pub relays: Vec<usize>,
    /// All hosts can reach each other directly, but for what is cut.
    pub meshed: bool,
    internet: Option<Internet<'a>>,
}

impl<'a> Topology<'a> {
    /// `hosts` in a row; only neighbours share a wire, and no kernel forwards between wires.
    pub fn line(lab: &'a Lab, hosts: usize, wire: Wire) -> Result<Self> {
        let address = |number: usize| Ipv4Addr::new(11, 0, 0, number as u8 + 1);
        let mut made = Vec::new();
        for number in 0..hosts {
            let netns = lab.netns(&format!("n{number}"))?;
            made.push(Host::on(netns, address(number).into()));
        }
        let links: Vec<(usize, usize)> = (1..hosts).map(|n| (n - 1, n)).collect();
        for &(a, b) in &links {
            let (to_b, to_a) = (format!("eth{b}"), format!("eth{a}"));
            lab.veth((&made[a].netns, &to_b), (&made[b].netns, &to_a))?;
            for (here, there, interface) in [(a, b, &to_b), (b, a, &to_a)] {
                let netns = &made[here].netns;
                netns.address(interface, &format!("{}/32", address(here)))?;
                netns.run(&format!("ip route add {}/32 dev {interface}", address(there)))?;
                offloads(netns, interface, wire)?;
            }
        }
        Ok(Self {
            lab,
            hosts: made,
            links,
            // The middle, or the first of two.
            relays: vec![(hosts - 1) / 2],
            meshed: false,
            internet: None,
        })
    }

    /// `hosts` around one router, as on the internet.
    pub fn star(lab: &'a Lab, hosts: usize, links: Vec<(usize, usize)>, relays: Vec<usize>) -> Result<Self> {
        let internet = Internet::new(lab)?;
        let made = (0..hosts).map(|n| internet.host(&format!("n{n}")));
        let hosts = made.collect::<Result<_>>()?;
        Ok(Self {
            lab,
            hosts,
            links,
            relays,
            meshed: true,
            internet: Some(internet),
        })
    }

    pub fn internet(&self) -> Result<&Internet<'a>> {
        self.internet.as_ref().context("these hosts have no router")
    }

    /// From now on the two cannot reach each other directly, and nobody is told.
    pub fn cut(&self, a: usize, b: usize) -> Result<Silence> {
        self.internet()?.cut(&self.hosts[a], &self.hosts[b])
    }

    /// `[from][to]`: the neighbour that packets go to next along `links`, the shortest way.
    pub fn next_hops(&self, links: &[(usize, usize)]) -> Vec<Vec<Option<usize>>> {
        let size = self.hosts.len();
        let mut next = vec![vec![None; size]; size];
        for to in 0..size {
            let (mut reached, mut edge) = (vec![false; size], vec![to]);
            reached[to] = true;
            while !edge.is_empty() {
                let mut wider = Vec::new();
                for at in edge {
                    for from in neighbours(links, at) {
                        if !std::mem::replace(&mut reached[from], true) {
                            next[from][to] = Some(at);
                            wider.push(from);
                        }
                    }
                }
                edge = wider;
            }
        }
        next
    }
}

pub fn neighbours(links: &[(usize, usize)], of: usize) -> impl Iterator<Item = usize> {
    links.iter().filter_map(move |&(a, b)| match of {
        _ if a == of => Some(b),
        _ if b == of => Some(a),
        _ => None,
    })
}

pub fn all_pairs(size: usize) -> Vec<(usize, usize)> {
    (0..size).flat_map(|b| (0..b).map(move |a| (a, b))).collect()
}

/// Each node is linked to `degree` random earlier ones, so all are connected.
pub fn random_links(size: usize, degree: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut links = Vec::new();
    let mut state = seed | 1;
    for node in 1..size {
        let mut chosen = Vec::new();
        while chosen.len() < degree.min(node) {
            let other = (random(&mut state) % node as u64) as usize;
            if !chosen.contains(&other) {
                chosen.push(other);
                links.push((other, node));
            }
        }
    }
    links
}

/// xorshift64*: repeatable and good enough to draw pairs.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

fn offloads(netns: &Netns, interface: &str, wire: Wire) -> Result<()> {
    if wire == Wire::Tso {
        return Ok(());
    }
    let ethtool = tool("ethtool", "ethtool")?;
    netns.run(&format!(
        "{} -K {interface} tso off gso off tx-udp-segmentation off gro on",
        ethtool.display()
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_linked_to_earlier_ones() {
        let links = random_links(30, 3, 7);
        assert_eq!(links, random_links(30, 3, 7));
        assert_eq!(links.len(), 1 + 2 + 27 * 3);
        assert!(links.iter().all(|(a, b)| a < b));
        assert_eq!(neighbours(&links, 1).filter(|n| *n == 0).count(), 1);
    }

    #[test]
    fn all_pairs_are_all_of_them_once() {
        assert_eq!(all_pairs(4), [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]);
    }
}
