//! One run: every repetition asks every system in turn, so that what the machine does besides hits all alike.

use crate::{
    figures::{Figures, Measure, RTT, RTT_ADDED, Sample},
    install::{Peers, Programs},
    measure::{self, Crowd, Subject},
    system::{BARE, System},
    topology::{Topology, Wire},
};
use anyhow::Result;
use osier_lab::Lab;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What to do.
pub struct Plan {
    pub systems: Vec<&'static dyn System>,
    pub measures: BTreeSet<Measure>,
    pub wires: Vec<Wire>,
    pub repetitions: usize,
    /// Of each stream.
    pub length: Duration,
    /// Of each trial rate of UDP.
    pub trial: Duration,
    pub idle: Duration,
    pub crowd: Crowd,
    /// An outage that lasts longer counts as endless; so does a start.
    pub patience: Duration,
}

/// Name of the row of the cipher alone.
pub const CIPHER: &str = "ring";

/// How long a system may take until its first packet gets through.
const START: Duration = Duration::from_secs(40);
/// Measures on two wired nodes, in the order in which they are taken.
const PAIR: [Measure; 4] = [Measure::Rtt, Measure::Tcp1, Measure::Tcp4, Measure::Udp];
/// What depends on the wire's offloads; everything else is measured on the first wire alone.
const BY_WIRE: [Measure; 3] = [Measure::Tcp1, Measure::Tcp4, Measure::Relay];

/// A system that is there.
struct Ready {
    system: &'static dyn System,
    programs: Programs,
}

pub struct Run<'p> {
    plan: &'p Plan,
    say: &'p (dyn Fn(&str) + Sync),
    begun: Instant,
    ready: Vec<Ready>,
    pub figures: Figures,
    /// By system.
    pub versions: BTreeMap<&'static str, String>,
}

impl<'p> Run<'p> {
    /// Looks for the systems' programs.
    pub fn new(plan: &'p Plan, peers: &Peers, say: &'p (dyn Fn(&str) + Sync)) -> Self {
        let mut run = Self {
            plan,
            say,
            begun: Instant::now(),
            ready: Vec::new(),
            figures: Figures::default(),
            versions: BTreeMap::new(),
        };
        for &system in &plan.systems {
            let name = system.name();
            match peers.find(name, system.source()) {
                Ok(programs) => {
                    run.versions.insert(name, programs.version.clone());
                    run.ready.push(Ready { system, programs });
                }
                Err(error) => run.figures.fail(name, None, &error),
            }
        }
        run
    }

    pub fn all(&mut self) -> Result<()> {
        if self.wants(Measure::Cipher) {
            self.cipher()?;
        }
        for (number, &wire) in self.plan.wires.iter().enumerate() {
            let wanted = |m: &Measure| self.wants(*m) && (number == 0 || BY_WIRE.contains(m));
            let pair: Vec<Measure> = PAIR.into_iter().filter(wanted).collect();
            let idle = number == 0 && self.wants(Measure::Idle);
            if idle || !pair.is_empty() {
                self.wired(2, wire, idle, &pair)?;
            }
            if self.wants(Measure::Relay) {
                self.wired(3, wire, false, &[Measure::Relay])?;
            }
        }
        if self.wants(Measure::Cold) {
            self.cold();
        }
        self.outages();
        Ok(())
    }

    fn wants(&self, measure: Measure) -> bool {
        self.plan.measures.contains(&measure)
    }

    fn progress(&self, text: &str) {
        let seconds = self.begun.elapsed().as_secs();
        (self.say)(&format!("{:>3}:{:02} {text}", seconds / 60, seconds % 60));
    }

    fn keep(&mut self, system: &'static str, wire: Wire, measure: Measure, result: Result<Vec<Sample>>) {
        match result {
            Ok(samples) => {
                let shown: Vec<String> = samples
                    .iter()
                    .map(|(metric, value)| format!("{value:.*} {}", metric.digits, metric.title))
                    .collect();
                self.progress(&format!("{}, {system}: {}", measure.title(), shown.join("; ")));
                self.figures.add(system, wire, samples);
            }
            Err(error) => {
                self.progress(&format!("{}, {system}: {error:#}", measure.title()));
                self.figures.fail(system, Some(measure), &error);
            }
        }
    }

    fn cipher(&mut self) -> Result<()> {
        for _ in 0..self.plan.repetitions {
            let samples = measure::cipher(self.plan.length / 4)?;
            self.keep(CIPHER, self.plan.wires[0], Measure::Cipher, Ok(samples));
        }
        Ok(())
    }

    /// `hosts` in a row for each system, all of them running; measured one at a time.
    fn wired(&mut self, hosts: usize, wire: Wire, idle: bool, measures: &[Measure]) -> Result<()> {
        self.progress(&format!("starting all systems on {hosts} hosts, {wire:?} wire"));
        let concerned: Vec<Measure> = measures
            .iter()
            .copied()
            .chain(idle.then_some(Measure::Idle))
            .collect();
        let labs = self.ready.iter().map(|_| Lab::new("wired"));
        let labs = labs.collect::<osier_lab::Result<Vec<_>>>()?;
        let topologies = labs.iter().map(|lab| Topology::line(lab, hosts, wire));
        let topologies = topologies.collect::<Result<Vec<_>>>()?;
        // All are started before any is waited for.
        let started: Vec<_> = self
            .ready
            .iter()
            .zip(&topologies)
            .map(|(ready, topology)| {
                let network = ready.system.configure(&ready.programs, topology);
                (
                    ready.system.name(),
                    network.and_then(|n| Subject::start(topology, n)),
                )
            })
            .collect();
        let mut subjects: Vec<(&'static str, Subject<'_>)> = Vec::new();
        for (name, started) in started {
            match started.and_then(|s| s.ready(START).map(|()| s)) {
                Ok(subject) => subjects.push((name, subject)),
                Err(error) => {
                    (self.say)(&format!("{name} does not start: {error:#}"));
                    for measure in &concerned {
                        self.figures.fail(name, Some(*measure), &error);
                    }
                }
            }
        }
        if idle {
            let systems: Vec<_> = subjects.iter().filter(|(name, _)| *name != BARE).collect();
            let running: Vec<&Subject<'_>> = systems.iter().map(|(_, s)| s).collect();
            let results = measure::idle(&running, self.plan.idle);
            let names: Vec<_> = systems.iter().map(|(name, _)| *name).collect();
            for (name, result) in names.into_iter().zip(results) {
                self.keep(name, wire, Measure::Idle, result);
            }
        }
        for repetition in 0..self.plan.repetitions {
            for &measure in measures {
                // Another one begins each time.
                let start = repetition % subjects.len().max(1);
                let order = (start..subjects.len()).chain(0..start);
                let mut rtts = BTreeMap::new();
                for (name, subject) in order.map(|i| &subjects[i]) {
                    let result = self.measure(subject, measure);
                    if let Ok([(_, microseconds)]) = result.as_deref() {
                        rtts.insert(*name, *microseconds);
                    }
                    self.keep(name, wire, measure, result);
                }
                if let (Measure::Rtt, Some(bare)) = (measure, rtts.get(BARE)) {
                    for (name, rtt) in rtts.iter().filter(|(name, _)| **name != BARE) {
                        self.figures.add(name, wire, vec![(&RTT_ADDED, rtt - bare)]);
                    }
                }
            }
        }
        Ok(())
    }

    fn measure(&self, subject: &Subject<'_>, measure: Measure) -> Result<Vec<Sample>> {
        match measure {
            Measure::Tcp1 => measure::direct(subject, 1, self.plan.length),
            Measure::Tcp4 => measure::direct(subject, 4, self.plan.length),
            Measure::Relay => measure::relayed(subject, self.plan.length),
            Measure::Udp => measure::udp(subject, self.plan.trial),
            Measure::Rtt => Ok(vec![(&RTT, measure::rtt(subject, Duration::from_secs(1))?)]),
            other => anyhow::bail!("{other:?} is not measured on wires"),
        }
    }

    fn cold(&mut self) {
        let wire = self.plan.wires[0];
        for _ in 0..self.plan.repetitions {
            for number in 0..self.ready.len() {
                let ready = &self.ready[number];
                if !ready.system.scales() {
                    continue;
                }
                let name = ready.system.name();
                let result = measure::cold(ready.system, &ready.programs, &self.plan.crowd);
                self.keep(name, wire, Measure::Cold, result);
            }
        }
    }

    /// All systems at once: they do little but wait.
    fn outages(&mut self) {
        type Drill = fn(&dyn System, &Programs, Duration) -> Result<Vec<Sample>>;
        let all: [(Measure, Drill); 2] = [
            (Measure::RelayDeath, measure::relay_death),
            (Measure::PathCut, measure::path_cut),
        ];
        let drills: Vec<_> = all.into_iter().filter(|(m, _)| self.wants(*m)).collect();
        if drills.is_empty() {
            return;
        }
        for _ in 0..self.plan.repetitions {
            self.progress("failing relays and paths of all meshes");
            let patience = self.plan.patience;
            let results: Vec<_> = std::thread::scope(|scope| {
                let meshes = self.ready.iter().filter(|r| r.system.is_mesh());
                let each = meshes.flat_map(|ready| drills.iter().map(move |drill| (ready, *drill)));
                let running: Vec<_> = each
                    .map(|(ready, (measure, drill))| {
                        let name = ready.system.name();
                        let work = move || drill(ready.system, &ready.programs, patience);
                        (name, measure, scope.spawn(work))
                    })
                    .collect();
                let ended = running.into_iter().map(|(name, measure, thread)| {
                    let result = thread
                        .join()
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("the drill panicked")));
                    (name, measure, result)
                });
                ended.collect()
            });
            for (name, measure, result) in results {
                self.keep(name, self.plan.wires[0], measure, result);
            }
        }
    }
}
