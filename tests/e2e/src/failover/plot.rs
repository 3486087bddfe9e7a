//! How many of the pairs are back after how long, as a picture.

use super::Outcome;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 330.0;
const TOP: f64 = 50.0;
const RIGHT: f64 = 730.0;
const COLOURS: [&str; 2] = ["#2c6e49", "#b5541c"];
/// The time axis is logarithmic, from 100 ms to 100 s.
const DECADES: f64 = 3.0;

fn x(ms: f64) -> f64 {
    let part = (ms.max(100.0) / 100.0).log10() / DECADES;
    LEFT + (RIGHT - LEFT) * part.min(1.0)
}

fn y(part: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * part
}

/// An SVG document that needs nothing else.
pub fn svg(title: &str, outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fbfaf7"/>
<text x="{LEFT}" y="30" font-size="17" fill="#222">{title}</text>
"##
    );
    for (ms, label) in [
        (100.0, "0.1 s"),
        (1000.0, "1 s"),
        (10_000.0, "10 s"),
        (100_000.0, "100 s"),
    ] {
        let at = x(ms);
        let _ = writeln!(
            out,
            r##"<path d="M{at:.1} {TOP}V{BOTTOM}" stroke="#ddd"/><text x="{at:.1}" y="350" font-size="13" text-anchor="middle" fill="#555">{label}</text>"##
        );
    }
    for percent in [0, 50, 95, 100] {
        let at = y(f64::from(percent) / 100.0);
        let _ = writeln!(
            out,
            r##"<path d="M{LEFT} {at:.1}H{RIGHT}" stroke="#ddd"/><text x="52" y="{:.1}" font-size="13" text-anchor="end" fill="#555">{percent} %</text>"##,
            at + 4.0
        );
    }
    for (number, outcome) in outcomes.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let all = outcome.outages();
        let mut path = format!("M{LEFT} {BOTTOM}");
        for (index, ms) in all.iter().enumerate() {
            let part = (index + 1) as f64 / all.len() as f64;
            let _ = write!(path, "H{:.1}V{:.1}", x(*ms), y(part));
        }
        let _ = writeln!(
            out,
            r##"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/><text x="{RIGHT}" y="{:.1}" font-size="14" text-anchor="end" fill="{colour}">{}</text>"##,
            BOTTOM - 12.0 - 20.0 * number as f64,
            outcome.name
        );
    }
    out.push_str("</svg>\n");
    out
}
