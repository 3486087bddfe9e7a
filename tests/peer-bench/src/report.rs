//! What came out: tables, verdicts, JSON, a picture.

mod json;
mod svg;
mod table;
mod verdict;

pub use json::json;
pub use svg::svg;
pub use table::tables;
pub use verdict::{Verdict, verdicts};

use crate::{
    figures::{Figures, METRICS, Measure, Metric},
    topology::Wire,
};
use std::collections::BTreeMap;

/// Everything that a report is made of.
pub struct Findings<'a> {
    pub figures: &'a Figures,
    /// In the order of the rows.
    pub systems: Vec<&'static str>,
    /// By system.
    pub versions: &'a BTreeMap<&'static str, String>,
    /// An outage or a cold start that lasted longer has no end.
    pub patience_s: f64,
}

fn metrics(measure: Measure) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().copied().filter(move |m| m.measure == measure)
}

fn measures() -> Vec<Measure> {
    let mut all: Vec<Measure> = METRICS.iter().map(|m| m.measure).collect();
    all.dedup();
    all
}

/// Only what depends on it names its wire.
fn heading(measure: Measure, wire: Wire, several: bool) -> String {
    let wire = match (several, wire) {
        (false, Wire::Plain) => "",
        (true, Wire::Plain) => " (plain wire)",
        (_, Wire::Tso) => " (wire with segmentation offload)",
    };
    format!("{}{wire}", measure.title())
}
