//! WireGuard in userspace: wireguard-go, BoringTun and GotaTun, all set up through the same socket.
//! Where packets need a relay, its kernel forwards them from one tunnel into the other.

use super::{Network, PATIENCE, Processes, System, all_numbered, numbered, wait_for_device};
use crate::{
    install::{GoModule, Programs, Source},
    topology::{Topology, all_pairs, neighbours},
};
use anyhow::{Context, Result, ensure};
use osier_lab::wait_until;
use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{Ipv6Addr, Shutdown, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};
use x25519_dalek::{PublicKey, StaticSecret};

const NETWORK: u16 = 0xfd99;
const PORT: u16 = 51820;
/// Where all implementations put their sockets, by the device's name.
const SOCKETS: &str = "/var/run/wireguard";

/// Device names are unique in the lab, as the directory of sockets is shared.
static DEVICES: AtomicU32 = AtomicU32::new(0);

pub(super) struct WireGuard {
    name: &'static str,
    source: Source,
    program: &'static str,
    /// Before the device's name; in the foreground.
    arguments: &'static [&'static str],
}

pub(super) const WIREGUARD_GO: WireGuard = WireGuard {
    name: "wireguard-go",
    source: Source::Go(&GoModule {
        module: "golang.zx2c4.com/wireguard",
        commands: &["golang.zx2c4.com/wireguard"],
        stand_in: None,
    }),
    program: "wireguard",
    arguments: &["-f"],
};

pub(super) const BORINGTUN: WireGuard = WireGuard {
    name: "boringtun",
    source: Source::Crate("boringtun-cli", "boringtun-cli"),
    program: "boringtun-cli",
    arguments: &["-f", "--disable-drop-privileges"],
};

pub(super) const GOTATUN: WireGuard = WireGuard {
    name: "gotatun",
    source: Source::Crate("gotatun-cli", "gotatun"),
    program: "gotatun",
    arguments: &["-f", "--disable-drop-privileges"],
};

impl System for WireGuard {
    fn name(&self) -> &'static str {
        self.name
    }

    fn source(&self) -> Source {
        self.source
    }

    fn is_mesh(&self) -> bool {
        false
    }

    /// A full mesh, written down by hand.
    fn scales(&self) -> bool {
        self.program == WIREGUARD_GO.program
    }

    fn configure<'a>(
        &self,
        programs: &Programs,
        topology: &'a Topology<'_>,
    ) -> Result<Box<dyn Network + 'a>> {
        let links = match topology.meshed {
            true => all_pairs(topology.hosts.len()),
            false => topology.links.clone(),
        };
        let keys = topology.hosts.iter().map(|_| {
            let mut key = [0; 32];
            getrandom::fill(&mut key).context("no randomness")?;
            Ok(StaticSecret::from(key))
        });
        let number = || DEVICES.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Tunnels {
            topology,
            program: programs.path(self.program)?.to_owned(),
            arguments: self.arguments,
            keys: keys.collect::<Result<_>>()?,
            devices: topology.hosts.iter().map(|_| format!("wg{}", number())).collect(),
            links,
            processes: Processes::default(),
        }))
    }
}

struct Tunnels<'a> {
    topology: &'a Topology<'a>,
    program: PathBuf,
    arguments: &'static [&'static str],
    keys: Vec<StaticSecret>,
    devices: Vec<String>,
    links: Vec<(usize, usize)>,
    processes: Processes,
}

impl Tunnels<'_> {
    /// In the language of <https://www.wireguard.com/xplatform/>.
    fn settings(&self, node: usize, next: &[Option<usize>]) -> String {
        let key = hex(&self.keys[node].to_bytes());
        let mut text = format!("set=1\nprivate_key={key}\nlisten_port={PORT}\n");
        for peer in neighbours(&self.links, node) {
            let key = hex(PublicKey::from(&self.keys[peer]).as_bytes());
            let endpoint = SocketAddr::from((self.topology.hosts[peer].public, PORT));
            // Writing to a String cannot fail.
            let _ = write!(text, "public_key={key}\nendpoint={endpoint}\n");
            for (to, _) in next.iter().enumerate().filter(|(_, via)| **via == Some(peer)) {
                let _ = writeln!(text, "allowed_ip={}/128", numbered(NETWORK, to));
            }
        }
        text + "\n"
    }
}

impl Network for Tunnels<'_> {
    fn up(&mut self) -> Result<()> {
        for (node, (host, device)) in self.topology.hosts.iter().zip(&self.devices).enumerate() {
            let mut command = host.netns.command(&self.program);
            command.args(self.arguments).arg(device);
            self.processes.start(node, &host.netns, "wireguard", command)?;
        }
        let next = self.topology.next_hops(&self.links);
        let hosts = self.topology.hosts.iter().zip(self.processes.iter());
        for (node, (host, process)) in hosts.enumerate() {
            let device = &self.devices[node];
            wait_for_device(&host.netns, device, process)?;
            set_up(device, &self.settings(node, &next[node]))
                .with_context(|| format!("{} said: {}", process.name(), process.log()))?;
            host.netns
                .address(device, &format!("{}/64", numbered(NETWORK, node)))?;
            host.netns.run(&format!("ip link set dev {device} up"))?;
            host.netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
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

fn set_up(device: &str, settings: &str) -> Result<()> {
    let path = Path::new(SOCKETS).join(format!("{device}.sock"));
    let mut socket = None;
    wait_until(PATIENCE, &format!("{} answers", path.display()), || {
        socket = UnixStream::connect(&path).ok();
        socket.is_some()
    })?;
    let mut socket = socket.context("no socket")?;
    socket.write_all(settings.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    ensure!(
        answer.contains("errno=0\n"),
        "{device} refused its settings: {answer:?}"
    );
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
