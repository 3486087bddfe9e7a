//! Silent deaths of relays, one after the other, each back soon after: how long traffic is out, and what it costs
//! in control traffic. The same drill that `osier-failover` runs with real nodes in real time.

use crate::{HostId, HostOptions, Options, World, breakdown::Breakdown, random::Random};
use core::time::Duration;
use osier_proto::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// 20 pings a second.
const PING: Duration = Duration::from_millis(50);
/// Pings run this long before a node dies, so that every link in use has been in use.
const WARM_UP: Duration = Duration::from_secs(4);
/// Control traffic is first measured while nothing dies, for this long.
const CALM: Duration = Duration::from_secs(20);
/// How long a death is watched, and how long it may take at most.
const WATCH: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// After a node has come back.
const REST: Duration = Duration::from_secs(6);
/// An answer that takes longer is none.
const LATEST: Duration = Duration::from_secs(2);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub nodes: usize,
    /// Pairs that ping each other.
    pub pairs: usize,
    pub kills: usize,
    pub seed: u64,
}

/// Control traffic sent during some time.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    pub seconds: f64,
    /// Octets a second: the mean of all nodes, and the node that sent most.
    pub mean: f64,
    pub most: f64,
    pub breakdown: Breakdown,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Of every pair whose way led through a victim, in order of length.
    pub outages: Vec<Duration>,
    /// Before the first death, without pings; while all pairs ping and nobody dies; from the first death to the
    /// last return.
    pub idle: Spent,
    pub calm: Spent,
    pub drill: Spent,
    /// Mean number of open tunnels of a node, before the first death and after the last.
    pub tunnels: (f64, f64),
    pub violations: Vec<String>,
}

impl Outcome {
    /// The shortest outage that at least this part (0 to 1) of all does not exceed; 0 without any.
    pub fn percentile(&self, part: f64) -> Duration {
        let rank = (part * self.outages.len() as f64).ceil().max(1.0) as usize;
        self.outages.get(rank - 1).copied().unwrap_or_default()
    }
}

type Pair = (HostId, HostId);

struct Drill {
    world: World,
    hosts: Vec<HostId>,
    pairs: Vec<Pair>,
}

struct Mark {
    at: Instant,
    control: Vec<u64>,
    breakdown: Breakdown,
}

/// Runs the drill.
pub fn run(plan: &Plan) -> Outcome {
    let options = Options {
        seed: plan.seed,
        ..Options::default()
    };
    let mut world = World::new(options);
    let hosts = world.add_hosts(plan.nodes, &HostOptions::default());
    world.start_all(&hosts, Duration::from_millis(20));
    world.run_for(Duration::from_secs(60));
    let pairs = draw_pairs(plan, &hosts);
    let mut drill = Drill { world, hosts, pairs };
    let mut outcome = Outcome::default();

    let mark = drill.mark();
    drill.world.run_for(Duration::from_secs(120));
    outcome.idle = drill.since(&mark);

    drill.ping_for(WARM_UP);
    let mark = drill.mark();
    drill.ping_for(CALM);
    outcome.calm = drill.since(&mark);
    outcome.tunnels.0 = drill.tunnels();

    let (mark, mut killed) = (drill.mark(), Vec::new());
    for _ in 0..plan.kills {
        let victim = drill.busiest(&killed);
        killed.push(victim);
        outcome.outages.extend(drill.death(victim));
        drill.world.start(victim);
        drill.ping_for(REST + WARM_UP);
    }
    outcome.drill = drill.since(&mark);
    outcome.tunnels.1 = drill.tunnels();
    outcome.outages.sort_unstable();
    outcome.violations = core::mem::take(&mut drill.world.violations);
    outcome
}

/// Different ordered pairs, drawn at random.
fn draw_pairs(plan: &Plan, hosts: &[HostId]) -> Vec<Pair> {
    let most = hosts.len() * hosts.len().saturating_sub(1);
    let mut random = Random::new(plan.seed, "drill");
    let mut pairs = BTreeSet::new();
    while pairs.len() < plan.pairs.min(most) {
        let mut draw = || hosts[random.below(hosts.len() as u64) as usize];
        let (a, b) = (draw(), draw());
        if a != b {
            pairs.insert((a, b));
        }
    }
    pairs.into_iter().collect()
}

impl Drill {
    fn mark(&self) -> Mark {
        Mark {
            at: self.world.now(),
            control: self
                .hosts
                .iter()
                .map(|&h| self.world.host(h).traffic().sent_control)
                .collect(),
            breakdown: self.world.breakdown.clone(),
        }
    }

    fn since(&self, earlier: &Mark) -> Spent {
        let now = self.mark();
        let seconds = now.at.saturating_since(earlier.at).as_secs_f64();
        let each = now.control.iter().zip(&earlier.control);
        let rates: Vec<f64> = each.map(|(now, then)| (now - then) as f64 / seconds).collect();
        Spent {
            seconds,
            mean: rates.iter().sum::<f64>() / rates.len().max(1) as f64,
            most: rates.iter().copied().fold(0.0, f64::max),
            breakdown: now.breakdown.since(&earlier.breakdown),
        }
    }

    fn tunnels(&self) -> f64 {
        let open = |h: &HostId| {
            let tunnels = &self.world.host(*h).snapshot().tunnels;
            tunnels.values().filter(|t| t.is_open()).count()
        };
        self.hosts.iter().map(open).sum::<usize>() as f64 / self.hosts.len().max(1) as f64
    }

    /// All pairs ping for so long.
    fn ping_for(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            for (from, to) in self.pairs.clone() {
                if self.world.host(from).is_running() {
                    self.world.probe(from, to);
                }
            }
            self.world.run_for(PING);
        }
        let now = self.world.now();
        let recent = |sent: Instant| now.saturating_since(sent) < PATIENCE * 2;
        self.world.probes.retain(|_, probe| recent(probe.sent));
    }

    /// Those whose pings or answers go through the host, and do not end there.
    fn carried(&self, host: HostId) -> Vec<Pair> {
        let passes = |from, to| self.world.path(from, to).is_ok_and(|path| path.contains(&host));
        let pairs = self.pairs.iter().copied();
        pairs
            .filter(|(a, b)| *a != host && *b != host && (passes(*a, *b) || passes(*b, *a)))
            .collect()
    }

    /// The host that carries most pairs, of those not killed in the last few rounds.
    fn busiest(&self, killed: &[HostId]) -> HostId {
        let recent = &killed[killed.len().saturating_sub(self.hosts.len() / 2)..];
        let candidates = self.hosts.iter().copied().filter(|h| !recent.contains(h));
        candidates
            .max_by_key(|h| self.carried(*h).len())
            .unwrap_or(self.hosts[0])
    }

    /// Kills a host; how long each pair was out whose way led through it.
    fn death(&mut self, victim: HostId) -> Vec<Duration> {
        let affected = self.carried(victim);
        self.world.kill(victim);
        let died = self.world.now();
        self.ping_for(WATCH);
        loop {
            let outages = self.outages(&affected, died);
            let watched = self.world.now().saturating_since(died);
            let quiet = outages.iter().all(|outage| *outage + LATEST <= watched);
            if quiet || watched >= PATIENCE {
                return outages;
            }
            self.ping_for(Duration::from_millis(500));
        }
    }

    /// From the death to the first ping after the last that was not answered.
    fn outages(&self, pairs: &[Pair], died: Instant) -> Vec<Duration> {
        let mut last: BTreeMap<Pair, Duration> = pairs.iter().map(|p| (*p, Duration::ZERO)).collect();
        let now = self.world.now();
        for probe in self.world.probes.values() {
            let answered = probe
                .answered
                .is_some_and(|at| at.saturating_since(probe.sent) < LATEST);
            // The newest may still be on their way.
            let is_pending = now.saturating_since(probe.sent) < Duration::from_millis(500);
            if probe.sent >= died
                && !answered
                && !is_pending
                && let Some(outage) = last.get_mut(&(probe.from, probe.to))
            {
                *outage = (*outage).max(probe.sent.saturating_since(died) + PING);
            }
        }
        last.into_values().collect()
    }
}
