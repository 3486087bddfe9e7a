//! Many nodes from cold start until random pairs of them have reached each other.

use crate::{
    figures::{COLD, COLD_CPU, COLD_PSS, Sample},
    install::Programs,
    system::{System, ends, sites},
    topology::{Topology, random, random_links},
    usage,
};
use anyhow::Result;
use osier_e2e::prober::{Pair, Prober};
use osier_lab::{Lab, wait_until};
use std::time::Duration;

/// How many, and how they are linked where links are written down.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub nodes: usize,
    pub pairs: usize,
    pub seed: u64,
    /// What takes longer has no end.
    pub limit: Duration,
}

const PING: Duration = Duration::from_millis(100);
/// Links of a node to earlier ones, and nodes that all others know.
const LINKS: usize = 3;

pub fn cold(system: &dyn System, programs: &Programs, crowd: &Crowd) -> Result<Vec<Sample>> {
    let lab = Lab::new("cold")?;
    let links = random_links(crowd.nodes, LINKS, crowd.seed);
    let relays = (0..LINKS.min(crowd.nodes)).collect();
    let topology = Topology::star(&lab, crowd.nodes, links, relays)?;
    let mut network = system.configure(programs, &topology)?;
    let pairs = draw(crowd);
    let prober = Prober::start(ends(&sites(&topology, &*network)))?;
    prober.watch(pairs.clone(), PING)?;
    let start = prober.now();
    network.up()?;
    // Looked at seldom: a report is a copy of everything, and the nodes need the processors.
    let mut answered = None;
    let all = || {
        std::thread::sleep(Duration::from_millis(200));
        answered = prober.report().ok().and_then(|report| {
            let each = pairs.iter().map(|p| report.first_answer(*p, start));
            each.collect::<Option<Vec<_>>>()?.into_iter().max()
        });
        answered.is_some()
    };
    let in_time = wait_until(crowd.limit, "all pairs have answered", all);
    let seconds = match (in_time, answered) {
        (Ok(_), Some(answered)) => (answered - start).as_secs_f64(),
        _ => f64::INFINITY,
    };
    let processes: Vec<u32> = (0..crowd.nodes).flat_map(|n| network.processes(n)).collect();
    Ok(vec![
        (&COLD, seconds),
        // Ticks of 10 ms would lose most of what a small process used.
        (&COLD_CPU, usage::processor_of_threads(&processes)?),
        (
            &COLD_PSS,
            usage::memory(&processes)? as f64 / crowd.nodes as f64 / 1e6,
        ),
    ])
}

fn draw(crowd: &Crowd) -> Vec<Pair> {
    let (mut pairs, mut state) = (Vec::new(), crowd.seed | 1);
    let most = crowd.nodes * (crowd.nodes - 1);
    while pairs.len() < crowd.pairs.min(most) {
        let mut node = || (random(&mut state) % crowd.nodes as u64) as usize;
        let pair = (node(), node());
        if pair.0 != pair.1 && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_different_and_repeat_with_the_seed() {
        let crowd = Crowd {
            nodes: 30,
            pairs: 60,
            seed: 3,
            limit: Duration::ZERO,
        };
        assert_eq!(draw(&crowd).len(), 60);
        assert_eq!(draw(&crowd), draw(&crowd));
        let few = Crowd {
            nodes: 2,
            pairs: 60,
            ..crowd
        };
        assert_eq!(draw(&few).len(), 2);
    }
}
