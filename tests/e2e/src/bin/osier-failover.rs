//! `make bench`: silent deaths of relays between many nodes, beside babeld on the same graph in the same run.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{Table, presets};
use osier_e2e::{
    failover::{self, Outcome, Plan, babeld::Babeld, mesh::Mesh},
    internet::Internet,
};
use osier_lab::Lab;
use std::path::PathBuf;

#[derive(Parser)]
#[command(
    about = "Kills relays silently in a mesh of osier nodes and in one of babeld, and measures the outages."
)]
struct Arguments {
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..=200))]
    nodes: u16,
    /// Pairs that ping each other, 20 times a second.
    #[arg(long, default_value_t = 60)]
    pairs: usize,
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    kills: u16,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave babeld out.
    #[arg(long)]
    alone: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Write a picture of the outages (SVG).
    #[arg(long)]
    plot: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    osier_lab::enter();
    let plan = Plan {
        nodes: arguments.nodes.into(),
        pairs: arguments.pairs,
        kills: arguments.kills.into(),
        seed: arguments.seed,
    };
    let (first, edges) = {
        let lab = Lab::new("failover")?;
        let internet = Internet::new(&lab)?;
        let mut mesh = Mesh::start(&internet, plan.nodes)?;
        let first = failover::run(&plan, &mut mesh, None, &say)?;
        (first, mesh.edges()?)
    };
    let mut outcomes = vec![first];
    if !arguments.alone {
        let lab = Lab::new("babeld")?;
        let victims: Vec<usize> = outcomes[0].deaths.iter().map(|d| d.victim).collect();
        let mut peer = Babeld::start(&lab, plan.nodes, &edges)?;
        outcomes.push(failover::run(&plan, &mut peer, Some(&victims), &say)?);
    }
    if let Some(path) = &arguments.plot {
        let title = format!(
            "Traffic back after the silent death of a relay, {} nodes",
            plan.nodes
        );
        std::fs::write(path, failover::svg(&title, &outcomes))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    show(&outcomes, edges.len(), arguments.json)
}

#[allow(clippy::print_stderr)] // progress
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)] // this program's output
fn show(outcomes: &[Outcome], edges: usize, json: bool) -> Result<()> {
    if json {
        let rows: Vec<_> = outcomes
            .iter()
            .map(|o| {
                let finite = |seconds: f64| seconds.is_finite().then_some(seconds);
                serde_json::json!({
                    "name": o.name,
                    "p50_s": finite(o.percentile(0.5)),
                    "p95_s": finite(o.percentile(0.95)),
                    "max_s": finite(o.percentile(1.0)),
                    "control_octets_per_s": { "calm": o.calm, "drill": o.drill },
                    "deaths": o.deaths,
                })
            })
            .collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "edges": edges, "runs": rows }))?
        );
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "silent death of a relay",
        "deaths",
        "pairs hit",
        "outage p50",
        "p95",
        "longest",
        "control traffic sent per node, B/s: nobody dies",
        "a death now and then",
    ]);
    for o in outcomes {
        let seconds = |part| format!("{:.2} s", o.percentile(part));
        let rate = |(mean, most): (f64, f64)| format!("{mean:.0} (most {most:.0})");
        table.add_row([
            o.name.to_owned(),
            o.deaths.len().to_string(),
            o.outages().len().to_string(),
            seconds(0.5),
            seconds(0.95),
            seconds(1.0),
            rate(o.calm.sent),
            rate(o.drill.sent),
        ]);
    }
    println!("{table}");
    println!(
        "{edges} links; pings 20 a second per pair; control is everything else on the wire, with IP headers"
    );
    Ok(())
}
