//! `make bench`: Osier beside wireguard-go, BoringTun, GotaTun, Yggdrasil, Nebula, tinc and OpenVPN with babeld.

use anyhow::{Context, Result, bail};
use clap::Parser;
use osier_peer_bench::{
    figures::Measure,
    install::Peers,
    measure::Crowd,
    report::{self, Findings},
    run::{Plan, Run},
    system::{self, BARE, System},
    topology::Wire,
};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

#[derive(Parser)]
#[command(about = "Measures Osier and its peers on the same wires in one run, one after the other in turn.")]
struct Arguments {
    /// Only these systems (the bare wire is always measured): a comma-separated list of names as in the tables
    #[arg(long, value_delimiter = ',')]
    systems: Vec<String>,
    /// Only these measures
    #[arg(long, value_enum, value_delimiter = ',')]
    measures: Vec<Measure>,
    /// How often each system is asked [default: 3; with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: Option<u16>,
    /// Length of each stream, in seconds [default: 2.5; with --quick 1.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// What the wires do [default: plain,tso; with --quick plain]
    #[arg(long, value_enum, value_delimiter = ',')]
    wire: Vec<Wire>,
    /// Nodes that start cold together
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..=100))]
    nodes: u16,
    /// Under 5 minutes instead of about 25: one repetition, short, plain wire only
    #[arg(long)]
    quick: bool,
    /// Directory that peers are built into [default: peers in the target directory]
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Build nothing; peers that are not there are reported as unavailable
    #[arg(long)]
    no_install: bool,
    /// Build all peers again, from their newest releases
    #[arg(long)]
    refresh: bool,
    /// Write everything to a file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw a picture
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let peers = Peers::new(arguments.peers()?);
    let plan = arguments.plan()?;
    if !osier_lab::inside() && !arguments.no_install {
        for system in &plan.systems {
            peers.install(system.name(), system.source(), arguments.refresh, &say)?;
        }
    }
    osier_lab::enter();
    let mut run = Run::new(&plan, &peers, &say);
    run.all()?;
    let findings = Findings {
        figures: &run.figures,
        systems: plan.systems.iter().map(|s| s.name()).collect(),
        versions: &run.versions,
        patience_s: plan.patience.as_secs_f64(),
    };
    show(&findings);
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &arguments.json {
        write(path, serde_json::to_string_pretty(&report::json(&findings))?)?;
    }
    if let Some(path) = &arguments.svg {
        write(path, report::svg(&findings))?;
    }
    Ok(())
}

impl Arguments {
    fn peers(&self) -> Result<PathBuf> {
        if let Some(path) = &self.peers {
            return Ok(std::path::absolute(path)?);
        }
        // The program lies in release/ or debug/ of the target directory.
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(2).context("this program lies nowhere")?;
        Ok(target.join("peers"))
    }

    fn plan(&self) -> Result<Plan> {
        let quick = self.quick;
        let seconds = self.seconds.unwrap_or(if quick { 1.5 } else { 2.5 });
        if !(0.2..=600.0).contains(&seconds) {
            bail!("--seconds must be from 0.2 to 600");
        }
        let wires: &[Wire] = if quick {
            &[Wire::Plain]
        } else {
            &[Wire::Plain, Wire::Tso]
        };
        let patience = Duration::from_secs(if quick { 30 } else { 75 });
        Ok(Plan {
            systems: self.chosen()?,
            measures: match self.measures.as_slice() {
                [] => <Measure as clap::ValueEnum>::value_variants()
                    .iter()
                    .copied()
                    .collect(),
                some => some.iter().copied().collect::<BTreeSet<_>>(),
            },
            wires: if self.wire.is_empty() {
                wires.to_vec()
            } else {
                self.wire.clone()
            },
            repetitions: self.repetitions.unwrap_or(if quick { 1 } else { 3 }).into(),
            length: Duration::from_secs_f64(seconds),
            trial: Duration::from_secs_f64((seconds / 7.0).clamp(0.1, 2.0)),
            idle: Duration::from_secs(if quick { 5 } else { 15 }),
            crowd: Crowd {
                nodes: self.nodes.into(),
                pairs: 60,
                seed: 1,
                limit: patience,
            },
            patience,
        })
    }

    fn chosen(&self) -> Result<Vec<&'static dyn System>> {
        let all = system::all();
        for name in &self.systems {
            if !all.iter().any(|s| s.name() == name) {
                let known: Vec<_> = all.iter().map(|s| s.name()).collect();
                bail!("no system is called {name:?}; there are: {}", known.join(", "));
            }
        }
        let wanted = |s: &&dyn System| {
            self.systems.is_empty() || s.name() == BARE || self.systems.iter().any(|n| n == s.name())
        };
        Ok(all.into_iter().filter(wanted).collect())
    }
}

#[allow(clippy::print_stderr)] // progress
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)] // this program's output
fn show(findings: &Findings<'_>) {
    println!("{}", report::tables(findings));
    for verdict in report::verdicts(findings) {
        println!("{verdict}");
    }
}
