//! `make bench`: one TCP stream through a tunnel, beside wireguard-go and the bare wire, in one run, interleaved.
//!
//! Figures are medians with [min..max]; compare the ratios, not the absolute figures of one machine.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{Table, presets};
use osier_e2e::{
    internet::{Host, Internet},
    mesh::{Member, Registry, output},
};
use osier_lab::{Lab, Process, wait_until};
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Measures one TCP stream between two hosts through Osier, wireguard-go and the bare wire.")]
struct Arguments {
    /// Rounds; each measures every contender once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// Something that carries packets from the first host to the second.
struct Contender {
    name: &'static str,
    address: String,
    processes: Vec<u32>,
    gigabits: Vec<f64>,
    cpu_per_gb: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    osier_lab::enter();
    let lab = Lab::new("bench")?;
    let internet = Internet::new(&lab)?;
    let registry = Registry::create(&internet)?;
    let invite = registry.invite(2)?;
    let mut members = Vec::new();
    for name in ["a", "b"] {
        members.push(Member::join(&lab, internet.host(name)?, &invite, &[])?);
    }
    members.iter_mut().try_for_each(Member::up)?;
    let there = members[1].address()?.to_string();
    let (a, b) = (&members[0].host, &members[1].host);
    wait_until(Duration::from_secs(20), "the tunnel is up", || {
        a.netns.ping(&there)
    })?;
    let peers = wireguard_go(&lab, a, b)?;

    let osier = members.iter().map(Member::id).collect::<Result<_>>()?;
    let contender = |name, address: &str, processes| Contender {
        name,
        address: address.to_owned(),
        processes,
        gigabits: Vec::new(),
        cpu_per_gb: Vec::new(),
    };
    let mut contenders = [
        contender("bare wire", &b.public.to_string(), Vec::new()),
        contender(
            "wireguard-go (Debian)",
            "fd99::2",
            peers.iter().map(Process::id).collect(),
        ),
        contender("osier", &there, osier),
    ];
    let mut server = b.netns.command(osier_lab::tool("iperf3", "iperf3")?);
    server.arg("-s");
    let _server = b.netns.spawn("iperf3", server)?;
    for contender in &contenders {
        let ready = || measure(a, &contender.address, 1).is_ok();
        wait_until(
            Duration::from_secs(20),
            &format!("{} carries packets", contender.name),
            ready,
        )?;
    }
    for _ in 0..arguments.rounds {
        for contender in &mut contenders {
            let before = cpu(&contender.processes)?;
            let octets = measure(a, &contender.address, arguments.seconds)?;
            let used = cpu(&contender.processes)? - before;
            contender
                .gigabits
                .push(octets * 8.0 / 1e9 / arguments.seconds as f64);
            contender.cpu_per_gb.push(used / (octets / 1e9));
        }
    }
    show(&contenders, arguments.json)
}

#[allow(clippy::print_stdout)] // this program's output
fn show(contenders: &[Contender], json: bool) -> Result<()> {
    if json {
        let rows: Vec<_> = contenders
            .iter()
            .map(
                |c| serde_json::json!({ "name": c.name, "gbit_s": c.gigabits, "cpu_s_per_gb": c.cpu_per_gb }),
            )
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let peer = contenders
        .iter()
        .find(|c| c.name.starts_with("wireguard-go"))
        .context("no peer")?;
    let (speed, effort) = (median(&peer.gigabits), median(&peer.cpu_per_gb));
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "one TCP stream",
        "Gbit/s",
        "to wireguard-go",
        "CPU s/GB, both ends",
        "to wireguard-go",
    ]);
    for c in contenders {
        let cpu = if c.processes.is_empty() {
            ["–".to_owned(), "–".to_owned()]
        } else {
            [
                spread(&c.cpu_per_gb),
                format!("{:.2}", median(&c.cpu_per_gb) / effort),
            ]
        };
        let [cpu, cpu_ratio] = cpu;
        let ratio = format!("{:.2}", median(&c.gigabits) / speed);
        table.add_row([c.name.to_owned(), spread(&c.gigabits), ratio, cpu, cpu_ratio]);
    }
    println!("{table}");
    Ok(())
}

/// Octets that arrived in `seconds`.
fn measure(from: &Host, to: &str, seconds: u64) -> Result<f64> {
    let mut command = from.netns.command(osier_lab::tool("iperf3", "iperf3")?);
    command.args([
        "-J",
        "-c",
        to,
        "-t",
        &seconds.to_string(),
        "--connect-timeout",
        "3000",
    ]);
    let text = output(&mut command)?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    answer["end"]["sum_received"]["bytes"]
        .as_f64()
        .context("iperf3 gave no figure")
}

/// Seconds of processor time of all these processes so far.
fn cpu(processes: &[u32]) -> Result<f64> {
    let times = processes
        .iter()
        .map(|p| osier_e2e::mesh::cpu_of(*p).map(|d| d.as_secs_f64()));
    times.sum()
}

/// A tunnel between the two hosts by wireguard-go, on fd99::/64.
fn wireguard_go(lab: &Lab, a: &Host, b: &Host) -> Result<Vec<Process>> {
    let program = osier_lab::tool("wireguard-go", "wireguard-go")?;
    let wg = osier_lab::tool("wg", "wireguard-tools")?;
    let wg = wg.display();
    let mut processes = Vec::new();
    for (host, number) in [(a, 1), (b, 2)] {
        let mut command = host.netns.command(&program);
        command.args(["-f", "wg0"]);
        processes.push(host.netns.spawn("wireguard-go", command)?);
        let up = || host.netns.run("ip link show wg0").is_ok();
        wait_until(Duration::from_secs(10), "wireguard-go makes its device", up)?;
        let key = lab.directory().join(format!("wg{number}"));
        let key = key.display();
        host.netns.shell(&format!(
            "umask 077; {wg} genkey > {key}; {wg} pubkey < {key} > {key}.pub; \
             {wg} set wg0 listen-port 51999 private-key {key}"
        ))?;
        host.netns.address("wg0", &format!("fd99::{number}/64"))?;
        host.netns.run("ip link set dev wg0 up")?;
    }
    for (host, other, number) in [(a, b, 2), (b, a, 1)] {
        let key = lab.directory().join(format!("wg{number}.pub"));
        let (key, to) = (key.display(), std::net::SocketAddr::from((other.public, 51999)));
        host.netns.shell(&format!(
            "{wg} set wg0 peer $(cat {key}) endpoint {to} allowed-ips fd99::{number}/128"
        ))?;
    }
    Ok(processes)
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(0.0, f64::max);
    format!("{:.2} [{least:.2}..{most:.2}]", median(figures))
}
