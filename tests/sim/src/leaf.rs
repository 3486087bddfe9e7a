//! A phone among many: a leaf behind a NAT that does nothing, and what doing nothing costs it.

use crate::{HostId, HostOptions, NatOptions, Options, World, meter::Meter};
use core::time::Duration;
use osier_proto::node::MeshParameters;

/// Hosts start this far apart; then the mesh has this long to come to rest.
const APART: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_secs(30);
const DAY: f64 = 86_400.0;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The leaf is one of them.
    pub nodes: usize,
    /// How the others choose neighbours.
    pub others: MeshParameters,
    /// Prefixes that each of the others announces besides its own.
    pub more_prefixes: u32,
    pub leaf: MeshParameters,
    pub seed: u64,
    /// The leaf comes when the mesh has come to rest; this long after it counting begins.
    pub rest: Duration,
    /// What is counted, and then scaled to a day.
    pub window: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 1000,
            others: MeshParameters::default(),
            more_prefixes: 0,
            leaf: MeshParameters::leaf(),
            seed: 1,
            rest: Duration::from_secs(180),
            window: Duration::from_secs(3600),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub seconds: f64,
    pub meter: Meter,
    /// Whether an echo from elsewhere in the mesh still reached the leaf afterwards, and how long it took.
    pub answered: Option<Duration>,
    pub tunnels: usize,
    /// That lead to others.
    pub routes: usize,
    pub violations: Vec<String>,
}

impl Outcome {
    pub fn octets_a_day(&self) -> f64 {
        self.meter.octets() as f64 / self.seconds * DAY
    }

    pub fn wakeups_a_minute(&self) -> f64 {
        self.meter.wakeups as f64 / self.seconds * 60.0
    }
}

/// A mesh without the leaf, at rest, and the leaf, which has just been started.
pub fn begin(plan: &Plan) -> (World, Vec<HostId>, HostId) {
    let mut world = World::new(Options {
        seed: plan.seed,
        ..Options::default()
    });
    let options = HostOptions {
        mesh: plan.others.clone(),
        more_prefixes: plan.more_prefixes,
        ..HostOptions::default()
    };
    let others = world.add_hosts(plan.nodes.saturating_sub(1).max(1), &options);
    world.start_all(&others, APART);
    world.run_for(SETTLE);
    let leaf = world.add_host(HostOptions {
        nat: NatOptions::Restricted,
        mesh: plan.leaf.clone(),
        ..HostOptions::default()
    });
    world.start(leaf);
    (world, others, leaf)
}

/// Lets the leaf rest and counts.
pub fn run(plan: &Plan) -> Outcome {
    let (mut world, others, leaf) = begin(plan);
    world.run_for(plan.rest);
    world.measure(leaf);
    world.run_for(plan.window);
    let meter = world.meter(leaf).cloned().unwrap_or_default();
    let probe = world.probe(others[others.len() / 2], leaf);
    world.run_for(Duration::from_secs(5));
    let probe = &world.probes[&probe];
    Outcome {
        seconds: plan.window.as_secs_f64(),
        meter,
        answered: probe.answered.map(|at| at.saturating_since(probe.sent)),
        routes: world
            .host(leaf)
            .node()
            .map_or(0, |n| n.status(world.now()).routes),
        tunnels: world.host(leaf).snapshot().tunnels.len(),
        violations: core::mem::take(&mut world.violations),
    }
}

/// For people: what costs most first, scaled to a day.
pub fn table(outcome: &Outcome) -> String {
    use core::fmt::Write;
    let a_day = |number: u64| number as f64 / outcome.seconds * DAY;
    let mut text = String::new();
    for (title, direction) in [
        ("sent", &outcome.meter.sent),
        ("received", &outcome.meter.received),
    ] {
        let mut rows: Vec<_> = direction.datagrams.iter().collect();
        rows.sort_by_key(|(_, count)| core::cmp::Reverse(count.octets));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{title}, by datagram with all headers\n  octets/day  number/day"
        );
        for (name, count) in rows {
            let (octets, number) = (a_day(count.octets), a_day(count.number));
            let _ = writeln!(text, "{octets:>12.0}{number:>12.1}  {name}");
        }
    }
    let _ = writeln!(text, "wake-ups a day, by what began them");
    for (cause, number) in &outcome.meter.causes {
        let _ = writeln!(text, "{:>12.1}  {cause}", a_day(*number));
    }
    text
}
