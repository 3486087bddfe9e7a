//! What a relay gets to know of the traffic that it carries: a known payload from end to end, looked for in
//! everything the relay sees, sends and remembers.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, Process, tool, wait_until};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

/// Octets of payload in one go; made of nothing but the marker.
const PAYLOAD: usize = 400_000;

/// Everything that passes the interfaces of a member, its TUN device included.
struct Capture {
    file: PathBuf,
    process: Process,
}

impl Capture {
    fn start(lab: &Lab, member: &Member) -> Result<Self> {
        let file = lab.directory().join(format!("{}.capture", member.name));
        // tcpdump cannot change its user in a user namespace. 3: every protocol.
        let script = format!(
            "import socket; s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n\
             s.setsockopt(socket.SOL_SOCKET,socket.SO_RCVBUF,1<<22); f=open('{}','wb',0); print('listening',flush=True)\n\
             while True: f.write(s.recv(1<<17))",
            file.display()
        );
        let mut command = member.host.netns.command(tool("python3", "python3")?);
        command.args(["-c", &script]);
        let process = member.host.netns.spawn("capture", command)?;
        wait_until(Duration::from_secs(10), "the capture begins", || {
            process.log().contains("listening")
        })
        .with_context(|| process.log())?;
        Ok(Self { file, process })
    }

    fn end(mut self) -> Result<Vec<u8>> {
        // What has passed is read within a moment: when the file no longer grows.
        let mut length = 0;
        wait_until(Duration::from_secs(10), "the capture has everything", || {
            let before = length;
            length = std::fs::metadata(&self.file).map_or(0, |m| m.len());
            length > 0 && length == before
        })?;
        self.process.kill();
        Ok(std::fs::read(self.file)?)
    }
}

fn count(haystack: &[u8], marker: &[u8]) -> usize {
    let mut windows = haystack.windows(marker.len());
    windows.by_ref().filter(|w| *w == marker).count()
}

/// How often the marker stands in what the process can read or write.
fn in_memory(process: u32, marker: &[u8]) -> Result<usize> {
    let folder = Path::new("/proc").join(process.to_string());
    let maps = std::fs::read_to_string(folder.join("maps"))?;
    let mut memory = File::open(folder.join("mem"))?;
    let (mut found, mut read) = (0, 0);
    for line in maps.lines().filter(|line| !line.contains("[v")) {
        let (range, rest) = line.split_once(' ').context("no such line")?;
        let (from, to) = range.split_once('-').context("no range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        if !rest.starts_with("rw") {
            continue;
        }
        let mut octets = vec![0; usize::try_from(to - from)?];
        memory.seek(SeekFrom::Start(from))?;
        // Guard pages and the like cannot be read.
        if memory.read_exact(&mut octets).is_ok() {
            read += octets.len();
            found += count(&octets, marker);
        }
    }
    ensure!(read > 1 << 20, "only {read} octets of the memory could be read");
    Ok(found)
}

/// Sends the payload over TCP from one member to another, which checks it.
fn transfer(from: &Member, to: &Member, marker: &str) -> Result<()> {
    let python = tool("python3", "python3")?;
    let times = PAYLOAD / marker.len();
    let address = to.address()?;
    let receive = "import socket; s=socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('::',7000)); s.listen(1); print('listening',flush=True); s.settimeout(30); c=s.accept()[0]; n=0\n\
         while True:\n d=c.recv(65536)\n if not d: break\n n+=len(d)\n\
         print('received',n,flush=True)";
    let mut command = to.host.netns.command(&python);
    command.args(["-c", receive]);
    let mut receiver = to.host.netns.spawn("receiver", command)?;
    wait_until(Duration::from_secs(10), "the receiver listens", || {
        receiver.log().contains("listening")
    })?;
    let send = format!(
        "import socket; s=socket.create_connection(('{address}',7000),timeout=20); s.sendall(b'{marker}'*{times}); s.close()"
    );
    let mut command = from.host.netns.command(&python);
    command.args(["-c", &send]);
    osier_e2e::mesh::output(&mut command)?;
    let all = format!("received {}", times * marker.len());
    wait_until(Duration::from_secs(20), "everything arrives", || {
        receiver.log().contains(&all)
    })
    .with_context(|| receiver.log())?;
    receiver.wait(Duration::from_secs(10))?;
    Ok(())
}

fn marker() -> Result<String> {
    let mut octets = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets.iter().map(|o| format!("{o:02x}")).collect())
}

fn ping(from: &Member, to: &Member) -> Result<bool> {
    let address = to.address()?.to_string();
    Ok(from.host.netns.ping(&address))
}

/// a - r - c: the ends are cut off from each other, and r relays.
#[test]
fn relay_cannot_read_what_it_carries() -> osier_lab::Result<()> {
    Lab::run("relaying", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let hosts = ["a", "r", "c"].map(|name| internet.host(name));
        let hosts = hosts.into_iter().collect::<Result<Vec<_>>>()?;
        let _cut = internet.cut(&hosts[0], &hosts[2])?;
        let invite = registry.invite(hosts.len())?;
        let mut members = Vec::new();
        for host in hosts {
            members.push(Member::join(lab, host, &invite, &[])?);
        }
        members.iter_mut().try_for_each(Member::up)?;
        let relayed = |m: &[Member]| {
            let via = |from: usize, to: usize| m[from].relay_to(&m[to].name).ok().flatten();
            via(0, 2).as_deref() == Some("r") && via(2, 0).as_deref() == Some("r")
        };
        wait_until(Duration::from_secs(30), "r relays between a and c", || {
            relayed(&members)
        })?;

        let captures = [
            Capture::start(lab, &members[1])?,
            Capture::start(lab, &members[2])?,
        ];
        let marker = marker()?;
        wait_until(Duration::from_secs(10), "a ping arrives", || {
            ping(&members[0], &members[2]).unwrap_or(false)
        })?;
        transfer(&members[0], &members[2], &marker)?;
        transfer(&members[2], &members[0], &marker)?;

        let session = &members[0].ask(&["sessions"])?[0];
        ensure!(session["name"] == "c" && session["via"] == "r", "{session}");
        ensure!(
            session["sent_octets"].as_u64() > Some(PAYLOAD as u64),
            "the transfer went another way: {session}"
        );
        ensure!(members[0].ask(&["status"])?["sessions"] == 1);
        ensure!(
            members[1].ask(&["sessions"])? == serde_json::json!([]),
            "the relay has no session of its own"
        );
        let peers = members[1].peers()?;
        let carried: u64 = peers.iter().filter_map(|p| p["sent_octets"].as_u64()).sum();
        ensure!(carried > 2 * PAYLOAD as u64, "r carried {carried} octets only");

        let [at_relay, at_end] = captures;
        let (at_relay, at_end) = (at_relay.end()?, at_end.end()?);
        ensure!(
            at_relay.len() > PAYLOAD,
            "r's capture is too short: {}",
            at_relay.len()
        );
        // The control experiment: the same detectors find the payload where it must be.
        let marker = marker.as_bytes();
        ensure!(count(&at_end, marker) > 1000, "the detector does not work");
        ensure!(in_memory(members[2].id()?, marker)? > 0, "nor the one in memory");
        ensure!(in_memory(members[0].id()?, marker)? > 0);
        ensure!(count(&at_relay, marker) == 0, "the payload passed r in the clear");
        ensure!(
            in_memory(members[1].id()?, marker)? == 0,
            "r has read the payload"
        );

        // One end starts anew: it has forgotten the session, and the other finds out.
        members[2].kill();
        members[2].up()?;
        members[2].address()?;
        wait_until(Duration::from_secs(20), "a reaches c again", || {
            ping(&members[0], &members[2]).unwrap_or(false)
        })?;
        // So does the relay: the session goes on.
        members[1].kill();
        members[1].up()?;
        wait_until(Duration::from_secs(20), "a reaches c through the new r", || {
            ping(&members[0], &members[2]).unwrap_or(false)
        })?;
        anyhow::Ok(())
    })
}
