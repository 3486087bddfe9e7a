//! OpenVPN between linked nodes with babeld on top: the way re6st works. babeld finds the ways, kernels forward.

use super::{Network, Processes, System, all_numbered, directory, numbered, wait_for_device, write_secret};
use crate::{
    install::{Programs, Source},
    topology::{Topology, neighbours},
};
use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use ring::digest;
use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

const NETWORK: u16 = 0xfd97;
/// Each tunnel has a port of its own, named after the other end.
const PORT: usize = 11000;

pub(super) struct OpenVpn;

impl System for OpenVpn {
    fn name(&self) -> &'static str {
        "openvpn+babeld"
    }

    fn source(&self) -> Source {
        Source::Debian(&[("openvpn", "openvpn"), ("babeld", "babeld")])
    }

    fn is_mesh(&self) -> bool {
        true
    }

    /// Two processes for each tunnel: several hundred for 30 nodes.
    fn scales(&self) -> bool {
        false
    }

    fn configure<'a>(
        &self,
        programs: &Programs,
        topology: &'a Topology<'_>,
    ) -> Result<Box<dyn Network + 'a>> {
        let nodes = 0..topology.hosts.len();
        let identities: Vec<Identity> = nodes
            .clone()
            .map(|node| Identity::make(&directory(topology.lab, "openvpn", node)?))
            .collect::<Result<_>>()?;
        let mut tunnels = Vec::new();
        for node in nodes {
            for other in neighbours(&topology.links, node) {
                let file = identities[node].directory.join(format!("to{other}.conf"));
                let text = settings(topology, (node, &identities[node]), (other, &identities[other]));
                write_secret(&file, &text)?;
                tunnels.push((node, other, file));
            }
        }
        Ok(Box::new(Mesh {
            topology,
            openvpn: programs.path("openvpn")?.to_owned(),
            babeld: programs.path("babeld")?.to_owned(),
            tunnels,
            processes: Processes::default(),
        }))
    }
}

struct Identity {
    directory: PathBuf,
    fingerprint: String,
}

impl Identity {
    /// A certificate signed by itself; the other end is told its fingerprint.
    fn make(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["bench".to_owned()])?.self_signed(&key)?;
        write_secret(&directory.join("own.crt"), &certificate.pem())?;
        write_secret(&directory.join("own.key"), &key.serialize_pem())?;
        let hash = digest::digest(&digest::SHA256, certificate.der());
        let octets: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        Ok(Self {
            directory: directory.to_owned(),
            fingerprint: octets.join(":"),
        })
    }
}

fn settings(topology: &Topology<'_>, own: (usize, &Identity), other: (usize, &Identity)) -> String {
    let role = if own.0 < other.0 {
        "tls-server\ndh none"
    } else {
        "tls-client"
    };
    let directory = own.1.directory.display();
    format!(
        "dev to{}\ndev-type tap\nmode p2p\nproto udp4\nlocal {}\nlport {}\nremote {} {}\n{role}\n\
         cert {directory}/own.crt\nkey {directory}/own.key\npeer-fingerprint {}\n\
         ping 5\nping-restart 30\nverb 1\n",
        other.0,
        topology.hosts[own.0].public,
        PORT + other.0,
        topology.hosts[other.0].public,
        PORT + own.0,
        other.1.fingerprint,
    )
}

struct Mesh<'a> {
    topology: &'a Topology<'a>,
    openvpn: PathBuf,
    babeld: PathBuf,
    /// Node, other end, configuration.
    tunnels: Vec<(usize, usize, PathBuf)>,
    processes: Processes,
}

impl Network for Mesh<'_> {
    fn up(&mut self) -> Result<()> {
        for (node, _, file) in &self.tunnels {
            let netns = &self.topology.hosts[*node].netns;
            let mut command = netns.command(&self.openvpn);
            command.arg("--config").arg(file);
            self.processes.start(*node, netns, "openvpn", command)?;
        }
        for ((node, other, _), process) in self.tunnels.iter().zip(self.processes.iter()) {
            let (netns, device) = (&self.topology.hosts[*node].netns, format!("to{other}"));
            wait_for_device(netns, &device, process)?;
            netns.run(&format!("ip link set dev {device} up"))?;
        }
        for (node, host) in self.topology.hosts.iter().enumerate() {
            let netns = &host.netns;
            netns.forwarding()?;
            netns.address("lo", &format!("{}/128", numbered(NETWORK, node)))?;
            let file = |suffix: &str| netns.directory().join(format!("openvpn{node}/babeld.{suffix}"));
            let mut command = netns.command(&self.babeld);
            command.args(["-c", "/dev/null", "-I"]).arg(file("pid"));
            command.arg("-S").arg(file("state"));
            for statement in [
                &format!("redistribute ip {NETWORK:x}::/16 local allow"),
                "redistribute local deny",
                "default type tunnel",
            ] {
                command.args(["-C", statement]);
            }
            let devices = self.tunnels.iter().filter(|(of, ..)| *of == node);
            command.args(devices.map(|(_, other, _)| format!("to{other}")));
            self.processes.start(node, netns, "babeld", command)?;
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        all_numbered(NETWORK, self.topology)
    }

    fn processes(&self, node: usize) -> Vec<u32> {
        self.processes.of(node)
    }
}
