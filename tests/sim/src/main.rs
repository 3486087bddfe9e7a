//! `osier-sim`: explores random lives of a mesh, as long as it is told to.

use anyhow::{Context as _, bail};
use clap::Parser;
use core::time::Duration;
use osier_sim::{breakdown, drill, leaf, soak::Soak};
use std::io::Write as _;

/// Simulates a mesh under deaths, restarts, cuts and partitions, and fails if it does not heal in time or a
/// routing loop appears. The same nodes and seed repeat a run exactly.
#[derive(Debug, Parser)]
struct Arguments {
    /// Hosts at the beginning.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(3..=2000))]
    nodes: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Instead: so many silent deaths of the busiest relay, each followed by its return, while 60 pairs ping.
    /// Prints outages, and what control traffic consists of.
    #[arg(long, value_name = "KILLS")]
    drill: Option<usize>,
    /// With --drill: pairs that ping each other.
    #[arg(long, default_value_t = 60, requires = "drill")]
    pairs: usize,
    /// Instead: one of the nodes is an idle leaf behind a NAT, as a phone. Prints what it sends and receives a day
    /// and how often it wakes, counted for --minutes and scaled; fails above 1 MB a day or one wake-up a minute.
    #[arg(long, conflicts_with = "drill")]
    leaf: bool,
}

/// What an idle leaf may cost.
const OCTETS_A_DAY: f64 = 1e6;
const WAKEUPS_A_MINUTE: f64 = 1.0;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    if let Some(kills) = arguments.drill {
        return run_drill(&arguments, kills, &mut out);
    }
    if arguments.leaf {
        return run_leaf(&arguments, &mut out);
    }
    let began = std::time::Instant::now();
    let mut soak = Soak::new(arguments.nodes as usize, arguments.seed);
    soak.begin();
    let end = soak.world.now() + Duration::from_secs(60 * arguments.minutes);
    while soak.world.now() < end {
        let what = soak.blow();
        let running = soak.world.running().len();
        let seconds = soak.world.now().as_micros() / 1_000_000;
        writeln!(out, "{seconds:>6} s  {running:>4} running  {what}")
            .context("cannot write to the terminal")?;
        for failure in &soak.summary.failures {
            writeln!(out, "FAILED: {failure}")?;
        }
        if !soak.summary.failures.is_empty() {
            bail!(
                "an invariant broke; repeat it with --nodes {} --seed {} --minutes {}",
                arguments.nodes,
                arguments.seed,
                arguments.minutes
            );
        }
    }
    let summary = &soak.summary;
    writeln!(
        out,
        "{} blows healed: worst {:.2?}, mean {:.2?}; {} events in {:.1?}; trace {}",
        summary.blows,
        summary.worst,
        summary.total / u32::try_from(summary.blows.max(1)).unwrap_or(u32::MAX),
        soak.world.events(),
        began.elapsed(),
        soak.world.trace_hash(),
    )?;
    Ok(())
}

fn run_drill(arguments: &Arguments, kills: usize, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let nodes = arguments.nodes as usize;
    let outcome = drill::run(&drill::Plan {
        nodes,
        pairs: arguments.pairs,
        kills,
        seed: arguments.seed,
    });
    for (when, spent) in [
        ("Idle", &outcome.idle),
        ("Calm: the pairs ping, nobody dies", &outcome.calm),
        ("Drill: deaths and returns", &outcome.drill),
    ] {
        let parts = &spent.breakdown.parts;
        writeln!(out, "{}", breakdown::table(when, parts, spent.seconds, nodes))?;
        let datagrams = &spent.breakdown.datagrams;
        writeln!(
            out,
            "{}",
            breakdown::table("  by datagram, with all headers", datagrams, spent.seconds, nodes)
        )?;
    }
    writeln!(
        out,
        "{} deaths, {} pairs hit: outage p50 {:.2?}, p95 {:.2?}, longest {:.2?}",
        kills,
        outcome.outages.len(),
        outcome.percentile(0.5),
        outcome.percentile(0.95),
        outcome.percentile(1.0),
    )?;
    writeln!(
        out,
        "control traffic sent per host, octets/s: idle {:.0} (most {:.0}), calm {:.0} ({:.0}), \
         drill {:.0} ({:.0}) with a death every {:.1} s; tunnels per host {:.1}, in the end {:.1}",
        outcome.idle.mean,
        outcome.idle.most,
        outcome.calm.mean,
        outcome.calm.most,
        outcome.drill.mean,
        outcome.drill.most,
        outcome.drill.seconds / kills.max(1) as f64,
        outcome.tunnels.0,
        outcome.tunnels.1,
    )?;
    if let Some(violation) = outcome.violations.first() {
        bail!("an invariant broke: {violation}");
    }
    Ok(())
}

fn run_leaf(arguments: &Arguments, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let outcome = leaf::run(&leaf::Plan {
        nodes: arguments.nodes as usize,
        seed: arguments.seed,
        window: Duration::from_secs(60 * arguments.minutes.max(1)),
        ..leaf::Plan::default()
    });
    let (octets, wakeups) = (outcome.octets_a_day(), outcome.wakeups_a_minute());
    writeln!(out, "{}", leaf::table(&outcome))?;
    writeln!(
        out,
        "an idle leaf among {} nodes: {octets:.0} octets a day, {wakeups:.2} wake-ups a minute; {} tunnels; an echo \
         from afar afterwards: {}",
        arguments.nodes,
        outcome.tunnels,
        outcome
            .answered
            .map_or("no answer".to_owned(), |took| format!("{took:.0?}")),
    )?;
    if let Some(violation) = outcome.violations.first() {
        bail!("an invariant broke: {violation}");
    }
    if octets > OCTETS_A_DAY || wakeups > WAKEUPS_A_MINUTE || outcome.answered.is_none() {
        bail!("the leaf exceeds its budget");
    }
    Ok(())
}
