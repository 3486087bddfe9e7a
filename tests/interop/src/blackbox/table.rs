//! All cases against all daemons: who passes what.

use super::{Case, run};
use crate::Kind;
use osier_lab::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Labs at a time: they mostly wait.
const AT_A_TIME: usize = 16;

/// How a daemon does in a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum Outcome {
    Pass,
    /// As known.
    Deviates(String),
    /// Unlike its kind, or unlike what is known.
    Fails(String),
    NotSupported,
}

/// Outcomes by case and daemon.
#[derive(Debug)]
pub struct Table {
    pub cases: Vec<Case>,
    outcomes: BTreeMap<(usize, Kind), (Outcome, u128)>,
    versions: BTreeMap<Kind, String>,
    /// Those that the deviations in the cases were measured with.
    measured: BTreeMap<String, String>,
}

/// All cases, sorted by name.
pub fn cases() -> Result<Vec<Case>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .map_err(|e| Error::new(e.to_string()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Case::load(path)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/blackbox")
}

impl Table {
    /// Runs everything; `only` limits it to cases whose names contain one of these words (separated by commas),
    /// `kinds` to some daemons.
    pub fn measure(only: &str, kinds: &[Kind]) -> Result<Self> {
        let cases: Vec<Case> = cases()?
            .into_iter()
            .filter(|case| only.split(',').any(|word| case.name.contains(word)))
            .collect();
        let text = std::fs::read_to_string(folder().join("measured.toml")).unwrap_or_default();
        let measured = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, version)| {
                (
                    name.trim().to_owned(),
                    version.trim().trim_matches('"').to_owned(),
                )
            })
            .collect();
        let jobs: Vec<(usize, Kind)> = (0..cases.len())
            .flat_map(|case| kinds.iter().map(move |&kind| (case, kind)))
            .collect();
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    while let Some(&(case, kind)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let start = Instant::now();
                        let outcome = outcome(&cases[case], kind);
                        if let Ok(mut outcomes) = outcomes.lock() {
                            outcomes.insert((case, kind), (outcome, start.elapsed().as_millis()));
                        }
                    }
                });
            }
        });
        let versions = kinds.iter().map(|&kind| (kind, kind.version())).collect();
        Ok(Self {
            cases,
            outcomes: outcomes.into_inner().unwrap_or_default(),
            versions,
            measured,
        })
    }

    pub fn outcome(&self, case: usize, kind: Kind) -> &Outcome {
        self.outcomes
            .get(&(case, kind))
            .map_or(&Outcome::NotSupported, |(outcome, _)| outcome)
    }

    /// The cases in which Osier does not do as the RFCs say.
    pub fn failures(&self) -> Vec<String> {
        let ours = self.outcomes.iter().filter(|((_, kind), _)| *kind == Kind::Osier);
        ours.filter_map(|(&(number, _), (outcome, _))| match outcome {
            Outcome::Fails(why) => Some(self.line(number, Kind::Osier, &format!("fails: {why}"))),
            _ => None,
        })
        .collect()
    }

    /// Where a stock daemon of the version that was measured differs from what is written in the case and is
    /// not said to vary. Its timers on a busy machine can be the reason, so this is for people to look at.
    pub fn surprises(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (&(number, kind), (outcome, _)) in &self.outcomes {
            let case = &self.cases[number];
            let as_measured = self.versions.get(&kind) == self.measured.get(kind.name());
            if kind == Kind::Osier || !as_measured || case.varies.contains_key(kind.name()) {
                continue;
            }
            match outcome {
                Outcome::Fails(why) => found.push(self.line(number, kind, &format!("fails: {why}"))),
                Outcome::Pass if case.deviates.contains_key(kind.name()) => {
                    found.push(self.line(number, kind, "passes, though it is written down as deviating"));
                }
                _ => {}
            }
        }
        found
    }

    fn line(&self, number: usize, kind: Kind, what: &str) -> String {
        let case = &self.cases[number];
        format!("{} ({}): {kind} {what}", case.name, case.about)
    }

    /// For people: one line per case, the reasons below.
    pub fn text(&self) -> String {
        let kinds: Vec<Kind> = self.versions.keys().copied().collect();
        let mut text = format!("{:<34} {:<14}", "case", "items");
        for kind in &kinds {
            let _ = write!(text, " {:<14}", format!("{kind} {}", self.versions[kind]));
        }
        text.push('\n');
        let mut reasons = String::new();
        for (number, case) in self.cases.iter().enumerate() {
            let rules: Vec<String> = case.rules.iter().map(u32::to_string).collect();
            let _ = write!(text, "{:<34} {:<14}", case.name, rules.join(" "));
            for &kind in &kinds {
                let word = match self.outcome(number, kind) {
                    Outcome::Pass => "pass",
                    Outcome::Deviates(_) => "deviates",
                    Outcome::Fails(_) => "FAILS",
                    Outcome::NotSupported => "-",
                };
                let _ = write!(text, " {word:<14}");
                match self.outcome(number, kind) {
                    Outcome::Deviates(why) => {
                        let _ = writeln!(reasons, "{} {kind}: {why}", case.name);
                    }
                    Outcome::Fails(why) => {
                        let line = why.lines().next().unwrap_or_default();
                        let _ = writeln!(reasons, "{} {kind}: {line}", case.name);
                    }
                    _ => {}
                }
            }
            text.push('\n');
        }
        let _ = write!(text, "{:<34} {:<14}", "passed", "");
        for &kind in &kinds {
            let (passed, tried) = self.score(kind);
            let _ = write!(text, " {:<14}", format!("{passed} of {tried}"));
        }
        text + "\n\n" + &reasons
    }

    /// Cases passed and cases tried.
    pub fn score(&self, kind: Kind) -> (usize, usize) {
        let outcomes = || (0..self.cases.len()).map(|case| self.outcome(case, kind));
        let passed = outcomes().filter(|outcome| **outcome == Outcome::Pass).count();
        let tried = outcomes()
            .filter(|outcome| **outcome != Outcome::NotSupported)
            .count();
        (passed, tried)
    }

    /// For programs.
    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Row<'a> {
            case: &'a str,
            about: &'a str,
            items: &'a [u32],
            daemon: &'static str,
            version: &'a str,
            #[serde(flatten)]
            outcome: &'a Outcome,
            ms: u128,
        }
        let rows: Vec<Row<'_>> = self
            .outcomes
            .iter()
            .map(|(&(case, kind), (outcome, ms))| Row {
                case: &self.cases[case].name,
                about: &self.cases[case].about,
                items: &self.cases[case].rules,
                daemon: kind.name(),
                version: &self.versions[&kind],
                outcome,
                ms: *ms,
            })
            .collect();
        serde_json::to_string_pretty(&rows).map_err(|e| Error::new(e.to_string()))
    }
}

/// A stock daemon that fails unexpectedly is tried once more: the machine may have been too busy for its timers.
fn outcome(case: &Case, kind: Kind) -> Outcome {
    if !case.applies_to(kind) {
        return Outcome::NotSupported;
    }
    let known = case
        .deviates
        .get(kind.name())
        .or_else(|| case.varies.get(kind.name()));
    let mut result = run(case, kind);
    if result.is_err() && known.is_none() && kind != Kind::Osier {
        result = run(case, kind);
    }
    match (result, known) {
        (Ok(()), _) => Outcome::Pass,
        (Err(_), Some(reason)) => Outcome::Deviates(reason.clone()),
        (Err(error), None) => Outcome::Fails(error.to_string()),
    }
}
