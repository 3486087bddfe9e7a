//! What silent deaths cost: outages and control traffic of the drill have budgets. Seeds determine both.

use core::time::Duration;
use osier_sim::drill::{self, Plan};

#[test]
fn a_drill_of_deaths_keeps_its_budgets() {
    for seed in [1, 2] {
        let outcome = drill::run(&Plan {
            nodes: 30,
            pairs: 60,
            kills: 12,
            seed,
        });
        let p95 = outcome.percentile(0.95);
        println!(
            "seed {seed}: {} pairs hit, outage p50 {:?}, p95 {p95:?}; octets/s per node: idle {:.0}, calm {:.0}, \
             drill {:.0}",
            outcome.outages.len(),
            outcome.percentile(0.5),
            outcome.idle.mean,
            outcome.calm.mean,
            outcome.drill.mean
        );
        assert!(outcome.outages.len() >= 20, "the drill hits somebody");
        assert!(p95 <= Duration::from_secs(1), "p95 {p95:?}");
        assert!(
            outcome.idle.mean <= 600.0,
            "idle {:.0} octets/s",
            outcome.idle.mean
        );
        assert!(
            outcome.drill.mean <= 2000.0,
            "drill {:.0} octets/s",
            outcome.drill.mean
        );
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        // Everything is counted once, whichever way.
        for spent in [&outcome.idle, &outcome.calm, &outcome.drill] {
            let sum: u64 = spent.breakdown.parts.values().map(|c| c.octets).sum();
            let datagrams: u64 = spent.breakdown.datagrams.values().map(|c| c.octets).sum();
            assert_eq!(sum, datagrams);
            let mean = spent.breakdown.control() as f64 / spent.seconds / 30.0;
            assert!((mean - spent.mean).abs() < 0.5, "{mean} and {}", spent.mean);
        }
    }
}
