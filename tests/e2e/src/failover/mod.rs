//! Silent deaths of relays, and how long the traffic that they carried is out: the same drill for a mesh of
//! `osier` nodes ([`mesh`]) and for babeld on wires that form the same graph ([`babeld`]).
//!
//! Pairs drawn at random ping each other all the time. Again and again the node that carries most of their
//! traffic is cut off without a word and killed; the outage of each pair whose way led through it is measured;
//! then it comes back. Pairs that end at the victim do not count. Meanwhile the bytes that are not pings are
//! counted on every node's line.

pub mod babeld;
pub mod mesh;
mod plot;

pub use plot::svg;

use crate::prober::{End, Outage, Pair, Prober};
use anyhow::{Context, Result};
use osier_lab::{Netns, wait_until};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// 20 pings a second.
pub const PING: Duration = Duration::from_millis(50);
/// Pings run this long before a node dies, so that every link in use has been in use.
const WARM_UP: Duration = Duration::from_secs(4);
/// Control traffic is first measured while nothing dies, for this long.
const CALM: Duration = Duration::from_secs(20);
/// The longest way looked at; ways are much shorter.
const MAX_HOPS: usize = 32;

/// What is done, to each contender alike.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub pairs: usize,
    pub kills: usize,
    pub seed: u64,
}

/// Routers that can be killed.
pub trait Contender {
    fn name(&self) -> &'static str;
    /// Whether a death counts as routed around: pings are watched for this long, and longer while pairs are out.
    fn patience(&self) -> (Duration, Duration);
    /// After a node has come back.
    fn rest(&self) -> Duration;
    fn ends(&self) -> Result<Vec<End>>;
    /// `[from][to]`: where packets go next.
    fn next_hops(&self) -> Result<Vec<Vec<Option<usize>>>>;
    /// From now on nothing passes in or out, and nobody is told; then the daemon is killed.
    fn kill(&mut self, node: usize) -> Result<()>;
    fn restart(&mut self, node: usize) -> Result<()>;
    /// Octets (sent, received) per node so far that are not pings, with IP headers.
    fn control(&self) -> Result<Vec<(u64, u64)>>;
}

/// One death.
#[derive(Clone, Debug, Serialize)]
pub struct Death {
    pub victim: usize,
    /// Of each pair whose way led through the victim, in milliseconds; `null`: still out at the end.
    pub outages_ms: Vec<Option<u64>>,
}

/// What a contender made of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub name: &'static str,
    pub deaths: Vec<Death>,
    /// While all pairs ping and nobody dies, and from the first death to the last return.
    pub calm: Rates,
    pub drill: Rates,
}

/// Octets per second and node that are not pings: mean and most.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Rates {
    pub sent: (f64, f64),
    pub received: (f64, f64),
    pub seconds: f64,
}

/// What the nodes had sent and received at some time.
struct Mark {
    at: Instant,
    counts: Vec<(u64, u64)>,
}

impl Mark {
    fn set(contender: &dyn Contender) -> Result<Self> {
        let counts = contender.control()?;
        Ok(Self {
            at: Instant::now(),
            counts,
        })
    }

    fn until(&self, later: &Self) -> Rates {
        let seconds = later.at.duration_since(self.at).as_secs_f64();
        let rates = |of: fn(&(u64, u64)) -> u64| {
            let both = later.counts.iter().zip(&self.counts);
            let spent: Vec<f64> = both
                .map(|(after, before)| of(after).saturating_sub(of(before)) as f64 / seconds)
                .collect();
            let mean = spent.iter().sum::<f64>() / spent.len().max(1) as f64;
            (mean, spent.iter().copied().fold(0.0, f64::max))
        };
        Rates {
            sent: rates(|c| c.0),
            received: rates(|c| c.1),
            seconds,
        }
    }
}

impl Outcome {
    /// All outages in order; one that did not end counts as endless.
    pub fn outages(&self) -> Vec<f64> {
        let all = self.deaths.iter().flat_map(|d| &d.outages_ms);
        let mut all: Vec<f64> = all.map(|ms| ms.map_or(f64::INFINITY, |ms| ms as f64)).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// In seconds; `part` from 0 to 1.
    pub fn percentile(&self, part: f64) -> f64 {
        let all = self.outages();
        // The smallest value that at least this part does not exceed.
        let rank = (part * all.len() as f64).ceil().max(1.0) as usize;
        all.get(rank - 1).map_or(f64::NAN, |ms| ms / 1000.0)
    }
}

/// Different numbers for different places, the same for the same seed.
fn mix(seed: u64, place: u64) -> u64 {
    let mut x = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        x = (x ^ x >> 31).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    x ^ x >> 33
}

/// Different ordered pairs, drawn at random.
fn draw_pairs(plan: &Plan) -> Vec<Pair> {
    let (mut pairs, nodes) = (BTreeSet::new(), plan.nodes as u64);
    let most = plan.nodes * plan.nodes.saturating_sub(1);
    let mut place = 0;
    while pairs.len() < plan.pairs.min(most) {
        let number = mix(plan.seed, place);
        place += 1;
        let (a, b) = (number % nodes, number / nodes % nodes);
        if a != b {
            pairs.insert((a as usize, b as usize));
        }
    }
    pairs.into_iter().collect()
}

/// Nodes between the two ends, one way.
fn relays(next: &[Vec<Option<usize>>], (from, to): Pair) -> Option<Vec<usize>> {
    let (mut at, mut between) = (from, Vec::new());
    while at != to {
        at = next.get(at)?.get(to).copied()??;
        between.push(at);
        if between.len() > MAX_HOPS {
            return None;
        }
    }
    between.pop();
    Some(between)
}

/// Those whose pings or answers go through the node.
fn carried(next: &[Vec<Option<usize>>], pairs: &[Pair], node: usize) -> Vec<Pair> {
    let passes = |pair: Pair| relays(next, pair).is_some_and(|between| between.contains(&node));
    pairs
        .iter()
        .copied()
        .filter(|(a, b)| *a != node && *b != node && (passes((*a, *b)) || passes((*b, *a))))
        .collect()
}

/// Runs the drill. `victims`: those of an earlier contender, to kill the same; otherwise the busiest ones.
pub fn run(
    plan: &Plan,
    contender: &mut dyn Contender,
    victims: Option<&[usize]>,
    say: &dyn Fn(&str),
) -> Result<Outcome> {
    let pairs = draw_pairs(plan);
    let ends = contender.ends()?;
    let all = &|prober: &Prober, pairs: &[Pair], length| {
        let Ok(report) = prober.report() else { return false };
        let now = prober.now();
        pairs
            .iter()
            .all(|p| report.answering_since(*p).is_some_and(|at| now >= at + length))
    };
    let (mut deaths, mut killed) = (Vec::new(), Vec::new());
    let mut begun = None;
    for number in 0..plan.kills {
        // A prober for each death: what it remembers stays small.
        let prober = Prober::start(ends.clone())?;
        prober.watch(pairs.clone(), PING)?;
        wait_until(
            Duration::from_secs(120),
            "all pairs answer before a death",
            || all(&prober, &pairs, WARM_UP),
        )?;
        if begun.is_none() {
            let before = Mark::set(contender)?;
            let until = prober.now() + CALM;
            wait_until(CALM * 2, "a calm time", || prober.now() >= until)?;
            let after = Mark::set(contender)?;
            begun = Some((before.until(&after), after));
        }
        let next = contender.next_hops()?;
        let victim = match victims {
            Some(victims) => victims[number % victims.len()],
            None => busiest(&next, &pairs, &killed, plan.nodes),
        };
        killed.push(victim);
        let affected = carried(&next, &pairs, victim);
        let from = prober.now();
        contender.kill(victim)?;
        let (least, most) = contender.patience();
        let healed = wait_until(most, "the pairs answer again", || {
            prober.now() >= from + least && all(&prober, &affected, Duration::from_secs(2))
        });
        // The newest pings may still be on their way.
        let (report, until) = (prober.report()?, prober.now() - Duration::from_millis(500));
        let outage = |pair: &Pair| report.outage(*pair, from, until);
        let outages: Vec<Outage> = affected.iter().map(outage).collect();
        let outages_ms: Vec<Option<u64>> = outages
            .iter()
            .map(|o| o.duration.map(|d| d.as_millis() as u64))
            .collect();
        let worst = outages_ms.iter().map(|ms| ms.unwrap_or(u64::MAX)).max();
        say(&format!(
            "{}: death {} of {}: node {victim} carried {} of {} pairs; longest outage {}",
            contender.name(),
            number + 1,
            plan.kills,
            affected.len(),
            pairs.len(),
            match worst {
                None => "none".into(),
                Some(_) if healed.is_err() => format!("over {} s", most.as_secs()),
                Some(ms) => format!("{:.2} s", ms as f64 / 1000.0),
            }
        ));
        deaths.push(Death { victim, outages_ms });
        contender.restart(victim)?;
        let back = prober.now();
        wait_until(Duration::from_secs(60), "rest", || {
            prober.now() >= back + contender.rest()
        })?;
    }
    let (calm, start) = begun.context("no kills were asked for")?;
    Ok(Outcome {
        name: contender.name(),
        deaths,
        calm,
        drill: start.until(&Mark::set(contender)?),
    })
}

/// The node that carries most pairs, of those not killed in the last few rounds.
fn busiest(next: &[Vec<Option<usize>>], pairs: &[Pair], killed: &[usize], nodes: usize) -> usize {
    let recent = &killed[killed.len().saturating_sub(nodes / 2)..];
    (0..nodes)
        .filter(|node| !recent.contains(node))
        .max_by_key(|node| carried(next, pairs, *node).len())
        .unwrap_or(0)
}

/// Octets in packets of the given lengths and in all packets, both ways, at a host's interfaces.
const COUNTERS: [&str; 4] = ["sent", "sent_data", "received", "received_data"];

/// Begins to count octets on the interfaces that match; `data` is an nft expression for pings.
fn count(netns: &Netns, interface: &str, data: &str) -> Result<()> {
    let names: String = COUNTERS
        .iter()
        .map(|name| format!("counter {name} {{}}\n"))
        .collect();
    netns.shell(&format!(
        "nft -f - <<'RULES'\ntable inet measure {{\n{names}\
         chain out {{ type filter hook postrouting priority 300;\n\
         oifname {interface} counter name sent\noifname {interface} {data} counter name sent_data\n}}\n\
         chain in {{ type filter hook prerouting priority -400;\n\
         iifname {interface} counter name received\niifname {interface} {data} counter name received_data\n}}\n\
         }}\nRULES"
    ))?;
    Ok(())
}

/// Octets (sent, received) since [`count`] that are not data.
fn counted(netns: &Netns) -> Result<(u64, u64)> {
    let text = netns.run("nft -j list counters table inet measure")?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let objects = json["nftables"].as_array().context("nft printed no list")?;
    let of = |name: &str| {
        let counter = objects.iter().find(|o| o["counter"]["name"] == name);
        counter
            .and_then(|o| o["counter"]["bytes"].as_u64())
            .with_context(|| format!("nft knows no counter {name}"))
    };
    let control = |all, data| Ok::<_, anyhow::Error>(of(all)?.saturating_sub(of(data)?));
    Ok((
        control(COUNTERS[0], COUNTERS[1])?,
        control(COUNTERS[2], COUNTERS[3])?,
    ))
}

/// From now on nothing passes in or out of the namespace, and its links keep their carrier.
fn cut_off(netns: &Netns) -> Result<()> {
    netns.shell(
        "nft -f - <<'RULES'\ntable inet dead {\n\
         chain in { type filter hook prerouting priority -500; policy drop; }\n\
         chain out { type filter hook postrouting priority 400; policy drop; }\n}\nRULES",
    )?;
    Ok(())
}

fn reconnect(netns: &Netns) -> Result<()> {
    netns.run("nft delete table inet dead")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_followed_and_a_loop_is_none() {
        let next = vec![
            vec![None, Some(1), Some(1)],
            vec![Some(0), None, Some(2)],
            vec![Some(1), Some(1), None],
        ];
        assert_eq!(relays(&next, (0, 2)), Some(vec![1]));
        assert_eq!(relays(&next, (0, 1)), Some(vec![]));
        assert_eq!(carried(&next, &[(0, 2), (2, 0), (0, 1)], 1), [(0, 2), (2, 0)]);
        let looping = vec![vec![None, None, Some(1)], vec![None, None, Some(0)], vec![]];
        assert_eq!(relays(&looping, (0, 2)), None);
    }

    #[test]
    fn percentiles_are_of_all_outages() {
        let outcome = Outcome {
            name: "x",
            deaths: vec![
                Death {
                    victim: 0,
                    outages_ms: (1..=99).map(|ms| Some(ms * 10)).collect(),
                },
                Death {
                    victim: 1,
                    outages_ms: vec![None],
                },
            ],
            calm: Rates::default(),
            drill: Rates::default(),
        };
        assert_eq!(outcome.percentile(0.5), 0.5);
        assert_eq!(outcome.percentile(0.95), 0.95);
        assert!(outcome.percentile(1.0).is_infinite());
    }

    #[test]
    fn pairs_are_different_and_repeat_with_the_seed() {
        let plan = Plan {
            nodes: 30,
            pairs: 60,
            kills: 1,
            seed: 4,
        };
        let pairs = draw_pairs(&plan);
        assert_eq!(pairs.len(), 60);
        assert_eq!(pairs, draw_pairs(&plan));
        assert!(pairs.iter().all(|(a, b)| a != b && *a < 30 && *b < 30));
    }
}
