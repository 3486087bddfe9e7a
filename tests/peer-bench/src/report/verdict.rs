//! Whether Osier is where it wants to be.

use super::{Findings, heading};
use crate::{
    figures::{
        BLOAT, Better, COLD, IDLE_CPU, IDLE_PSS, Metric, PATH_CUT, RELAY, RELAY_CPU, RELAY_DEATH, RTT_ADDED,
        TCP1, TCP1_CPU, TCP4, UDP_64, UDP_1200,
    },
    run::CIPHER,
    system::{BARE, OSIER, all},
    topology::Wire,
};
use serde::Serialize;
use std::fmt;

/// Osier's figure over the peer's must be at most (or, where more is better, at least) this.
struct Goal {
    metric: &'static Metric,
    against: Against,
    ratio: f64,
}

#[derive(Clone, Copy)]
enum Against {
    Peer(&'static str),
    BestPeer,
    BestMesh,
    /// A number of our own, and how it is called.
    Limit(&'static str, f64),
}

const fn goal(metric: &'static Metric, against: Against, ratio: f64) -> Goal {
    Goal {
        metric,
        against,
        ratio,
    }
}

/// Where no other number is set: as good as the best.
const GOALS: [Goal; 14] = [
    goal(&TCP1_CPU, Against::Peer("wireguard-go"), 0.5),
    goal(&TCP1, Against::BestPeer, 1.0),
    goal(&TCP4, Against::BestPeer, 1.0),
    goal(&RELAY_CPU, Against::Peer("wireguard-go"), 0.25),
    goal(&RELAY, Against::BestPeer, 1.0),
    goal(&UDP_64, Against::BestPeer, 1.0),
    goal(&UDP_1200, Against::BestPeer, 1.0),
    goal(&RTT_ADDED, Against::BestPeer, 1.0),
    goal(&BLOAT, Against::BestPeer, 1.0),
    goal(&IDLE_CPU, Against::BestMesh, 1.0),
    goal(&IDLE_PSS, Against::Limit("15 MB", 15.0), 1.0),
    goal(&COLD, Against::Limit("3 s", 3.0), 1.0),
    goal(&RELAY_DEATH, Against::BestMesh, 1.0),
    goal(&PATH_CUT, Against::BestMesh, 1.0),
];

/// One goal, and what the figures say.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub what: String,
    pub peer: &'static str,
    /// Osier's median over the peer's.
    pub ratio: f64,
    pub goal: f64,
    pub at_most: bool,
    pub holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = if self.at_most { "at most" } else { "at least" };
        let verdict = if self.holds { "holds" } else { "MISSES" };
        let Self {
            what,
            peer,
            ratio,
            goal,
            ..
        } = self;
        write!(f, "{what}: {ratio:.2} × {peer} (goal {bound} {goal}): {verdict}")
    }
}

/// Of every goal whose figures are there.
pub fn verdicts(findings: &Findings<'_>) -> Vec<Verdict> {
    let mut all = Vec::new();
    for goal in &GOALS {
        let wires = findings.figures.wires(goal.metric.measure);
        let each = wires
            .iter()
            .filter_map(|wire| judge(findings, goal, *wire, wires.len() > 1));
        all.extend(each);
    }
    all
}

fn judge(findings: &Findings<'_>, goal: &Goal, wire: Wire, several: bool) -> Option<Verdict> {
    let own = findings.figures.of(goal.metric, wire, OSIER)?.median;
    let (peer, other) = rival(findings, goal, wire)?;
    // Next to nothing at all there is no ratio.
    let ratio = (other > 0.0).then(|| own / other)?;
    let at_most = goal.metric.better == Better::Less;
    Some(Verdict {
        what: format!(
            "{}, {}",
            heading(goal.metric.measure, wire, several),
            goal.metric.title
        ),
        peer,
        ratio,
        goal: goal.ratio,
        at_most,
        holds: if at_most {
            ratio <= goal.ratio
        } else {
            ratio >= goal.ratio
        },
    })
}

/// The peer to compare with, and its median.
fn rival(findings: &Findings<'_>, goal: &Goal, wire: Wire) -> Option<(&'static str, f64)> {
    if let Against::Limit(name, limit) = goal.against {
        return Some((name, limit));
    }
    let meshes: Vec<_> = all().iter().filter(|s| s.is_mesh()).map(|s| s.name()).collect();
    let counts = |name: &&'static str| match goal.against {
        Against::Peer(peer) => *name == peer,
        Against::BestPeer => ![OSIER, BARE, CIPHER].contains(name),
        Against::BestMesh => *name != OSIER && meshes.contains(name),
        Against::Limit(..) => false,
    };
    let figures = findings
        .systems
        .iter()
        .copied()
        .filter(counts)
        .filter_map(|name| {
            let median = findings.figures.of(goal.metric, wire, name)?.median;
            median.is_finite().then_some((name, median))
        });
    let by = |a: &(&str, f64), b: &(&str, f64)| a.1.total_cmp(&b.1);
    match goal.metric.better {
        Better::More => figures.max_by(by),
        Better::Less => figures.min_by(by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use std::collections::BTreeMap;

    fn judged(figures: &Figures) -> Vec<String> {
        let versions = BTreeMap::new();
        let findings = Findings {
            figures,
            systems: vec![OSIER, BARE, "wireguard-go", "tinc"],
            versions: &versions,
            patience_s: 1.0,
        };
        verdicts(&findings).iter().map(Verdict::to_string).collect()
    }

    #[test]
    fn goals_are_judged_by_medians() {
        let mut figures = Figures::default();
        figures.add(OSIER, Wire::Plain, vec![(&TCP1_CPU, 2.4), (&TCP4, 3.0)]);
        figures.add("wireguard-go", Wire::Plain, vec![(&TCP1_CPU, 5.0), (&TCP4, 4.0)]);
        figures.add(BARE, Wire::Plain, vec![(&TCP4, 40.0)]);
        let said = judged(&figures);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].ends_with("0.48 × wireguard-go (goal at most 0.5): holds"),
            "{}",
            said[0]
        );
        assert!(
            said[1].ends_with("0.75 × wireguard-go (goal at least 1): MISSES"),
            "{}",
            said[1]
        );
    }

    #[test]
    fn an_outage_without_end_loses() {
        let mut figures = Figures::default();
        figures.add(OSIER, Wire::Plain, vec![(&RELAY_DEATH, f64::INFINITY)]);
        figures.add("tinc", Wire::Plain, vec![(&RELAY_DEATH, 60.0)]);
        assert!(judged(&figures)[0].ends_with("MISSES"));
    }

    #[test]
    fn a_limit_of_our_own_needs_no_peer() {
        let mut figures = Figures::default();
        figures.add(OSIER, Wire::Plain, vec![(&IDLE_PSS, 7.5)]);
        let said = judged(&figures);
        assert!(
            said[0].ends_with("0.50 × 15 MB (goal at most 1): holds"),
            "{said:?}"
        );
    }

    #[test]
    fn nothing_is_said_without_a_peer() {
        let mut figures = Figures::default();
        figures.add(OSIER, Wire::Plain, vec![(&TCP1, 3.0)]);
        assert!(judged(&figures).is_empty());
    }
}
