//! Real TUN devices with and without offload: what goes in at one end comes out at the other, octet for octet.

use anyhow::{Context, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry, output},
};
use osier_lab::{Lab, wait_until};
use std::{net::Ipv6Addr, time::Duration};

/// Answers on port 7000: TCP by what came with every octet inverted once the other end has stopped sending, and UDP
/// by each datagram as it came.
const SERVER: &str = r#"
import socket, threading
tcp = socket.create_server(("::", 7000), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 7000))
def echo():
    while True:
        data, peer = udp.recvfrom(65535)
        udp.sendto(data, peer)
threading.Thread(target=echo, daemon=True).start()
swap = bytes(255 - i for i in range(256))
while True:
    connection, _ = tcp.accept()
    data = bytearray()
    while part := connection.recv(1 << 20):
        data += part
    connection.sendall(data.translate(swap))
    connection.close()
"#;

/// Prints the hashes of what was sent and of what came back, put right; then how many datagrams came back as they
/// were.
const CLIENT: &str = r#"
import hashlib, os, socket, sys
address = sys.argv[1]
data = os.urandom(20_000_001)
swap = bytes(255 - i for i in range(256))
connection = socket.create_connection((address, 7000), timeout=20)
connection.sendall(data)
connection.shutdown(socket.SHUT_WR)
back = bytearray()
while part := connection.recv(1 << 20):
    back += part
print(hashlib.sha256(data).hexdigest())
print(hashlib.sha256(back.translate(swap)).hexdigest())
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.connect((address, 7000))
udp.settimeout(2)
good = 0
# Odd and even, empty, what just fits, and what must be fragmented; each a few times, as one may be lost.
for length in [0, 1, 2, 3, 7, 100, 777, 1231, 1232, 1233, 1500, 4001]:
    datagram = os.urandom(length)
    for attempt in range(5):
        udp.send(datagram)
        try:
            if udp.recv(65535) == datagram:
                good += 1
                break
        except TimeoutError:
            pass
# A burst that the kernel hands over at once (UDP_SEGMENT), where it can.
burst = os.urandom(40 * 1000)
try:
    udp.setsockopt(socket.SOL_UDP if hasattr(socket, "SOL_UDP") else 17, 103, 1000)
    for attempt in range(5):
        while True:
            try:
                udp.settimeout(0.01)
                udp.recv(65535)
            except TimeoutError:
                break
        udp.settimeout(2)
        udp.send(burst)
        back = []
        try:
            while len(back) < 40:
                back.append(udp.recv(65535))
        except TimeoutError:
            continue
        if b"".join(back) == burst:
            good += 1
            break
except OSError:
    good += 1
print(good)
"#;

fn exchange(from: &Member, address: Ipv6Addr) -> anyhow::Result<()> {
    let mut command = from.host.netns.command("python3");
    let text = output(command.args(["-c", CLIENT, &address.to_string()]))?;
    let lines: Vec<&str> = text.lines().collect();
    let [sent, back, datagrams] = lines[..] else {
        anyhow::bail!("the client printed {text:?}")
    };
    ensure!(sent == back, "TCP changed on the way");
    ensure!(
        datagrams == "13",
        "{datagrams} of 13 kinds of datagrams came back"
    );
    Ok(())
}

#[test]
fn ends_with_and_without_offload_understand_each_other() -> osier_lab::Result<()> {
    Lab::run("offload", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let invite = registry.invite(3)?;
        let ends: [(&str, &[&str]); 3] = [("on", &[]), ("off", &["--no-offload"]), ("also", &[])];
        let mut members = Vec::new();
        for (name, options) in ends {
            members.push(Member::join(lab, internet.host(name)?, &invite, options)?);
        }
        members.iter_mut().try_for_each(Member::up)?;
        let mut addresses = Vec::new();
        let mut servers = Vec::new();
        for member in &members {
            addresses.push(member.address()?);
            let mut command = member.host.netns.command("python3");
            command.args(["-c", SERVER]);
            servers.push(member.host.netns.spawn("echo", command)?);
        }
        for (member, wanted) in members.iter().zip([true, false, true]) {
            let offload = member.ask(&["status"])?["offload"].clone();
            for what in ["device", "socket"] {
                let used = offload[what].as_bool().context("status tells no offload")?;
                ensure!(used == wanted, "{}: {what} {used}", member.name);
            }
        }
        for (from, to) in [(0, 2), (0, 1), (1, 0)] {
            let there = addresses[to].to_string();
            wait_until(Duration::from_secs(20), "the tunnel is up", || {
                members[from].host.netns.ping(&there)
            })?;
            exchange(&members[from], addresses[to])?;
            ensure!(members[from].host.netns.ping(&there), "no ping afterwards");
        }
        for member in &members {
            let counters = member.ask(&["status"])?["counters"].clone();
            for name in ["deliver-errors", "drop-bad-offload"] {
                ensure!(counters[name] == 0, "{}: {name} {}", member.name, counters[name]);
            }
        }
        anyhow::Ok(())
    })
}
