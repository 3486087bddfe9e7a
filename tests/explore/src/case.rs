//! A network and what befalls it, as a file.

use serde::{Deserialize, Serialize};

/// Everything that determines a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows, for its reader.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Of packet losses, delays, and the speakers' own jitter.
    pub seed: u64,
    pub nodes: Vec<NodeSpec>,
    pub links: Vec<LinkSpec>,
    /// Who originates what from the beginning: node, prefix, metric.
    pub origins: Vec<(usize, usize, u16)>,
    pub steps: Vec<Step>,
    /// Whether peace returns in the end, and everything must come right.
    #[serde(default)]
    pub settle: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The kind of violation that must be found; none: the run must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// First seqno of its own routes, also of a life that lost its memory.
    pub seqno: u16,
}

/// A tunnel between two nodes, or a link with several members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    pub members: Vec<usize>,
    /// Point to point, split horizon; a restarted end is seen as a new interface by the other.
    pub tunnel: bool,
    /// ETX or 2-out-of-3.
    pub etx: bool,
    /// Nominal receive cost of each member.
    pub costs: Vec<u16>,
    /// Members have IPv4 addresses on it; without, IPv4 routes go by IPv6 next hops.
    #[serde(default)]
    pub ipv4: bool,
    /// The round-trip time counts.
    #[serde(default)]
    pub rtt: bool,
    /// Packets are authenticated by MAC.
    #[serde(default)]
    pub mac: bool,
    pub hello_ms: u64,
    pub update_ms: u64,
    pub weather: Weather,
}

/// How a link treats packets. Jitter reorders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weather {
    pub delay_us: u64,
    pub jitter_us: u64,
    /// In percent.
    pub loss: u64,
    /// In percent.
    pub copies: u64,
}

impl Weather {
    pub const FINE: Self = Self {
        delay_us: 5_000,
        jitter_us: 0,
        loss: 0,
        copies: 0,
    };
}

/// One deed and the quiet before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub wait_us: u64,
    #[serde(flatten)]
    pub deed: Deed,
}

/// What a node remembers when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// Its newest seqno, on disk.
    Seqno,
    /// Nothing: its seqno starts where its first life's did.
    Nothing,
    /// It takes another router-id.
    NewName,
}

/// Deeds about what is not there (a dead node, a removed interface) do nothing, so that any part of a list of
/// steps is a list of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// Nothing from one member reaches the other; nobody is told.
    Block {
        link: usize,
        from: usize,
        to: usize,
        on: bool,
    },
    /// Nothing passes between the nodes of the set and the others; 0: all is passed again.
    Partition {
        set: u64,
    },
    Weather {
        link: usize,
        weather: Weather,
    },
    Cost {
        link: usize,
        node: usize,
        cost: u16,
    },
    /// The owner's word about the link.
    Usable {
        link: usize,
        node: usize,
        usable: bool,
    },
    /// The interface goes away, or comes.
    Interface {
        link: usize,
        node: usize,
        up: bool,
    },
    Hello {
        link: usize,
        node: usize,
        ms: u64,
    },
    Kill {
        node: usize,
    },
    /// All is retracted, then the node goes.
    Stop {
        node: usize,
    },
    Start {
        node: usize,
        memory: Memory,
    },
    /// The node stands still, and hears nothing.
    Sleep {
        node: usize,
    },
    /// It goes on. Did its clock run meanwhile?
    Wake {
        node: usize,
        clock_ran: bool,
    },
    /// Its clock leaps forward.
    Leap {
        node: usize,
        ms: u64,
    },
    Announce {
        node: usize,
        prefix: usize,
        metric: u16,
    },
    Withdraw {
        node: usize,
        prefix: usize,
    },
    Penalty {
        node: usize,
        penalty: u16,
    },
    /// It asks for a prefix, or for everything, by multicast.
    Ask {
        node: usize,
        link: usize,
        prefix: Option<usize>,
    },
    /// In its name its neighbours are asked for newer seqnos of everybody's routes to the prefix, over and over.
    Storm {
        node: usize,
        link: usize,
        prefix: usize,
        packets: u8,
    },
    /// Packets that were delivered lately on a link with MACs are delivered again, and must change nothing.
    Replay {
        link: usize,
    },
    /// The node's authority refuses the prefix, or not.
    Refuse {
        node: usize,
        prefix: usize,
        on: bool,
    },
}

/// A fault on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Somebody on the link halves the metrics that pass.
    HalveMetrics { link: usize },
    /// Somebody on the link adds one to the seqnos of updates that pass.
    RaiseSeqnos { link: usize },
    /// The speaker itself announces half the metric that it has.
    Boast { node: usize },
    /// Every so often the speaker forgets its source table, and all else, and goes on as if nothing had been.
    Forget { node: usize, every_ms: u64 },
    /// Seqno requests to the node are lost, always.
    DeafToRequests { node: usize },
    /// It signs its packets, and believes everybody.
    BelievesAll { node: usize },
    /// Its clock runs at an eighth of the speed.
    SlowClock { node: usize },
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The next hops of one prefix and router-id form a loop.
    Loop,
    /// A selected route's next hop has no better feasibility distance than we have.
    Order,
    /// A route is selected that is not feasible, infinite, or was never told.
    Selection,
    /// A route is used for longer than its updates promised.
    Expiry,
    /// An update is better than the route it tells of.
    Boast,
    /// Our own seqno moved without a request, or by more than one, or an older one was announced.
    Seqno,
    /// The route events do not add up to what is selected.
    Events,
    /// A packet is too long or cannot be read by ourselves.
    Packet,
    /// A timer fires over and over without time going on.
    Timer,
    /// More is kept, or sent, than the limits allow.
    Bounds,
    /// A replayed packet had an effect, in spite of its MAC.
    Replay,
    /// A prefix that can be reached has no route after the stated time.
    Starvation,
    /// A route to what is gone.
    Ghost,
    /// A mixed loop (several origins of a prefix) outlives the peace.
    MixedLoop,
    /// Not the shortest path, after the stated time.
    Detour,
    /// Routes or seqnos go on changing when nothing happens any more.
    Restless,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    /// Virtual time in microseconds.
    pub at_us: u64,
    /// Its number in the run.
    pub event: u64,
    pub detail: String,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (kind, event) = (self.kind, self.event);
        let (seconds, micros) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        write!(
            f,
            "{kind:?} at {seconds}.{micros:06} s, event {event}: {}",
            self.detail
        )
    }
}

impl Case {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let case: Self = serde_json::from_str(text).context("this is no case of osier-explore")?;
        case.check()?;
        Ok(case)
    }

    /// Whether every number names something.
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!((1..=32).contains(&self.nodes.len()), "a case has 1 to 32 nodes");
        for (index, link) in self.links.iter().enumerate() {
            let distinct = link.members.iter().collect::<std::collections::BTreeSet<_>>();
            anyhow::ensure!(
                distinct.len() == link.members.len()
                    && link.costs.len() == link.members.len()
                    && link.members.iter().all(|node| *node < self.nodes.len()),
                "link {index}: members are distinct nodes, each with a cost"
            );
            anyhow::ensure!(
                !link.tunnel || link.members.len() == 2,
                "link {index}: a tunnel has two ends"
            );
        }
        let known = |node: &usize, prefix: &usize| *node < self.nodes.len() && *prefix < PREFIXES;
        anyhow::ensure!(
            self.origins.iter().all(|(node, prefix, _)| known(node, prefix)),
            "origins name a node and a prefix below {PREFIXES}"
        );
        for (index, step) in self.steps.iter().enumerate() {
            let (node, link, prefix) = step.deed.names();
            anyhow::ensure!(
                node.is_none_or(|n| n < self.nodes.len())
                    && link.is_none_or(|l| l < self.links.len())
                    && prefix.is_none_or(|p| p < PREFIXES),
                "step {index} names what is not there"
            );
        }
        Ok(())
    }

    /// One line per step, so that a difference can be read.
    pub fn to_text(&self) -> String {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        let mut out = String::from("{\n");
        let fields = whole.as_object_mut().map(core::mem::take).unwrap_or_default();
        let last = fields.len().saturating_sub(1);
        for (at, (name, value)) in fields.into_iter().enumerate() {
            let comma = if at < last { "," } else { "" };
            match value {
                serde_json::Value::Array(items) if items.iter().any(serde_json::Value::is_object) => {
                    let lines: Vec<_> = items.iter().map(|item| format!("    {item}")).collect();
                    out += &format!("  \"{name}\": [\n{}\n  ]{comma}\n", lines.join(",\n"));
                }
                value => out += &format!("  \"{name}\": {value}{comma}\n"),
            }
        }
        out + "}\n"
    }
}

/// Prefixes that a case can name; see [`crate::names::prefix`].
pub const PREFIXES: usize = 8;

impl Deed {
    /// The node, link and prefix that it names.
    pub fn names(&self) -> (Option<usize>, Option<usize>, Option<usize>) {
        match *self {
            Self::Block { link, .. } | Self::Weather { link, .. } | Self::Replay { link } => {
                (None, Some(link), None)
            }
            Self::Partition { .. } => (None, None, None),
            Self::Cost { link, node, .. }
            | Self::Usable { link, node, .. }
            | Self::Interface { link, node, .. }
            | Self::Hello { link, node, .. } => (Some(node), Some(link), None),
            Self::Kill { node }
            | Self::Stop { node }
            | Self::Start { node, .. }
            | Self::Sleep { node }
            | Self::Wake { node, .. }
            | Self::Leap { node, .. }
            | Self::Penalty { node, .. } => (Some(node), None, None),
            Self::Announce { node, prefix, .. }
            | Self::Withdraw { node, prefix }
            | Self::Refuse { node, prefix, .. } => (Some(node), None, Some(prefix)),
            Self::Ask { node, link, prefix } => (Some(node), Some(link), prefix),
            Self::Storm {
                node, link, prefix, ..
            } => (Some(node), Some(link), Some(prefix)),
        }
    }
}
