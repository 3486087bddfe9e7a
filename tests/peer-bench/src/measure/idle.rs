//! What nodes cost that have nothing to do.

use super::Subject;
use crate::{
    figures::{IDLE_CPU, IDLE_PSS, Sample},
    usage,
};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Handshakes and the like are over after this.
const SETTLE: Duration = Duration::from_secs(4);

/// All networks at once, as none of them does anything; figures per node, in the order of `subjects`.
pub fn idle(subjects: &[&Subject<'_>], length: Duration) -> Vec<Result<Vec<Sample>>> {
    std::thread::sleep(SETTLE);
    let before: Vec<_> = subjects.iter().map(|s| used(s)).collect();
    let start = Instant::now();
    std::thread::sleep(length);
    let seconds = start.elapsed().as_secs_f64();
    let both = subjects.iter().zip(before);
    both.map(|(subject, before)| {
        let nodes = subject.sites.len() as f64;
        let spent = used(subject)? - before?;
        let memory = usage::memory(&all(subject))? as f64;
        Ok(vec![
            (&IDLE_CPU, 100.0 * spent / seconds / nodes),
            (&IDLE_PSS, memory / nodes / 1e6),
        ])
    })
    .collect()
}

fn used(subject: &Subject<'_>) -> Result<f64> {
    usage::processor_of_threads(&all(subject))
}

fn all(subject: &Subject<'_>) -> Vec<u32> {
    let nodes = 0..subject.sites.len();
    nodes.flat_map(|n| subject.network.processes(n)).collect()
}
