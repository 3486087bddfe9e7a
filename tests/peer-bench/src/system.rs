//! Private networks under test, all handled alike.

mod bare;
mod daemons;
mod nebula;
mod openvpn;
mod osier;
mod tinc;
mod wireguard;
mod yggdrasil;

use crate::{
    install::{Programs, Source},
    topology::Topology,
    traffic::Site,
};
use anyhow::{Context, Result};
use osier_e2e::prober::End;
use osier_lab::{Lab, Netns, Process, wait_until};
use std::{net::Ipv6Addr, os::unix::fs::OpenOptionsExt, path::Path, process::Command, time::Duration};

/// Name of what everything else is compared with.
pub const OSIER: &str = "osier";
/// Name of the wire alone.
pub const BARE: &str = "bare wire";

/// A device that does not appear within this does not appear.
const PATIENCE: Duration = Duration::from_secs(20);

pub trait System: Sync {
    fn name(&self) -> &'static str;

    fn source(&self) -> Source;

    /// Finds ways by itself, through other nodes where it must.
    fn is_mesh(&self) -> bool;

    /// Whether many nodes can be started from one configuration that a person would write.
    fn scales(&self) -> bool {
        self.is_mesh()
    }

    /// Makes keys and configurations; nothing runs yet.
    fn configure<'a>(&self, programs: &Programs, topology: &'a Topology<'_>)
    -> Result<Box<dyn Network + 'a>>;
}

/// One system on the hosts of one topology; it ends when dropped.
pub trait Network {
    /// Starts every node.
    fn up(&mut self) -> Result<()>;

    /// Of each node, inside the network.
    fn addresses(&self) -> Vec<Ipv6Addr>;

    /// What runs for a node.
    fn processes(&self, node: usize) -> Vec<u32>;
}

/// Every system, Osier first.
pub fn all() -> Vec<&'static dyn System> {
    vec![
        &osier::Osier,
        &bare::Bare,
        &wireguard::WIREGUARD_GO,
        &wireguard::BORINGTUN,
        &wireguard::GOTATUN,
        &yggdrasil::Yggdrasil,
        &nebula::Nebula,
        &tinc::Tinc,
        &openvpn::OpenVpn,
    ]
}

/// Where traffic enters and leaves the network.
pub fn sites(topology: &Topology<'_>, network: &dyn Network) -> Vec<Site> {
    let hosts = topology.hosts.iter().zip(network.addresses());
    hosts
        .map(|(host, address)| Site {
            netns: host.netns.clone(),
            address,
        })
        .collect()
}

/// The same for the prober.
pub fn ends(sites: &[Site]) -> Vec<End> {
    let end = |site: &Site| End {
        name: site.netns.name().to_owned(),
        netns: site.netns.path().to_owned(),
        address: site.address,
    };
    sites.iter().map(end).collect()
}

/// The address of a node where we choose it.
fn numbered(network: u16, node: usize) -> Ipv6Addr {
    Ipv6Addr::new(network, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

/// The addresses of all nodes where we choose them.
fn all_numbered(network: u16, topology: &Topology<'_>) -> Vec<Ipv6Addr> {
    (0..topology.hosts.len()).map(|n| numbered(network, n)).collect()
}

/// What was started, each with its node.
#[derive(Default)]
struct Processes(Vec<(usize, Process)>);

impl Processes {
    fn start(&mut self, node: usize, netns: &Netns, name: &str, command: Command) -> Result<()> {
        self.0.push((node, netns.spawn(name, command)?));
        Ok(())
    }

    /// In the order of their start.
    fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.iter().map(|(_, process)| process)
    }

    fn of(&self, node: usize) -> Vec<u32> {
        let own = self.0.iter().filter(|(of, _)| *of == node);
        own.map(|(_, process)| process.id()).collect()
    }
}

fn wait_for_device(netns: &Netns, device: &str, process: &Process) -> Result<()> {
    let there = || netns.run(&format!("ip link show dev {device}")).is_ok();
    wait_until(PATIENCE, &format!("{device} appears"), there)
        .with_context(|| format!("{} said: {}", process.name(), process.log()))?;
    Ok(())
}

/// Writes a file that only its owner can read: it may hold a key.
fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// A directory of a node's own in the lab's scratch space.
fn directory(lab: &Lab, name: &str, node: usize) -> Result<std::path::PathBuf> {
    let path = lab.directory().join(format!("{name}{node}"));
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
