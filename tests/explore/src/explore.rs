//! One case after the other.

use crate::case::{Case, Violation};
use crate::generate::generate;
use crate::observer::Tally;
use crate::random::mix;
use crate::run::run;

/// An exploration: as long as its owner asks for more.
#[derive(Debug)]
pub struct Exploration {
    seed: u64,
    pub cases: u64,
    pub events: u64,
    /// A digest of all packets so far.
    pub trace: u64,
    tally: Tally,
    worst_reached_us: u64,
    worst_shortest_us: u64,
}

/// The seed of the `index`th case.
pub fn case_seed(seed: u64, index: u64) -> u64 {
    // 53 bits: such a number survives any reader of JSON.
    mix(seed, index) >> 11
}

impl Exploration {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cases: 0,
            events: 0,
            trace: 0,
            tally: Tally::default(),
            worst_reached_us: 0,
            worst_shortest_us: 0,
        }
    }

    /// Plays the next case, and returns it when it violates something.
    pub fn next_case(&mut self) -> Option<(Case, Violation)> {
        let case = generate(case_seed(self.seed, self.cases));
        let outcome = run(&case);
        self.cases += 1;
        self.events += outcome.events;
        self.trace = mix(self.trace, outcome.trace);
        self.tally.add(&outcome.tally);
        if let Some(settled) = outcome.settled {
            self.worst_reached_us = self.worst_reached_us.max(settled.reached_us);
            self.worst_shortest_us = self.worst_shortest_us.max(settled.shortest_us);
        }
        outcome.violation.map(|violation| (case, violation))
    }

    pub fn summary(&self) -> String {
        let t = &self.tally;
        format!(
            "{} changes of routes, {} updates checked, {} seqnos raised; \
             after peace all reached within {:.0} s, shortest paths {:.0} s later\n\
             allowed by RFC 8966: {} passing loops of several origins, {} through a restarted node's former self, \
             {} of which a clock that stopped or leapt",
            t.selections,
            t.claims,
            t.seqnos_raised,
            self.worst_reached_us as f64 / 1e6,
            self.worst_shortest_us as f64 / 1e6,
            t.mixed_loops,
            t.former_self_loops,
            t.outslept,
        )
    }
}
