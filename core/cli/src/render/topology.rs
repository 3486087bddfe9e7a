//! The picture of what this node knows: itself in the middle, its tunnels around it, and further out whom each
//! of them leads to.

use crate::output::{BOLD, DIM, WARN, paint};
use osier_core::control::types::{Topology, TopologyNode};
use std::{
    collections::{BTreeMap, BTreeSet},
    f64::consts::TAU,
    fmt::Write,
};

/// The topology as a tree from this node, with links that close a circle apart.
struct Tree<'a> {
    nodes: BTreeMap<&'a str, &'a TopologyNode>,
    root: &'a str,
    children: BTreeMap<&'a str, Vec<Edge<'a>>>,
    /// Nodes to which no link leads.
    apart: Vec<&'a str>,
}

#[derive(Clone, Copy)]
struct Edge<'a> {
    to: &'a str,
    tunnel: bool,
    cost: Option<u16>,
}

impl<'a> Tree<'a> {
    /// `None` when this node is not in it.
    fn new(topology: &'a Topology) -> Option<Self> {
        let nodes: BTreeMap<&str, &TopologyNode> =
            topology.nodes.iter().map(|n| (n.name.as_str(), n)).collect();
        let root = topology.nodes.iter().find(|n| n.own)?.name.as_str();
        let mut edges: BTreeMap<&str, Vec<Edge<'_>>> = BTreeMap::new();
        for link in &topology.links {
            if nodes.contains_key(link.from.as_str()) && nodes.contains_key(link.to.as_str()) {
                let edge = Edge {
                    to: &link.to,
                    tunnel: link.tunnel,
                    cost: link.cost,
                };
                edges.entry(&link.from).or_default().push(edge);
            }
        }
        for list in edges.values_mut() {
            // Tunnels first, then by name: the same topology gives the same picture.
            list.sort_by_key(|e| (!e.tunnel, e.to));
        }
        // Breadth first, so that a node hangs where it is nearest.
        let mut seen = BTreeSet::from([root]);
        let mut queue = std::collections::VecDeque::from([root]);
        let mut children: BTreeMap<&str, Vec<Edge<'_>>> = BTreeMap::new();
        while let Some(name) = queue.pop_front() {
            for edge in edges.get(name).into_iter().flatten() {
                if seen.insert(edge.to) {
                    children.entry(name).or_default().push(*edge);
                    queue.push_back(edge.to);
                }
            }
        }
        let apart = nodes.keys().copied().filter(|n| !seen.contains(n)).collect();
        Some(Self {
            nodes,
            root,
            children,
            apart,
        })
    }

    fn children(&self, name: &str) -> &[Edge<'a>] {
        self.children.get(name).map_or(&[], Vec::as_slice)
    }

    /// Leaves below `name`, at least 1: how wide a sector it needs.
    fn width(&self, name: &str) -> usize {
        self.children(name)
            .iter()
            .map(|e| self.width(e.to))
            .sum::<usize>()
            .max(1)
    }

    fn depth(&self, name: &str) -> usize {
        self.children(name)
            .iter()
            .map(|e| 1 + self.depth(e.to))
            .max()
            .unwrap_or(0)
    }
}

/// For the terminal.
pub(crate) fn tree(topology: &Topology) -> String {
    let Some(tree) = Tree::new(topology) else {
        return "nothing is known yet\n".into();
    };
    let mut text = String::new();
    let own = tree.nodes[tree.root];
    let _ = writeln!(
        text,
        "{} {} {}",
        paint(BOLD, &own.name),
        own.address,
        paint(DIM, "this node")
    );
    branch(&tree, tree.root, "", &mut text);
    for name in &tree.apart {
        let _ = writeln!(text, "{} {}", paint(WARN, name), paint(DIM, "no way known"));
    }
    text
}

fn branch(tree: &Tree<'_>, name: &str, indent: &str, text: &mut String) {
    let children = tree.children(name);
    for (i, edge) in children.iter().enumerate() {
        let last = i + 1 == children.len();
        let (tee, bar) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let node = tree.nodes[edge.to];
        let kind = if edge.tunnel { "tunnel" } else { "behind it" };
        let cost = edge.cost.map_or(String::new(), |c| format!(", cost {c}"));
        let _ = writeln!(
            text,
            "{}{} {} {}",
            paint(DIM, format!("{indent}{tee}")),
            node.name,
            node.address,
            paint(DIM, format!("{kind}{cost}"))
        );
        branch(tree, edge.to, &format!("{indent}{bar}"), text);
    }
}

/// For Graphviz.
pub(crate) fn dot(topology: &Topology) -> String {
    let mut text = String::from(
        "graph osier {\n  overlap=false; splines=true;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
    );
    for node in &topology.nodes {
        let style = match node {
            TopologyNode { own: true, .. } => ", penwidth=3",
            TopologyNode { reachable: false, .. } => ", color=gray, fontcolor=gray",
            _ => "",
        };
        let _ = writeln!(
            text,
            "  {} [label={}{style}];",
            quoted(&node.name),
            quoted(&format!("{}\n{}", node.name, node.address))
        );
    }
    for link in &topology.links {
        let style = if link.tunnel { "solid" } else { "dashed" };
        let label = link.cost.map_or(String::new(), |c| format!(", label=\"{c}\""));
        let _ = writeln!(
            text,
            "  {} -- {} [style={style}{label}];",
            quoted(&link.from),
            quoted(&link.to)
        );
    }
    text + "}\n"
}

/// A string of the DOT language.
fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

/// Between rings, and between neighbours on a ring, in pixels.
const RING: f64 = 150.0;
const GAP: f64 = 90.0;
const MARGIN: f64 = 110.0;

/// A drawing that needs no other program; light or dark as the viewer prefers.
pub(crate) fn svg(topology: &Topology) -> String {
    let Some(tree) = Tree::new(topology) else {
        return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"/>\n".into();
    };
    // The leaves share the circle; the outermost ring must be long enough for all of them.
    let rings = tree.depth(tree.root).max(1) as f64;
    let step = RING.max(tree.width(tree.root) as f64 * GAP / TAU / rings);
    let mut places = BTreeMap::from([(tree.root, (0.0, 0.0))]);
    place(&tree, tree.root, 0.0, TAU, step, step, &mut places);

    let radius = rings * step + MARGIN;
    let (side, bottom) = (2.0 * radius, if tree.apart.is_empty() { 0.0 } else { GAP });
    for (i, name) in tree.apart.iter().enumerate() {
        let x = (i as f64 + 0.5) / tree.apart.len() as f64 * side - radius;
        places.insert(name, (x, radius + bottom / 3.0));
    }

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{:.0} {:.0} {:.0} {:.0}\" width=\"{:.0}\" height=\"{:.0}\">\n{STYLE}",
        -radius,
        -radius,
        side,
        side + bottom,
        side,
        side + bottom
    );
    let _ = writeln!(
        text,
        "<title>Osier network as {} sees it</title>",
        escaped(tree.root)
    );
    let _ = writeln!(
        text,
        "<rect class=\"paper\" x=\"{:.0}\" y=\"{:.0}\" width=\"100%\" height=\"100%\"/>",
        -radius, -radius
    );
    for link in &topology.links {
        let (Some(a), Some(b)) = (places.get(link.from.as_str()), places.get(link.to.as_str())) else {
            continue;
        };
        let class = if link.tunnel { "tunnel" } else { "behind" };
        let _ = writeln!(
            text,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            a.0, a.1, b.0, b.1
        );
        if let Some(cost) = link.cost {
            // Nearer to the outer end, where the lines are far apart.
            let at = |a: f64, b: f64| a + (b - a) * 0.6;
            let _ = writeln!(
                text,
                "<text class=\"cost\" x=\"{:.1}\" y=\"{:.1}\">{cost}</text>",
                at(a.0, b.0),
                at(a.1, b.1) - 4.0
            );
        }
    }
    for (name, (x, y)) in &places {
        let node = tree.nodes[name];
        let class = match node {
            TopologyNode { own: true, .. } => "own",
            TopologyNode { reachable: false, .. } => "lost",
            _ => "node",
        };
        let _ = writeln!(
            text,
            "<g class=\"{class}\"><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\"/>",
            if node.own { 14 } else { 10 }
        );
        let _ = writeln!(
            text,
            "<text class=\"name\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            y + 28.0,
            escaped(&node.name)
        );
        let _ = writeln!(
            text,
            "<text class=\"address\" x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>",
            y + 41.0,
            node.address
        );
    }
    text + "</svg>\n"
}

/// Puts the children of `name` on the ring at `radius`, each in a sector as wide as what hangs below it.
fn place<'a>(
    tree: &Tree<'a>,
    name: &str,
    from: f64,
    to: f64,
    radius: f64,
    step: f64,
    places: &mut BTreeMap<&'a str, (f64, f64)>,
) {
    let share = (to - from) / tree.width(name) as f64;
    let mut start = from;
    for edge in tree.children(name) {
        let end = start + share * tree.width(edge.to) as f64;
        let angle = (start + end) / 2.0;
        places.insert(edge.to, (radius * angle.sin(), -radius * angle.cos()));
        place(tree, edge.to, start, end, radius + step, step, places);
        start = end;
    }
}

const STYLE: &str = "<style>
.paper{fill:#fff}.tunnel{stroke:#3a7d44;stroke-width:2.5}.behind{stroke:#9a9a9a;stroke-width:1.5;stroke-dasharray:5 4}
circle{fill:#7fb069;stroke:#2f5d37;stroke-width:2}.own circle{fill:#e6aa68;stroke:#8a5a1f}.lost circle{fill:#ddd;stroke:#999}
text{font-family:sans-serif;text-anchor:middle;fill:#222}.name{font-size:14px;font-weight:600}.address,.cost{font-size:10px;fill:#777}.lost text{fill:#999}
@media(prefers-color-scheme:dark){.paper{fill:#1b1d1c}text{fill:#eee}.address,.cost{fill:#aaa}}
</style>
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
