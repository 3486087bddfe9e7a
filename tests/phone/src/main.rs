//! `make bench`: what a node inside an app costs it. A process of the bindings alone, as an app would load them, joins a
//! mesh of real nodes, talks to many of them, and is then left in peace.

mod phone;
mod process;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use comfy_table::{Table, presets};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, Netns, wait_until};
use process::Figures;
use serde_json::json;
use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

#[derive(Parser)]
#[command(about = "Measures a process with the phones' bindings and nothing else in it.")]
struct Arguments {
    /// End-to-end sessions that it must hold
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=150))]
    sessions: u16,
    /// How long it is left in peace, in seconds
    #[arg(long, default_value_t = 120)]
    idle: u64,
    /// Write everything to a file
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// The measured process
    #[command(hide = true)]
    Phone { state: PathBuf },
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Those that become neighbours need no session.
const NEIGHBOURS: u16 = 12;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::Phone { state }) = &arguments.role {
        return phone::run(state);
    }
    osier_lab::enter();
    let lab = Lab::new("phone")?;
    let internet = Internet::new(&lab)?;
    let registry = Registry::create(&internet)?;
    let nodes = arguments.sessions + NEIGHBOURS;
    let invite = registry.invite(usize::from(nodes) + 1)?;
    let mut members = Vec::new();
    for number in 0..nodes {
        let host = internet.host(&format!("n{number}"))?;
        members.push(Member::join(&lab, host, &invite, &[])?);
    }
    members.iter_mut().try_for_each(Member::up)?;
    let addresses: Vec<Ipv6Addr> = members.iter().map(|member| member.enrolled).collect();
    let host = internet.host("phone")?.netns;
    say(&format!("{nodes} nodes run; the phone joins them"));

    let state = lab.directory().join("phone");
    std::fs::create_dir(&state)?;
    std::fs::write(phone::invite(&state), &invite)?;
    let mut command = host.command(std::env::current_exe()?);
    command.arg("phone").arg(&state);
    let mut process = host.spawn("phone", command)?;
    wait_until(PATIENCE, "the phone has its device", || {
        process.log().contains(phone::READY)
    })
    .with_context(|| process.log())?;
    let joined = Figures::of(process.id())?;

    reach(&host, &addresses).with_context(|| process.log())?;
    let talking = Figures::of(process.id())?;

    say(&format!(
        "it has talked to all; now it idles for {} s",
        arguments.idle
    ));
    let (before, started) = (packets(&host)?, Instant::now());
    thread::sleep(Duration::from_secs(arguments.idle));
    let idle = Figures::of(process.id())?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let sent = packets(&host)?;

    std::fs::write(phone::question(&state), "")?;
    process.wait(PATIENCE)?;
    let sessions = phone::sessions(&process.log()).with_context(|| process.log())?;
    ensure!(
        sessions >= u64::from(arguments.sessions),
        "there were {sessions} sessions only"
    );

    let per_minute = |count: u64| count as f64 / minutes;
    let wakes = per_minute(idle.wakes.saturating_sub(talking.wakes));
    let findings = json!({
        "sessions": sessions,
        "joined": joined.json(),
        "with_sessions": talking.json(),
        "idle": {
            "seconds": arguments.idle,
            "memory": idle.json(),
            "wakes_per_minute": wakes,
            "cpu_ms_per_minute": per_minute(idle.cpu.saturating_sub(talking.cpu).as_millis() as u64),
            "packets_per_minute": per_minute(sent.0 - before.0),
            "octets_per_minute": per_minute(sent.1 - before.1),
        },
    });
    show(
        &findings,
        sessions,
        &[
            ("joined", &joined),
            ("after talking to all", &talking),
            ("after idling", &idle),
        ],
    );
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{findings:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Pings everyone until each has answered.
fn reach(host: &Netns, addresses: &[Ipv6Addr]) -> Result<()> {
    let mut left: Vec<Ipv6Addr> = addresses.to_vec();
    wait_until(PATIENCE, "all answer the phone", || {
        left.retain(|address| !answers(host, *address));
        left.is_empty()
    })?;
    Ok(())
}

fn answers(host: &Netns, address: Ipv6Addr) -> bool {
    let mut command: Command = host.command("ping");
    command.args(["-6", "-c", "1", "-W", "1", &address.to_string()]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Packets and octets both ways on the phone's wire.
fn packets(host: &Netns) -> Result<(u64, u64)> {
    let text = host.run("ip -json -statistics link show dev eth0")?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let count = |way: &str, what: &str| value[0]["stats64"][way][what].as_u64().context("no counter");
    Ok((
        count("rx", "packets")? + count("tx", "packets")?,
        count("rx", "bytes")? + count("tx", "bytes")?,
    ))
}

#[allow(clippy::print_stderr)] // progress
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)] // this program's output
fn show(findings: &serde_json::Value, sessions: u64, moments: &[(&str, &Figures)]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["Process of the bindings", "RSS", "PSS", "own (private)"]);
    for (name, figures) in moments {
        let mib = |octets: u64| format!("{:.1} MiB", octets as f64 / 1_048_576.0);
        table.add_row([
            (*name).to_owned(),
            mib(figures.rss),
            mib(figures.pss),
            mib(figures.private),
        ]);
    }
    println!("A phone's node with {sessions} sessions\n{table}");
    let idle = &findings["idle"];
    let figure = |name: &str| idle[name].as_f64().unwrap_or_default();
    println!(
        "idle: {:.1} wake-ups, {:.1} packets, {:.0} octets and {:.1} ms of processor time a minute",
        figure("wakes_per_minute"),
        figure("packets_per_minute"),
        figure("octets_per_minute"),
        figure("cpu_ms_per_minute"),
    );
}

/// A file beside the state directory.
fn beside(state: &Path, name: &str) -> PathBuf {
    state.with_extension(name)
}
