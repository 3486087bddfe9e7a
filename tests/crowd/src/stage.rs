//! Where it happens: the node under test in one network namespace, its peers in another, a wire between them.

use crate::{
    members::{Member, Members},
    peer::Hub,
};
use anyhow::{Context, Result};
use osier_core::{
    clock,
    state::{Item, StateDir},
};
use osier_e2e::mesh;
use osier_lab::{Lab, Netns, Process, tool, wait_until};
use osier_peer_bench::usage;
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const PORT: u16 = 16697;
const NODE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// Peers are 10.99.1.0 and further; nobody is at 10.97.0.0/16, which junk comes from.
const PEERS: [u8; 2] = [10, 99];

/// Where a peer is.
pub fn place(peer: usize) -> Ipv4Addr {
    Ipv4Addr::new(PEERS[0], PEERS[1], 1 + (peer >> 8) as u8, peer as u8)
}

/// The peer at an address.
pub fn peer_at(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(v4) = address else { return None };
    match v4.octets() {
        [a, b, high, low] if [a, b] == PEERS && high > 0 => {
            Some(usize::from(high - 1) << 8 | usize::from(low))
        }
        _ => None,
    }
}

pub struct Stage {
    pub hub: Netns,
    pub crowd: Netns,
    pub member: Member,
    pub peers: Vec<Member>,
    state: PathBuf,
    process: Option<Process>,
}

impl Stage {
    /// A node that takes `peers` neighbours and knows none of them; it does not run yet.
    pub fn new(lab: &Lab, peers: u16) -> Result<Self> {
        let (hub, crowd) = (lab.netns("hub")?, lab.netns("crowd")?);
        lab.veth((&hub, "wire"), (&crowd, "wire"))?;
        hub.address("wire", &format!("{NODE}/24"))?;
        crowd.address("wire", "10.98.0.2/24")?;
        hub.run("ip route add 10.96.0.0/14 via 10.98.0.2")?;
        // Every address of these is the crowd's own.
        crowd.run("ip route add local 10.99.0.0/16 dev lo")?;
        crowd.run("ip route add local 10.97.0.0/16 dev lo")?;
        let ethtool = tool("ethtool", "ethtool")?;
        for netns in [&hub, &crowd] {
            netns.run(&format!(
                "{} -K wire tso off gso off tx-udp-segmentation off gro on",
                ethtool.display()
            ))?;
        }
        let members = Members::new(clock::unix_time())?;
        let member = members.member(1, true)?;
        let state = lab.directory().join("state");
        let dir = StateDir::create(&state)?;
        dir.write(Item::Identity, &member.keys.to_bytes())?;
        dir.write(Item::Certificate, &member.certificate.encode())?;
        dir.write(Item::Network, &members.signed()?.encode())?;
        dir.write_plain(
            "settings.toml",
            format!("port = {PORT}\nincoming = {peers}\n").as_bytes(),
        )?;
        drop(dir);
        let peers = (0..peers).map(|n| members.member(n + 2, false));
        Ok(Self {
            hub,
            crowd,
            member,
            peers: peers.collect::<Result<_>>()?,
            state,
            process: None,
        })
    }

    pub fn node(&self) -> Hub {
        Hub {
            node: self.member.keys.node_id(),
            key: self.member.keys.tunnel_key(),
            remote: SocketAddr::from((NODE, PORT)),
        }
    }

    /// Starts the node and waits until it answers.
    pub fn up(&mut self) -> Result<()> {
        let mut command = self.hub.command(mesh::osier()?);
        command
            .env("OSIER_STATE_DIR", &self.state)
            .args(["up", "--no-upnp"]);
        self.process = Some(self.hub.spawn("osier", command)?);
        wait_until(Duration::from_secs(20), "the node answers", || {
            self.status().is_ok()
        })?;
        Ok(())
    }

    /// Ends the node as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// `osier status --json`
    pub fn status(&self) -> Result<Value> {
        let mut command = self.hub.command(mesh::osier()?);
        command
            .env("OSIER_STATE_DIR", &self.state)
            .args(["status", "--json"]);
        Ok(serde_json::from_str(&mesh::output(&mut command)?)?)
    }

    /// A counter of the node's; none is 0.
    pub fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.status()?["counters"][name].as_u64().unwrap_or(0))
    }

    /// Peers whose certificates the node has on disk, so that it knows them when it starts anew.
    pub fn remembered(&self) -> usize {
        let members = std::fs::read(self.state.join("members")).unwrap_or_default();
        members.windows(7).filter(|octets| octets == b"member-").count()
    }

    fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the node does not run")?.id())
    }

    /// Datagrams lost in the node's namespace because a socket's buffer was full.
    pub fn lost_at_sockets(&self) -> Result<u64> {
        let text = self.hub.shell("cat /proc/net/snmp; cat /proc/net/snmp6")?;
        let mut lost = 0;
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        for pair in lines.windows(2) {
            let (names, values) = (&pair[0], &pair[1]);
            if names.first() == Some(&"Udp:") && values.first() == Some(&"Udp:") {
                let named = names
                    .iter()
                    .zip(values)
                    .find(|(name, _)| **name == "RcvbufErrors");
                lost += named
                    .and_then(|(_, count)| count.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
        let six = lines.iter().find(|l| l.first() == Some(&"Udp6RcvbufErrors"));
        lost += six.and_then(|l| l.get(1)?.parse::<u64>().ok()).unwrap_or(0);
        Ok(lost)
    }

    /// Processor seconds that the node has used.
    pub fn cpu(&self) -> Result<f64> {
        usage::processor_of_threads(&[self.id()?])
    }

    /// Octets of memory, shared pages in parts.
    pub fn memory(&self) -> Result<u64> {
        usage::memory(&[self.id()?])
    }
}
