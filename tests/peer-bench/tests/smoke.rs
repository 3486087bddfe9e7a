//! The bench itself, on Osier and the bare wire alone: every measure gives a figure. No figure is asserted.

use anyhow::{Context, Result, ensure};
use osier_lab::Lab;
use osier_peer_bench::{
    figures::{METRICS, Measure},
    install::Peers,
    measure::Crowd,
    report::{self, Findings},
    run::{CIPHER, Plan, Run},
    system::{self, BARE, OSIER, System},
    topology::Wire,
};
use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Nothing is built here.
fn peers() -> Peers {
    Peers::new(PathBuf::from("/nonexistent"))
}

fn plan(systems: Vec<&'static dyn System>, measures: &[Measure]) -> Plan {
    Plan {
        systems,
        measures: measures.iter().copied().collect(),
        // As it comes: needs no ethtool.
        wires: vec![Wire::Tso],
        repetitions: 1,
        length: Duration::from_secs(1),
        trial: Duration::from_millis(100),
        idle: Duration::from_secs(1),
        crowd: Crowd {
            nodes: 4,
            pairs: 6,
            seed: 1,
            limit: Duration::from_secs(60),
        },
        patience: Duration::from_secs(30),
    }
}

fn own() -> Vec<&'static dyn System> {
    let mut systems = system::all();
    systems.retain(|s| [OSIER, BARE].contains(&s.name()));
    systems
}

fn figures_of(measures: &[Measure]) -> Result<()> {
    let plan = plan(own(), measures);
    let said = Mutex::new(String::new());
    let say = |text: &str| {
        if let Ok(mut said) = said.lock() {
            *said += text;
            said.push('\n');
        }
    };
    let mut run = Run::new(&plan, &peers(), &say);
    run.all()?;
    let problems = run.figures.problems();
    ensure!(problems.is_empty(), "{problems:?}\n{said:?}");
    for metric in METRICS.iter().filter(|m| measures.contains(&m.measure)) {
        let system = if metric.measure == Measure::Cipher {
            CIPHER
        } else {
            OSIER
        };
        let figure = run.figures.of(metric, Wire::Tso, system);
        let figure = figure.with_context(|| format!("{} has no figure", metric.key))?;
        ensure!(!figure.median.is_nan(), "{} is no number", metric.key);
    }
    let findings = Findings {
        figures: &run.figures,
        systems: vec![OSIER, BARE],
        versions: &run.versions,
        patience_s: 30.0,
    };
    ensure!(report::tables(&findings).contains(measures[0].title()));
    ensure!(report::svg(&findings).ends_with("</svg>\n"));
    let json = report::json(&findings);
    ensure!(json["figures"].as_array().is_some_and(|rows| !rows.is_empty()));
    ensure!(json["versions"][OSIER].is_string());
    Ok(())
}

#[test]
fn two_and_three_nodes_on_wires_give_every_figure() -> osier_lab::Result<()> {
    Lab::run("smoke", |_| {
        figures_of(&[
            Measure::Cipher,
            Measure::Idle,
            Measure::Rtt,
            Measure::Tcp1,
            Measure::Tcp4,
            Measure::Udp,
            Measure::Relay,
        ])
    })
}

#[test]
fn nodes_on_an_internet_give_every_figure() -> osier_lab::Result<()> {
    Lab::run("smoke", |_| {
        figures_of(&[Measure::Cold, Measure::RelayDeath, Measure::PathCut])
    })
}

#[test]
fn peers_that_are_not_there_are_reported_and_cost_no_time() -> osier_lab::Result<()> {
    Lab::run("smoke", |_| {
        let mut systems = system::all();
        systems.retain(|s| [BARE, "wireguard-go", "yggdrasil"].contains(&s.name()));
        let plan = plan(systems, &[Measure::Rtt]);
        let begun = Instant::now();
        let mut run = Run::new(&plan, &peers(), &|_| ());
        run.all()?;
        ensure!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let findings = Findings {
            figures: &run.figures,
            systems: plan.systems.iter().map(|s| s.name()).collect(),
            versions: &run.versions,
            patience_s: 30.0,
        };
        let text = report::tables(&findings);
        for name in ["wireguard-go", "yggdrasil"] {
            let line = format!("unavailable: {name}, everything: it has not been built");
            ensure!(text.contains(&line), "{text}");
        }
        ensure!(report::verdicts(&findings).is_empty());
        anyhow::Ok(())
    })
}
