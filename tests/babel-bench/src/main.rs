//! `osier-babel-bench`: the figures on scale in docs/performance-babel.md.

#![allow(clippy::print_stdout)] // this program's output

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use comfy_table::{Table, presets};
use osier_babel_bench::daemons::{Contest, Daemon, Phase};
use osier_babel_bench::engine::{Cost, Engine};
use osier_babel_bench::feed::{Feed, Version};
use osier_babel_bench::memory::{self, Counting};
use osier_babel_bench::mesh::{Mesh, Plan};
use osier_babel_bench::process;
use osier_lab::Lab;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Debug, Parser)]
#[command(about = "Measures how far Osier's Babel scales, beside babeld and BIRD fed the same packets.")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One speaker in this process, without sockets
    Engine(Size),
    /// `osier babel`, babeld and BIRD in namespaces, fed the same packets
    Daemons {
        #[command(flatten)]
        size: Size,
        /// Give up on a phase of a daemon after this many seconds, and print how far it came
        #[arg(long, default_value_t = 180)]
        patience: u64,
    },
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
        What::Daemons { size, patience } => daemons(size, Duration::from_secs(patience)),
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

/// One row per daemon: phases are run in turn, so that all meet the same noise.
fn daemons(size: Size, patience: Duration) -> Result<()> {
    osier_lab::enter();
    let feed = Feed {
        prefixes: size.prefixes,
        neighbours: size.neighbours,
    };
    println!(
        "{} prefixes from each of {} neighbours: {} routes; CPU with system time",
        feed.prefixes,
        feed.neighbours,
        feed.routes()
    );
    let lab = Lab::new("babel-bench")?;
    let mut contests = Vec::new();
    for daemon in Daemon::ALL {
        contests.push(Contest::start(&lab, daemon, feed, patience)?);
    }
    let mut rows: Vec<Vec<String>> = contests
        .iter()
        .map(|contest| vec![format!("{} ({})", contest.daemon.name(), contest.daemon.setup())])
        .collect();
    let whole = |phase: &Phase| phase.updates == feed.routes();
    let cell = |phase: &Phase| {
        let note = if whole(phase) {
            String::new()
        } else {
            format!(" after {} of {} updates", phase.updates, feed.routes())
        };
        format!("{:.3}{note}", phase.micros_per_update())
    };
    let mut all_loaded = Vec::new();
    for (contest, row) in contests.iter_mut().zip(&mut rows) {
        let phase = contest.dump(Version::First)?;
        row.push(cell(&phase));
        row.push(format!("{:.0}", contest.octets_per_route(phase.updates)?));
        all_loaded.push(whole(&phase));
    }
    let mut refreshes = vec![Vec::new(); contests.len()];
    for _ in 0..size.refreshes {
        for (contest, measured) in contests.iter_mut().zip(&mut refreshes) {
            measured.push(contest.dump(Version::First)?);
        }
    }
    for (row, measured) in rows.iter_mut().zip(&mut refreshes) {
        measured.sort_by(|a, b| a.micros_per_update().total_cmp(&b.micros_per_update()));
        row.push(measured.get(measured.len() / 2).map_or("-".into(), cell));
    }
    for ((contest, row), loaded) in contests.iter_mut().zip(&mut rows).zip(all_loaded) {
        row.push(cell(&contest.dump(Version::Second)?));
        row.push(format!("{:.0}", contest.octets_per_route(feed.routes())?));
        row.push(format!("{}", contest.pss()? / 1_000_000));
        row.push(match contest.count(&lab) {
            Some(count) => count.to_string(),
            None if loaded => "all updates read".into(),
            None => "-".into(),
        });
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "daemon",
        "load: µs CPU per update",
        "octets per route",
        "unchanged refresh: µs",
        "everything changes: µs",
        "octets per route",
        "PSS in MB",
        "routes held",
    ]);
    for row in rows {
        table.add_row(row);
    }
    println!("{table}");
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
