//! `osier-babel-bench`: the figures on scale in docs/performance-babel.md.

#![allow(clippy::print_stdout)] // this program's output

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use osier_babel_bench::engine::{Cost, Engine};
use osier_babel_bench::feed::{Feed, Version};
use osier_babel_bench::memory::{self, Counting};
use osier_babel_bench::mesh::{Mesh, Plan};
use osier_babel_bench::process;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Debug, Parser)]
#[command(about = "Measures how far Osier's Babel scales.")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One speaker in this process, without sockets
    Engine(Size),
    /// A network of speakers in virtual time, until every node reaches every other by shortest paths
    Mesh {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Links of each node
        #[arg(long, default_value_t = 10)]
        degree: usize,
        /// Packets lost on each link, in percent
        #[arg(long, default_value_t = 0)]
        loss: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Size {
    /// Prefixes that every neighbour announces
    #[arg(long, default_value_t = 100_000)]
    prefixes: usize,
    #[arg(long, default_value_t = 10)]
    neighbours: usize,
    /// Times that all neighbours repeat their whole unchanged table
    #[arg(long, default_value_t = 3)]
    refreshes: usize,
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Engine(size) => engine(size),
        What::Mesh {
            nodes,
            degree,
            loss,
            seed,
        } => mesh(Plan {
            nodes,
            degree,
            loss,
            seed,
        }),
    }
}

fn engine(size: Size) -> Result<()> {
    let feed = Feed {
        prefixes: size.prefixes,
        neighbours: size.neighbours,
    };
    let mut engine = Engine::new(feed);
    println!(
        "the engine alone: {} prefixes from {} neighbours",
        feed.prefixes, feed.neighbours
    );
    let show = |what: &str, cost: Cost| {
        println!(
            "  {what:<8} {:.3} µs CPU per update, {:.3} allocations per update, {} route changes",
            cost.micros_per_update(),
            cost.allocations as f64 / cost.updates as f64,
            cost.changes,
        );
    };
    show("load", engine.dump(Version::First));
    println!(
        "  memory   {:.1} heap octets per route, {} routes",
        engine.octets_per_route(),
        engine.speaker.routes().count()
    );
    for _ in 0..size.refreshes {
        show("refresh", engine.dump(Version::First));
    }
    show("change", engine.dump(Version::Second));
    println!(
        "  memory   {:.1} heap octets per route",
        engine.octets_per_route()
    );
    Ok(())
}

fn mesh(plan: Plan) -> Result<()> {
    let began = Instant::now();
    let cpu = process::own_cpu();
    let mut mesh = Mesh::start(plan);
    println!(
        "a mesh of {} nodes with {} links, loss {} %",
        plan.nodes,
        mesh.links(),
        plan.loss
    );
    type Goal = (&'static str, fn(&mut Mesh) -> Option<Duration>);
    let goals: [Goal; 2] = [
        ("all reach all", |mesh| mesh.converge(Duration::from_secs(600))),
        ("all paths are shortest", |mesh| {
            mesh.settle(Duration::from_secs(3600))
        }),
    ];
    for (what, reach) in goals {
        let took = reach(&mut mesh).with_context(|| format!("not within the time: {what}"))?;
        let (packets, octets) = mesh.traffic();
        println!(
            "  {what} after {:.1} s more of virtual time; so far {:.1} s wall, {:.1} s CPU, {packets} packets, {} MB",
            took.as_secs_f64(),
            began.elapsed().as_secs_f64(),
            (process::own_cpu() - cpu).as_secs_f64(),
            octets / 1_000_000
        );
    }
    println!(
        "  {} routes in {} speakers; peak memory {} MB (heap {} MB)",
        mesh.routes(),
        plan.nodes,
        process::peak_rss("self")? / 1_000_000,
        memory::peak() / 1_000_000
    );
    Ok(())
}
