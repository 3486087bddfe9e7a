//! Everything, for programs.

use super::{Findings, verdicts};
use crate::{figures::METRICS, run::CIPHER, system::OSIER};
use serde_json::{Value, json};
use std::fs;

/// An endless outage is `null` among the values.
pub fn json(findings: &Findings<'_>) -> Value {
    let mut rows = Vec::new();
    for metric in METRICS {
        for wire in findings.figures.wires(metric.measure) {
            for system in findings.systems.iter().copied().chain([CIPHER]) {
                let Some(spread) = findings.figures.of(metric, wire, system) else {
                    continue;
                };
                let osier = findings.figures.of(metric, wire, OSIER);
                rows.push(json!({
                    "metric": metric.key,
                    "title": metric.title,
                    "measure": metric.measure,
                    "wire": wire,
                    "system": system,
                    "values": findings.figures.values(metric, wire, system),
                    "median": spread.median,
                    "least": spread.least,
                    "most": spread.most,
                    "ratio_to_osier": osier.map(|o| spread.median / o.median),
                }));
            }
        }
    }
    json!({
        "machine": machine(),
        "versions": findings.versions,
        "figures": rows,
        "unavailable": findings.figures.problems(),
        "verdicts": verdicts(findings),
    })
}

fn machine() -> Value {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processor = line("/proc/cpuinfo");
    let model = processor
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    json!({
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "model": model.map(|(_, name)| name.trim()),
        "kernel": line("/proc/sys/kernel/osrelease"),
    })
}
