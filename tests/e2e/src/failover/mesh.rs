//! The drill for a mesh of `osier` nodes at default settings.

use super::{Contender, count, counted, cut_off, reconnect};
use crate::{
    internet::Internet,
    mesh::{Member, Registry},
    prober::End,
};
use anyhow::{Context, Result};
use osier_proto::relay;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// IPv4 and UDP headers, and what WireGuard adds; a ping of the prober's with its IPv6 header.
const OUTSIDE: usize = 28;
const SEALED_PING: usize = 104 + 32;
/// The same in an end-to-end session, whose messages travel in relay frames.
const FRAMED_PING: usize = SEALED_PING + relay::HEADER;
/// Pings that leave in one segmented write are one packet of this many to the counters.
const MOST_AT_ONCE: usize = 64;

/// Lengths of what pings make on the wire: rows of one kind, of which the last may be shorter. A control message of
/// just such a length is taken for one: at most one length in 50 is.
fn ping_lengths() -> BTreeSet<usize> {
    let rows = |size: usize| (1..=MOST_AT_ONCE).map(move |pings| OUTSIDE + pings * size);
    let mixed = rows(FRAMED_PING).map(|row| row + SEALED_PING);
    rows(SEALED_PING).chain(rows(FRAMED_PING)).chain(mixed).collect()
}

pub struct Mesh {
    members: Vec<Member>,
    /// Ends of a node never change: its address is its certificate's.
    ends: Vec<End>,
    /// Kept running: nodes renew records there.
    _registry: Registry,
}

impl Mesh {
    /// Starts so many nodes, each on a host of its own, and waits until each has a tunnel.
    pub fn start(internet: &Internet<'_>, nodes: usize) -> Result<Self> {
        let registry = Registry::create(internet)?;
        let invite = registry.invite(nodes)?;
        let mut members = Vec::new();
        for number in 0..nodes {
            let host = internet.host(&format!("n{number}"))?;
            let lengths: Vec<String> = ping_lengths().iter().map(usize::to_string).collect();
            count(
                &host.netns,
                "eth0",
                &format!("meta length {{ {} }}", lengths.join(", ")),
            )?;
            members.push(Member::join(internet.lab(), host, &invite, &[])?);
        }
        members.iter_mut().try_for_each(Member::up)?;
        let ends = members.iter().map(Member::end).collect::<Result<_>>()?;
        Ok(Self {
            members,
            ends,
            _registry: registry,
        })
    }

    /// Pairs with a tunnel between them, each once.
    pub fn edges(&self) -> Result<Vec<(usize, usize)>> {
        let names = self.names();
        let mut edges = Vec::new();
        for (i, member) in self.members.iter().enumerate() {
            let neighbours = member.neighbours()?;
            let there = neighbours.iter().filter_map(|name| names.get(name.as_str()));
            edges.extend(there.map(|j| (i.min(*j), i.max(*j))));
        }
        edges.sort_unstable();
        edges.dedup();
        Ok(edges)
    }

    fn names(&self) -> BTreeMap<&str, usize> {
        self.members
            .iter()
            .enumerate()
            .map(|(i, m)| (m.name.as_str(), i))
            .collect()
    }

    fn member(&mut self, node: usize) -> Result<&mut Member> {
        self.members.get_mut(node).context("no such node")
    }
}

impl Contender for Mesh {
    fn name(&self) -> &'static str {
        "osier"
    }

    fn patience(&self) -> (Duration, Duration) {
        (Duration::from_secs(5), Duration::from_secs(30))
    }

    fn rest(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn ends(&self) -> Result<Vec<End>> {
        Ok(self.ends.clone())
    }

    fn next_hops(&self) -> Result<Vec<Vec<Option<usize>>>> {
        let names = self.names();
        let of = |member: &Member| {
            let mut next = vec![None; self.members.len()];
            for peer in member.peers()? {
                let Some(to) = peer["name"].as_str().and_then(|name| names.get(name)) else {
                    continue;
                };
                let via = peer["via"].as_str().and_then(|name| names.get(name));
                next[*to] = Some(*via.unwrap_or(to));
            }
            Ok(next)
        };
        self.members.iter().map(of).collect()
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        let member = self.member(node)?;
        cut_off(&member.host.netns)?;
        member.kill();
        Ok(())
    }

    fn restart(&mut self, node: usize) -> Result<()> {
        let member = self.member(node)?;
        reconnect(&member.host.netns)?;
        member.up()?;
        member.address().map(drop)
    }

    fn control(&self) -> Result<Vec<(u64, u64)>> {
        self.members.iter().map(|m| counted(&m.host.netns)).collect()
    }
}
