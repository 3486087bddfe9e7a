//! `osier-sim`: explores random lives of a mesh, as long as it is told to.

use anyhow::{Context as _, bail};
use clap::Parser;
use core::time::Duration;
use osier_sim::soak::Soak;
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
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
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
