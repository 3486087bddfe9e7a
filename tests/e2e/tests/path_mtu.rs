//! Packets as large as the path allows, through real TUN devices: what passes, what the machines are told, and what
//! happens when a path gets narrower under a running stream.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, Process, Silence, tool, wait_until};
use serde_json::Value;
use std::time::Duration;

/// Octets that IPv6 and ICMPv6 add to a ping.
const PING: u16 = 48;

/// Members, and what they need to find each other.
struct Mesh {
    members: Vec<Member>,
    _registry: Registry,
    _cut: Option<Silence>,
}

fn mesh(lab: &Lab, internet: &Internet<'_>, names: &[&str], options: &[&str]) -> Result<Mesh> {
    let registry = Registry::create(internet)?;
    let hosts = names.iter().map(|name| internet.host(name));
    let hosts = hosts.collect::<Result<Vec<_>>>()?;
    // The ends of a longer line cannot be neighbours.
    let cut = (hosts.len() > 2).then(|| internet.cut(&hosts[0], &hosts[hosts.len() - 1]));
    let cut = cut.transpose()?;
    let invite = registry.invite(hosts.len())?;
    let mut members = Vec::new();
    for host in hosts {
        members.push(Member::join(lab, host, &invite, options)?);
    }
    members.iter_mut().try_for_each(Member::up)?;
    Ok(Mesh {
        members,
        _registry: registry,
        _cut: cut,
    })
}

/// Whether a packet of so many octets comes back without having been fragmented inside the mesh.
fn passes(from: &Member, to: &Member, octets: u16) -> Result<bool> {
    let line = format!("ping -c 1 -W 2 -s {} -M do {}", octets - PING, to.enrolled);
    let words: Vec<&str> = line.split(' ').collect();
    let output = from.host.netns.command(words[0]).args(&words[1..]).output()?;
    Ok(output.status.success())
}

fn mtu_of(rows: &[Value], name: &str) -> Option<u64> {
    rows.iter().find(|row| row["name"] == name)?["mtu"].as_u64()
}

fn tunnel_mtu(at: &Member, to: &Member) -> Option<u64> {
    mtu_of(&at.peers().ok()?, &to.name)
}

/// Whether both ends send so much through their tunnel, which is found out when something large passes.
fn both_carry(a: &Member, b: &Member, mtu: u64) -> impl FnMut() -> bool {
    move || {
        [(a, b), (b, a)]
            .iter()
            .all(|(x, y)| passes(x, y, 1280).is_ok() && tunnel_mtu(x, y) == Some(mtu))
    }
}

fn session_mtu(at: &Member, to: &Member) -> Option<u64> {
    mtu_of(at.ask(&["sessions"]).ok()?.as_array()?, &to.name)
}

/// A TCP stream that goes on until it is dropped.
struct Stream {
    receiver: Process,
    _sender: Process,
}

impl Stream {
    fn start(from: &Member, to: &Member) -> Result<Self> {
        let python = tool("python3", "python3")?;
        let receive = "import socket; s=socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
             s.bind(('::',7000)); s.listen(1); print('listening',flush=True); c=s.accept()[0]; n=0; told=0\n\
             while True:\n d=c.recv(65536)\n if not d: break\n n+=len(d)\n if n-told>100000: told=n; print('received',n,flush=True)";
        let mut command = to.host.netns.command(&python);
        command.args(["-c", receive]);
        let receiver = to.host.netns.spawn("receiver", command)?;
        wait_until(Duration::from_secs(10), "the receiver listens", || {
            receiver.log().contains("listening")
        })?;
        let send = format!(
            "import socket,time; s=socket.create_connection(('{}',7000),timeout=60)\n\
             while True: s.sendall(b'x'*40000); time.sleep(0.01)",
            to.enrolled
        );
        let mut command = from.host.netns.command(&python);
        command.args(["-c", &send]);
        let sender = from.host.netns.spawn("sender", command)?;
        Ok(Self {
            receiver,
            _sender: sender,
        })
    }

    fn received(&self) -> u64 {
        let log = self.receiver.log();
        let last = log
            .lines()
            .filter_map(|l| l.strip_prefix("received "))
            .next_back();
        last.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Waits until so much more has arrived.
    fn flows(&self, limit: Duration) -> Result<()> {
        let before = self.received();
        wait_until(limit, "the stream flows", || self.received() > before + 1_000_000)
            .with_context(|| format!("{} octets, after {before}", self.received()))?;
        Ok(())
    }
}

/// a - r - c over Ethernet: 1420 octets to a neighbour, 1380 through a relay, which is told.
#[test]
fn large_packets_pass_direct_and_relayed() -> osier_lab::Result<()> {
    Lab::run("large", |lab| {
        let internet = Internet::new(lab)?;
        let mesh = mesh(lab, &internet, &["a", "r", "c"], &[])?;
        let [a, r, c] = &mesh.members[..] else {
            anyhow::bail!("three members")
        };
        wait_until(Duration::from_secs(30), "r relays between a and c", || {
            let via = |from: &Member, to: &Member| from.relay_to(&to.name).ok().flatten();
            via(a, c).as_deref() == Some("r") && via(c, a).as_deref() == Some("r")
        })?;
        for (one, other) in [(a, r), (r, c)] {
            wait_until(
                Duration::from_secs(10),
                "tunnels carry 1420 octets",
                both_carry(one, other, 1420),
            )?;
        }
        ensure!(a.ask(&["status"])?["mtu"] == 1420);
        ensure!(passes(a, r, 1420)?, "a large packet to a neighbour");
        ensure!(!passes(a, r, 1421)?, "the device's own limit");

        // The very first packets of a stream are large ones: no host is to remember a smaller MTU.
        let stream = Stream::start(a, c)?;
        stream.flows(Duration::from_secs(20))?;
        wait_until(Duration::from_secs(10), "the session carries 1380 octets", || {
            session_mtu(a, c) == Some(1380) && session_mtu(c, a) == Some(1380)
        })?;
        drop(stream);
        ensure!(
            passes(a, c, 1380)? && passes(c, a, 1380)?,
            "large packets through a relay"
        );
        ensure!(!passes(a, c, 1381)?, "Packet Too Big");
        let route = a.host.netns.run(&format!("ip -6 route get {}", c.enrolled))?;
        ensure!(route.contains("mtu 1380"), "the kernel was told: {route}");
        let session = &a.ask(&["sessions"])?[0];
        let (octets, packets) = (session["sent_octets"].as_u64(), session["sent_packets"].as_u64());
        let mean = octets.context("octets")? / packets.context("packets")?.max(1);
        ensure!(mean > 1340, "packets of the stream have {mean} octets: {session}");
        anyhow::Ok(())
    })
}

#[test]
fn an_underlay_that_gets_narrow_under_a_stream_heals() -> osier_lab::Result<()> {
    Lab::run("narrowing", |lab| {
        let internet = Internet::new(lab)?;
        let mesh = mesh(lab, &internet, &["a", "b"], &[])?;
        let [a, b] = &mesh.members[..] else {
            anyhow::bail!("two members")
        };
        wait_until(
            Duration::from_secs(30),
            "the tunnel carries 1420 octets",
            both_carry(a, b, 1420),
        )?;
        let stream = Stream::start(a, b)?;
        stream.flows(Duration::from_secs(20))?;
        ensure!(passes(a, b, 1420)?);

        let set = |mtu: u16| {
            let line = format!("ip link set dev eth0 mtu {mtu}");
            mesh.members
                .iter()
                .try_for_each(|m| m.host.netns.run(&line).map(drop))
        };
        set(1280)?;
        wait_until(
            Duration::from_secs(15),
            "both ends fall back",
            both_carry(a, b, 1280),
        )?;
        ensure!(!passes(a, b, 1420)? && !passes(b, a, 1420)?, "Packet Too Big");
        ensure!(passes(a, b, 1280)? && passes(b, a, 1280)?, "what always passes");
        let route = a.host.netns.run(&format!("ip -6 route get {}", b.enrolled))?;
        ensure!(route.contains("mtu 1280"), "the kernel was told: {route}");
        stream.flows(Duration::from_secs(20))?;

        set(1500)?;
        wait_until(
            Duration::from_secs(15),
            "both ends use it when it is wide again",
            both_carry(a, b, 1420),
        )?;
        stream.flows(Duration::from_secs(20))?;
        anyhow::Ok(())
    })
}

/// Somebody on the way drops what is long, and tells nobody: neither fragments nor errors come.
#[test]
fn a_black_hole_under_a_stream_is_found() -> osier_lab::Result<()> {
    Lab::run("hole", |lab| {
        let internet = Internet::new(lab)?;
        // Trains look long to the router of this laboratory, which sees them whole.
        let mesh = mesh(lab, &internet, &["a", "b"], &["--no-offload"])?;
        let [a, b] = &mesh.members[..] else {
            anyhow::bail!("two members")
        };
        wait_until(
            Duration::from_secs(30),
            "the tunnel carries 1420 octets",
            both_carry(a, b, 1420),
        )?;
        let stream = Stream::start(a, b)?;
        stream.flows(Duration::from_secs(20))?;
        // 1400 octets inside are 1460 outside.
        internet.swallow_longer(1460)?;
        wait_until(Duration::from_secs(15), "the sender falls back", || {
            tunnel_mtu(a, b) == Some(1400)
        })?;
        stream.flows(Duration::from_secs(30))?;
        anyhow::Ok(())
    })
}
