//! One table for each measure and wire.

use super::{Findings, heading, measures, metrics};
use crate::{
    figures::{Measure, Metric, Spread},
    run::CIPHER,
    system::OSIER,
    topology::Wire,
};
use comfy_table::{Table, presets};

/// All tables with their headings, ready to print.
pub fn tables(findings: &Findings<'_>) -> String {
    let mut text = String::new();
    for measure in measures() {
        let wires = findings.figures.wires(measure);
        for wire in &wires {
            text += &format!("\n{}\n", heading(measure, *wire, wires.len() > 1));
            text += &format!("{}\n", table(findings, measure, *wire));
        }
    }
    text + &missing(findings)
}

fn table(findings: &Findings<'_>, measure: Measure, wire: Wire) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let titles = metrics(measure).map(|m| m.title);
    table.set_header(std::iter::once("median [least..most] × of osier").chain(titles));
    let rows = findings.systems.iter().copied().chain([CIPHER]);
    for system in rows {
        let cells: Vec<Option<String>> = metrics(measure)
            .map(|metric| cell(findings, metric, wire, system))
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|c| c.unwrap_or_else(|| "–".to_owned()));
            table.add_row(std::iter::once(system.to_owned()).chain(cells));
        } else if let Some(problem) = findings.figures.problem(measure, system) {
            let reason: String = problem.reason.chars().take(100).collect();
            table.add_row([system.to_owned(), format!("unavailable: {reason}")]);
        }
    }
    table
}

fn cell(findings: &Findings<'_>, metric: &Metric, wire: Wire, system: &'static str) -> Option<String> {
    let own = findings.figures.of(metric, wire, system)?;
    let number = |value: f64| match value.is_finite() {
        true => format!("{value:.*}", metric.digits),
        false => format!("over {:.0}", findings.patience_s),
    };
    let Spread { median, least, most } = own;
    let spread = match least.total_cmp(&most).is_eq() {
        true => number(median),
        false => format!("{} [{}..{}]", number(median), number(least), number(most)),
    };
    let osier = findings
        .figures
        .of(metric, wire, OSIER)
        .filter(|_| system != OSIER);
    let ratio = osier.and_then(|osier| ratio(median, osier.median));
    Some(match ratio {
        Some(ratio) => format!("{spread} {ratio:.2}×"),
        None => spread,
    })
}

/// Of two positive figures.
fn ratio(of: f64, to: f64) -> Option<f64> {
    (of > 0.0 && to > 0.0 && of.is_finite() && to.is_finite()).then(|| of / to)
}

/// Every system and measure without figures, and the whole reason.
fn missing(findings: &Findings<'_>) -> String {
    let mut text = String::new();
    for problem in findings.figures.problems() {
        let what = problem.measure.map_or("everything", Measure::title);
        text += &format!("unavailable: {}, {what}: {}\n", problem.system, problem.reason);
    }
    for (system, version) in findings.versions.iter().filter(|(_, v)| !v.is_empty()) {
        text += &format!("{system}: version {version}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figures, RELAY_DEATH, TCP1, TCP1_CPU};
    use std::collections::BTreeMap;

    #[test]
    fn tables_show_spread_ratio_and_what_is_missing() {
        let mut figures = Figures::default();
        for gbit in [2.0, 3.0, 4.0] {
            figures.add(OSIER, Wire::Plain, vec![(&TCP1, gbit), (&TCP1_CPU, 5.0)]);
        }
        figures.add("peer", Wire::Plain, vec![(&TCP1, 1.5)]);
        figures.add("peer", Wire::Plain, vec![(&RELAY_DEATH, f64::INFINITY)]);
        figures.fail("lost", None, &anyhow::anyhow!("no compiler"));
        let versions = BTreeMap::from([("peer", "1.2".to_owned())]);
        let findings = Findings {
            figures: &figures,
            systems: vec![OSIER, "peer", "lost"],
            versions: &versions,
            patience_s: 70.0,
        };
        let text = tables(&findings);
        for part in [
            "3.00 [2.00..4.00]",
            "1.50 0.50×",
            "unavailable: no compiler",
            "unavailable: lost, everything: no compiler",
            "over 70",
            "peer: version 1.2",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(
            !text.contains("UDP"),
            "measures that were not taken have no table:\n{text}"
        );
    }
}
