//! Bars for every figure, as a picture.

use super::{Findings, heading, measures, metrics};
use crate::{
    figures::{Better, Metric, Spread},
    run::CIPHER,
    system::OSIER,
    topology::Wire,
};
use std::fmt::Write;

const COLUMNS: usize = 3;
const WIDTH: f64 = 420.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 46.0;
const GAP: f64 = 18.0;
const NAMES: f64 = 120.0;
const BARS: f64 = 210.0;

struct Panel {
    title: String,
    subtitle: String,
    digits: usize,
    bars: Vec<(&'static str, Spread)>,
}

/// An SVG document that needs nothing else.
pub fn svg(findings: &Findings<'_>) -> String {
    let panels = panels(findings);
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let height = |row: &[Panel]| {
        let most = row.iter().map(|p| p.bars.len()).max().unwrap_or(0);
        HEAD + ROW * most as f64 + GAP
    };
    let (wide, high) = (
        WIDTH * COLUMNS as f64,
        GAP + rows.iter().map(|r| height(r)).sum::<f64>(),
    );
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" font-family="sans-serif">
<title>Osier beside its peers</title>
<rect width="100%" height="100%" fill="#fbfaf7"/>
"##
    );
    let mut top = GAP;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            draw(&mut out, panel, WIDTH * column as f64 + GAP, top);
        }
        top += height(row);
    }
    out.push_str("</svg>\n");
    out
}

fn panels(findings: &Findings<'_>) -> Vec<Panel> {
    let mut panels = Vec::new();
    for measure in measures() {
        let wires = findings.figures.wires(measure);
        for &wire in &wires {
            for metric in metrics(measure) {
                let bars = bars(findings, metric, wire);
                if !bars.is_empty() {
                    let better = match metric.better {
                        Better::More => "more is better",
                        Better::Less => "less is better",
                    };
                    panels.push(Panel {
                        title: heading(measure, wire, wires.len() > 1),
                        subtitle: format!("{}; {better}", metric.title),
                        digits: metric.digits,
                        bars,
                    });
                }
            }
        }
    }
    panels
}

fn bars(findings: &Findings<'_>, metric: &Metric, wire: Wire) -> Vec<(&'static str, Spread)> {
    let systems = findings.systems.iter().copied().chain([CIPHER]);
    systems
        .filter_map(|system| Some((system, findings.figures.of(metric, wire, system)?)))
        .collect()
}

fn draw(out: &mut String, panel: &Panel, left: f64, top: f64) {
    let finite = panel.bars.iter().map(|(_, s)| s.most).filter(|v| v.is_finite());
    let most = finite.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    // An outage without end reaches the edge.
    let length = |value: f64| (value.clamp(0.0, most) / most) * BARS;
    let _ = write!(
        out,
        r##"<text x="{left}" y="{:.1}" font-size="13" fill="#222">{}</text>
<text x="{left}" y="{:.1}" font-size="11" fill="#666">{}</text>
"##,
        top + 12.0,
        escape(&panel.title),
        top + 28.0,
        escape(&panel.subtitle),
    );
    for (row, (system, spread)) in panel.bars.iter().enumerate() {
        let y = top + HEAD - 8.0 + ROW * row as f64;
        let colour = if *system == OSIER { "#2c6e49" } else { "#b9b4a7" };
        let bar = left + NAMES;
        let value = match spread.median.is_finite() {
            true => format!("{:.*}", panel.digits, spread.median),
            false => "∞".to_owned(),
        };
        let _ = write!(
            out,
            r##"<text x="{:.1}" y="{:.1}" font-size="12" text-anchor="end" fill="#333">{}</text>
<rect x="{bar:.1}" y="{y:.1}" width="{:.1}" height="14" fill="{colour}"/>
<path d="M{:.1} {:.1}H{:.1}" stroke="#222"/>
<text x="{:.1}" y="{:.1}" font-size="11" fill="#333">{value}</text>
"##,
            bar - 6.0,
            y + 11.5,
            escape(system),
            length(spread.median),
            bar + length(spread.least),
            y + 7.0,
            bar + length(spread.most),
            bar + length(spread.most) + 5.0,
            y + 11.0,
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figures, RELAY_DEATH, TCP1};
    use std::collections::BTreeMap;

    #[test]
    fn picture_has_a_panel_for_each_figure_and_survives_the_endless() {
        let mut figures = Figures::default();
        figures.add(OSIER, Wire::Plain, vec![(&TCP1, 2.0), (&RELAY_DEATH, 0.6)]);
        figures.add(
            "a<b",
            Wire::Plain,
            vec![(&TCP1, 1.0), (&RELAY_DEATH, f64::INFINITY)],
        );
        let versions = BTreeMap::new();
        let picture = svg(&Findings {
            figures: &figures,
            systems: vec![OSIER, "a<b"],
            versions: &versions,
            patience_s: 1.0,
        });
        assert_eq!(picture.matches("is better").count(), 2);
        assert!(picture.contains("a&lt;b") && !picture.contains("a<b"));
        assert!(!picture.contains("inf") && !picture.contains("NaN"), "{picture}");
    }
}
