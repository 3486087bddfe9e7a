//! The format of a case; see `docs/conformance.md`.

use super::encode::Tlv;
use super::probe::Manners;
use super::sign::Signature;
use crate::Kind;
use osier_lab::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One case: what crafted neighbours do to a daemon and what it must do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// What is shown, in a sentence.
    pub about: String,
    /// Items of the checklist in `docs/babel.md`.
    pub rules: Vec<u32>,
    /// Daemons without one of these are not tried.
    #[serde(default)]
    pub needs: Vec<Feature>,
    /// MAC keys of the daemon and, if they say nothing else, of the neighbours: `hmac-sha256:TEXT`, `blake2s:TEXT`.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The daemon measures round-trip times.
    #[serde(default)]
    pub rtt: bool,
    /// The daemon's interval between Updates: long where what it sends at once is meant.
    #[serde(default = "short")]
    pub update_ms: u64,
    /// Links between daemon and probe.
    #[serde(default = "one")]
    pub links: usize,
    #[serde(default)]
    pub neighbours: BTreeMap<String, Manners>,
    pub steps: Vec<Value>,
    /// Stock daemons that are known to fail, by name, with the reason.
    #[serde(default)]
    pub deviates: BTreeMap<String, String>,
    /// Stock daemons that pass at one time and fail at another, with the reason.
    #[serde(default)]
    pub varies: BTreeMap<String, String>,
}

fn short() -> u64 {
    1600
}

fn one() -> usize {
    1
}

/// What not every daemon can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    Mac,
    /// More than one key per interface.
    MacRotation,
    SourceSpecific,
    V4ViaV6,
    Rtt,
}

impl Kind {
    /// Whether the version that was measured has it.
    pub fn has(self, feature: Feature) -> bool {
        match (self, feature) {
            (Self::Osier, _) => true,
            (Self::Babeld, feature) => feature != Feature::MacRotation,
            // Source-specific routes want tables of another kind in BIRD, instead of plain ones.
            (Self::Bird, feature) => matches!(feature, Feature::Mac | Feature::MacRotation),
            (Self::Frr, _) => false,
        }
    }
}

/// Something that happens or is looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Step {
    Send(Send),
    /// A route is in the kernel, soon.
    Route(Route),
    /// The kernel does not forward to this prefix, soon.
    Gone(Goal),
    /// The kernel does not forward to this prefix now: only after a `barrier` does that say anything.
    Absent(Goal),
    /// The kernel holds this prefix unreachable, soon.
    Unreachable(Goal),
    /// Whatever this neighbour sent before has been acted upon: an Update sent after it has.
    Barrier(String),
    /// The route is there all the time.
    Stays(Stays),
    /// The daemon sends something that matches, soon, after the last `send`.
    Expect(Expect),
    /// For a while it sends nothing that matches.
    Quiet(Quiet),
    /// Everything that it ever sent and that matches `where` also matches `is`.
    Every(Every),
    /// A packet that was recorded is sent once more, octet for octet.
    Replay(String),
    /// Packet counters of the daemon rise strictly.
    CountersRise {},
    /// At least this many routes that start so are in the kernel, soon.
    Count(Count),
    /// Multicast Hellos on link 0 follow each other; at least this many are waited for.
    HelloSeqnos(usize),
    Start(String),
    Silence(String),
    /// Neighbour's Hello seqno jumps.
    Jump {
        neighbour: String,
        by: u16,
    },
    /// Packets cut short at every octet, then with octets changed at random.
    Damage(Damage),
    /// Updates for very many prefixes, as fast as they can be sent.
    Flood(Flood),
    /// The daemon is taken down as by an operator; what it says then can be expected.
    Stop {},
    /// `expect` looks at what comes after this.
    Mark {},
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    pub from: String,
    #[serde(default)]
    pub tlvs: Vec<Tlv>,
    /// The whole payload in hexadecimal, instead of TLVs.
    pub payload: Option<String>,
    /// TLVs after the body.
    #[serde(default)]
    pub trailer: Vec<Tlv>,
    #[serde(default)]
    pub unicast: bool,
    pub port: Option<u16>,
    pub hop_limit: Option<i32>,
    /// Instead of the neighbour's address.
    pub source: Option<std::net::Ipv6Addr>,
    #[serde(default = "once")]
    pub times: u32,
    #[serde(default)]
    pub sign: Signature,
    /// Remembers the packet under this name.
    pub record: Option<String>,
}

fn once() -> u32 {
    1
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub prefix: String,
    pub source: Option<String>,
    /// Next hop; any when absent.
    pub via: Option<String>,
    pub link: Option<usize>,
    pub within: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stays {
    pub prefix: String,
    pub ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Goal {
    Prefix(String),
    Exact {
        prefix: String,
        source: Option<String>,
        within: Option<u64>,
    },
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Pattern {
    /// One TLV of the packet.
    pub tlv: Option<Value>,
    /// Its envelope: link, from, to, port, hop_limit, size, hellos, types.
    pub packet: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Expect {
    #[serde(flatten)]
    pub pattern: Pattern,
    /// Variable to field of the TLV.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Milliseconds.
    pub within: Option<u64>,
    /// Looks at everything since the start.
    #[serde(default)]
    pub ever: bool,
    #[serde(default = "at_least_one")]
    pub times: usize,
}

fn at_least_one() -> usize {
    1
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Quiet {
    #[serde(flatten)]
    pub pattern: Pattern,
    pub ms: u64,
    /// Up to this many are fine.
    #[serde(default)]
    pub but: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Every {
    #[serde(default, rename = "where")]
    pub chosen: Pattern,
    pub is: Pattern,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    pub starts: String,
    pub at_least: usize,
    pub within: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Damage {
    pub from: String,
    pub tlvs: Vec<Tlv>,
    /// A neighbour that goes on undisturbed: its Updates are barriers.
    pub witness: String,
    pub mutations: usize,
    pub seed: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flood {
    pub from: String,
    pub router_id: String,
    pub count: u16,
}

impl Case {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Self> {
        let wrong = |e: String| Error::new(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let mut case: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        case.name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for name in case.deviates.keys().chain(case.varies.keys()) {
            let stock = Kind::ALL[1..].iter().any(|kind| kind.name() == name);
            if !stock {
                return Err(wrong(format!("{name} is no stock daemon")));
            }
        }
        Ok(case)
    }

    /// Whether this daemon is asked.
    pub fn applies_to(&self, kind: Kind) -> bool {
        self.needs.iter().all(|&feature| kind.has(feature))
    }
}
