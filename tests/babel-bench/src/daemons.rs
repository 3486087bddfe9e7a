//! `osier babel`, babeld and BIRD, fed the very same packets.
//!
//! Each daemon has a namespace of its own, with one interface. At the other end one program plays all the
//! neighbours: it has their link-local addresses and a socket for each. It never sends more than the daemon
//! has read, by the kernel's own account of the daemon's receive queue, so nothing is lost, and nobody pays
//! for acknowledgments; the kernel's count of drops proves it. No daemon puts routes into the kernel as far as
//! it can be told not to (babeld cannot), so what is measured is the engine with its sockets. A daemon's
//! processor time is read when it is idle before and after.

use crate::feed::{Feed, GROUP, HELLO_INTERVAL, Version};
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use osier_babel::PORT;
use osier_lab::{Lab, Netns, Process, tool, wait_until};
use rustix::thread::LinkNameSpaceType;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

/// The daemon's interface.
const DEVICE: &str = "babel0";
const DAEMON: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 2, 1);
/// Packets between two looks at the receive queue: fewer than the smallest default buffer holds.
const BURST: usize = 24;
/// A daemon that used less than this in [`QUIET`] has nothing left to do.
const IDLE: Duration = Duration::from_millis(1);
const QUIET: Duration = Duration::from_millis(400);
/// Between Hellos, well within what they promise.
const HELLO_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Osier,
    Babeld,
    Bird,
}

impl Daemon {
    pub const ALL: [Self; 3] = [Self::Osier, Self::Babeld, Self::Bird];

    pub fn name(self) -> &'static str {
        match self {
            Self::Osier => "osier babel",
            Self::Babeld => "babeld",
            Self::Bird => "BIRD",
        }
    }

    /// How it is kept from installing routes.
    pub fn setup(self) -> &'static str {
        match self {
            Self::Osier => "--install none",
            Self::Babeld => "installs routes: it has no way not to",
            Self::Bird => "no kernel protocol",
        }
    }

    fn command(self, netns: &Netns) -> Result<Command> {
        let directory = netns.directory();
        let file = |suffix: &str| directory.join(format!("{}.{suffix}", netns.name()));
        Ok(match self {
            Self::Osier => {
                let path = std::env::var_os("OSIER_BINARY").map_or_else(beside_us, |path| Ok(path.into()))?;
                let mut command = netns.command(path);
                command.args(["babel", "-i", DEVICE, "--install", "none"]);
                command.args(["--hello-ms", "10000", "--update-ms", "600000"]);
                command.args(["--log-level", "warn"]);
                command.arg("--control").arg(file("sock"));
                command
            }
            Self::Babeld => {
                let mut command = netns.command(tool("babeld", "babeld")?);
                command.args(["-c", "/dev/null", "-C"]);
                command.arg("default type wired hello-interval 10 update-interval 600");
                command.args(["-C", "redistribute local deny"]);
                command.arg("-I").arg(file("pid")).arg("-S").arg(file("state"));
                command.arg(DEVICE);
                command
            }
            Self::Bird => {
                let configuration = format!(
                    "log stderr all; router id 10.0.0.1; protocol device {{ }}\n\
                     protocol babel {{ ipv6 {{ import all; export all; }};\n\
                     interface \"{DEVICE}\" {{ type wired; hello interval 10 s; update interval 600 s; }}; }}\n"
                );
                std::fs::write(file("conf"), configuration)?;
                let mut command = netns.command(tool("bird", "bird2")?);
                command.arg("-f").arg("-c").arg(file("conf"));
                command.arg("-s").arg(file("ctl")).arg("-P").arg(file("pid"));
                command
            }
        })
    }
}

/// The binary of the same build.
fn beside_us() -> Result<std::path::PathBuf> {
    let path = std::env::current_exe()?.with_file_name("osier");
    ensure!(
        path.exists(),
        "{} does not exist: `make bench` builds it, or set OSIER_BINARY",
        path.display()
    );
    Ok(path)
}

/// What one dump of all neighbours cost a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub cpu: Duration,
    /// Updates sent; fewer than all when time was up.
    pub updates: usize,
    pub wall: Duration,
}

impl Phase {
    pub fn micros_per_update(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.updates.max(1) as f64
    }
}

/// A daemon and its neighbours.
#[derive(Debug)]
pub struct Contest {
    pub daemon: Daemon,
    feed: Feed,
    process: Process,
    /// One per neighbour.
    sockets: Vec<Socket>,
    to: SocketAddrV6,
    hellos: u16,
    last_hello: Instant,
    /// Memory before the first route.
    empty: u64,
    patience: Duration,
}

impl Contest {
    /// Starts a daemon and makes it trust its neighbours.
    pub fn start(lab: &Lab, daemon: Daemon, feed: Feed, patience: Duration) -> Result<Self> {
        let name = daemon.name().replace(' ', "-");
        let (ours, theirs) = (lab.netns(&format!("{name}-feed"))?, lab.netns(&name)?);
        // With the addresses that we choose, and only those.
        for netns in [&ours, &theirs] {
            netns.sysctl("net.ipv6.conf.default.addr_gen_mode", "1")?;
        }
        lab.veth((&ours, "feed0"), (&theirs, DEVICE))?;
        theirs.address(DEVICE, &format!("{DAEMON}/64"))?;
        for neighbour in 0..feed.neighbours {
            ours.address("feed0", &format!("{}/64", Feed::address(neighbour)))?;
        }
        let index = ours.run("cat /sys/class/net/feed0/ifindex").ok();
        let index = match index.and_then(|text| text.trim().parse().ok()) {
            Some(index) => index,
            None => interface_index(&ours, "feed0")?,
        };
        let sockets = open(&ours, index, feed.neighbours)?;
        let command = daemon.command(&theirs)?;
        let process = theirs.spawn(&name, command)?;
        let mut contest = Self {
            daemon,
            feed,
            process,
            sockets,
            to: SocketAddrV6::new(GROUP, PORT, 0, index),
            hellos: 0,
            last_hello: Instant::now(),
            empty: 0,
            patience,
        };
        wait_until(Duration::from_secs(20), &format!("{name} listens"), || {
            contest.queue().is_ok()
        })?;
        for _ in 0..4 {
            contest.hello()?;
            std::thread::sleep(Duration::from_millis(300));
        }
        contest.rest()?;
        contest.empty = process::pss(&contest.id())?;
        Ok(contest)
    }

    fn id(&self) -> String {
        self.process.id().to_string()
    }

    fn hello(&mut self) -> Result<()> {
        self.hellos += 1;
        for (neighbour, socket) in self.sockets.iter().enumerate() {
            socket.send_to(&Feed::hello(neighbour, self.hellos, DAEMON), &self.to.into())?;
        }
        self.last_hello = Instant::now();
        Ok(())
    }

    /// Every neighbour tells its whole table.
    pub fn dump(&mut self, version: Version) -> Result<Phase> {
        let dropped = self.queue()?.1;
        let (cpu, begin) = (process::cpu(self.process.id())?, Instant::now());
        let mut updates = 0;
        'all: for neighbour in 0..self.feed.neighbours {
            let packets = self.feed.dump(neighbour, version);
            let per_packet = self.feed.prefixes as f64 / packets.len() as f64;
            for (number, burst) in packets.chunks(BURST).enumerate() {
                for packet in burst {
                    self.sockets[neighbour].send_to(packet, &self.to.into())?;
                }
                let sent = packets.len().min((number + 1) * BURST);
                if !self.drain(begin)? {
                    updates += (sent as f64 * per_packet) as usize;
                    break 'all;
                }
            }
            updates += self.feed.prefixes;
        }
        let wall = begin.elapsed();
        self.rest()?;
        let cpu = process::cpu(self.process.id())? - cpu;
        let lost = self.queue()?.1 - dropped;
        ensure!(
            lost == 0,
            "{} lost {lost} packets: the figures mean nothing",
            self.daemon.name()
        );
        Ok(Phase { cpu, updates, wall })
    }

    /// Waits until the daemon has read everything. `false`: time is up.
    fn drain(&mut self, begin: Instant) -> Result<bool> {
        if self.last_hello.elapsed() > HELLO_EVERY {
            self.hello()?;
        }
        while self.queue()?.0 > 0 {
            if begin.elapsed() > self.patience {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(true)
    }

    /// Waits until the daemon has nothing to do.
    fn rest(&mut self) -> Result<()> {
        let end = Instant::now() + self.patience;
        loop {
            let before = process::cpu(self.process.id())?;
            std::thread::sleep(QUIET);
            let used = process::cpu(self.process.id())? - before;
            if (used < IDLE && self.queue()?.0 == 0) || Instant::now() > end {
                return Ok(());
            }
            if self.last_hello.elapsed() > HELLO_EVERY {
                self.hello()?;
            }
        }
    }

    /// Octets in the receive queue of the daemon's Babel socket, and packets dropped there so far.
    fn queue(&self) -> Result<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/net/udp6", self.process.id()))?;
        let port = format!(":{PORT:04X}");
        let (mut waiting, mut dropped, mut found) = (0, 0, false);
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(queues), Some(drops)) = (fields.get(1), fields.get(4), fields.last())
            else {
                continue;
            };
            if !local.ends_with(&port) {
                continue;
            }
            let receive = queues
                .split(':')
                .nth(1)
                .context("no receive queue in /proc/net/udp6")?;
            waiting += u64::from_str_radix(receive, 16)?;
            dropped += drops.parse::<u64>()?;
            found = true;
        }
        if !found {
            bail!("{} does not listen", self.daemon.name());
        }
        Ok((waiting, dropped))
    }

    /// Octets of memory per route since the daemon was empty.
    pub fn octets_per_route(&self, routes: usize) -> Result<f64> {
        let now = process::pss(&self.id())?;
        Ok(now.saturating_sub(self.empty) as f64 / routes.max(1) as f64)
    }

    pub fn pss(&self) -> Result<u64> {
        process::pss(&self.id())
    }

    /// Routes that the daemon itself says it has, where that can be asked cheaply.
    pub fn count(&self, lab: &Lab) -> Option<usize> {
        match self.daemon {
            Daemon::Bird => {
                let mut command = Command::new(tool("birdc", "bird2").ok()?);
                command.arg("-s").arg(lab.directory().join("BIRD.ctl"));
                let output = command.args(["show", "babel", "neighbors"]).output().ok()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                // Address, interface, metric, routes, …
                let routes = text
                    .lines()
                    .filter(|line| line.starts_with("fe80:"))
                    .filter_map(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
                Some(routes.sum())
            }
            _ => None,
        }
    }
}

fn interface_index(netns: &Netns, name: &str) -> Result<u32> {
    let text = netns.run(&format!("ip -o link show dev {name}"))?;
    let number = text.split(':').next().unwrap_or_default();
    number
        .trim()
        .parse()
        .with_context(|| format!("no index of {name} in {text:?}"))
}

/// Sockets of the neighbours, made inside their namespace.
fn open(netns: &Netns, index: u32, neighbours: usize) -> Result<Vec<Socket>> {
    let path = netns.path().to_owned();
    let opened = std::thread::spawn(move || -> Result<Vec<Socket>> {
        let file = File::open(&path)?;
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        (0..neighbours)
            .map(|neighbour| {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
                socket.bind_device_by_index_v6(NonZeroU32::new(index))?;
                socket.set_multicast_hops_v6(1)?;
                socket.set_unicast_hops_v6(1)?;
                socket.set_multicast_if_v6(index)?;
                socket.bind(&SocketAddrV6::new(Feed::address(neighbour), PORT, 0, index).into())?;
                Ok(socket)
            })
            .collect()
    });
    opened
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that opens sockets panicked"))?
}

/// The interval between Hellos must be far from what they promise.
const _: () = assert!(HELLO_EVERY.as_secs() * 3 < HELLO_INTERVAL.as_secs());
