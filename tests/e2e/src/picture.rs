//! The mesh as a picture: nodes on a circle, tunnels between them.

use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Up,
    BehindNat,
    Dead,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub note: String,
    pub state: NodeState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeState {
    Tunnel,
    /// Carries the watched traffic.
    Path,
    Cut,
}

#[derive(Clone, Debug)]
pub struct Edge {
    pub ends: (usize, usize),
    pub label: String,
    pub state: EdgeState,
}

const SIZE: f64 = 760.0;
const RADIUS: f64 = 270.0;

/// An SVG document that needs nothing else (no script, no font file), readable on light and dark pages.
pub fn svg(title: &str, nodes: &[Node], edges: &[Edge]) -> String {
    let centre = SIZE / 2.0;
    let place = |i: usize| {
        let angle =
            std::f64::consts::TAU * i as f64 / nodes.len().max(1) as f64 - std::f64::consts::FRAC_PI_2;
        (
            centre + RADIUS * angle.cos(),
            centre + 20.0 + RADIUS * angle.sin(),
        )
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}" font-family="sans-serif">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fbfaf7"/>
<text x="{centre}" y="38" font-size="20" text-anchor="middle" fill="#222">{title}</text>
"##,
        title = escape(title)
    );
    // What matters most is drawn last, on top.
    let order = [EdgeState::Tunnel, EdgeState::Cut, EdgeState::Path];
    for edge in order
        .iter()
        .flat_map(|state| edges.iter().filter(move |e| e.state == *state))
    {
        let ((x1, y1), (x2, y2)) = (place(edge.ends.0), place(edge.ends.1));
        let style = match edge.state {
            EdgeState::Tunnel => r##"stroke="#a9b7a2" stroke-width="1.4""##,
            EdgeState::Path => r##"stroke="#2a7d46" stroke-width="4""##,
            EdgeState::Cut => r##"stroke="#c0392b" stroke-width="2.5" stroke-dasharray="7 6""##,
        };
        let _ = writeln!(
            out,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#
        );
        if !edge.label.is_empty() {
            // Off the middle, so that labels of crossing diagonals do not meet.
            let (x, y) = (x1 + (x2 - x1) * 0.36, y1 + (y2 - y1) * 0.36);
            let _ = writeln!(
                out,
                r##"<text x="{x:.1}" y="{y:.1}" font-size="11" text-anchor="middle" fill="#444" paint-order="stroke" stroke="#fbfaf7" stroke-width="4">{}</text>"##,
                escape(&edge.label)
            );
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        let (x, y) = place(i);
        let (fill, stroke) = match node.state {
            NodeState::Up => ("#dcebd3", "#4c7a3d"),
            NodeState::BehindNat => ("#f6e6bf", "#a37b1c"),
            NodeState::Dead => ("#f0d5d2", "#c0392b"),
        };
        let _ = writeln!(
            out,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="38" fill="{fill}" stroke="{stroke}" stroke-width="2"/>
<text x="{x:.1}" y="{:.1}" font-size="14" font-weight="bold" text-anchor="middle" fill="#222">{}</text>
<text x="{x:.1}" y="{:.1}" font-size="10" text-anchor="middle" fill="#444">{}</text>"##,
            y + 1.0,
            escape(&node.name),
            y + 15.0,
            escape(&node.note)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_document() {
        let node = Node {
            name: "<a&b>".into(),
            note: String::new(),
            state: NodeState::Up,
        };
        let text = svg("t", &[node], &[]);
        assert!(text.contains("&lt;a&amp;b&gt;") && !text.contains("<a&b>"));
    }

    #[test]
    fn path_is_drawn_over_tunnels() {
        let nodes = ["a", "b", "c"].map(|n| Node {
            name: n.into(),
            note: String::new(),
            state: NodeState::Up,
        });
        let edge = |ends, state| Edge {
            ends,
            label: String::new(),
            state,
        };
        let text = svg(
            "t",
            &nodes,
            &[edge((0, 1), EdgeState::Path), edge((1, 2), EdgeState::Tunnel)],
        );
        assert!(text.find("#2a7d46").unwrap() > text.find("#a9b7a2").unwrap());
    }
}
