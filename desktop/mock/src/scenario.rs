//! Scenario files.
//!
//! A scenario is `NAME.json`:
//!
//! ```json
//! {
//!   "description": "what it shows",
//!   "extends": "connected",
//!   "listening": true,
//!   "answers": { "GET /v1/status": { "state": "running" } }
//! }
//! ```
//!
//! `extends` takes another scenario's answers; objects are merged into them (RFC 7396), everything else replaces them.
//! `listening: false` closes the socket and removes it; `"locked": true` gives it to nobody.
//!
//! An answer is its JSON body, or an object with one of these keys:
//! - `$status`, `body`: another HTTP status;
//! - `$lines`, and optionally `interval_ms` and `repeat`: a stream of lines, so far apart;
//! - `$then`, `body` and optionally `after_ms`: answers, then plays another scenario;
//! - `$hang`: never answers.
//!
//! Anywhere in a body, `{"$ago": N}` and `{"$in": N}` are Unix seconds before and after now, and `{"$peers": N}`,
//! `{"$members": N}` and `{"$topology": N}` are lists about N made-up devices.

use crate::generate;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a scenario: {source}", path.display())]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("there is no scenario {0:?}")]
    Unknown(String),
    #[error("the scenario {0:?} extends itself")]
    Circle(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    extends: Option<String>,
    listening: Option<bool>,
    locked: Option<bool>,
    #[serde(default)]
    answers: Map<String, Value>,
}

/// What a scenario says once all that it extends is in it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) description: String,
    pub(crate) listening: bool,
    pub(crate) locked: bool,
    /// By method and path, such as `GET /v1/status`.
    pub(crate) answers: Map<String, Value>,
}

/// All scenarios of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Library(BTreeMap<String, File>);

impl Library {
    pub(crate) fn read(folder: &Path) -> Result<Self, ScenarioError> {
        let read = |path: &Path, source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(|e| read(folder, e))? {
            let path = entry.map_err(|e| read(folder, e))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).map_err(|e| read(&path, e))?;
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            match serde_json::from_slice(&text) {
                Ok(file) => files.insert(name, file),
                Err(source) => return Err(ScenarioError::Parse { path, source }),
            };
        }
        Ok(Self(files))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn scenario(&self, name: &str) -> Result<Scenario, ScenarioError> {
        self.resolve(name, self.0.len())
    }

    fn resolve(&self, name: &str, depth: usize) -> Result<Scenario, ScenarioError> {
        let file = self
            .0
            .get(name)
            .ok_or_else(|| ScenarioError::Unknown(name.to_owned()))?;
        let mut scenario = match &file.extends {
            Some(_) if depth == 0 => return Err(ScenarioError::Circle(name.to_owned())),
            Some(base) => self.resolve(base, depth - 1)?,
            None => Scenario {
                description: String::new(),
                listening: true,
                locked: false,
                answers: Map::new(),
            },
        };
        scenario.description.clone_from(&file.description);
        scenario.listening = file.listening.unwrap_or(scenario.listening);
        scenario.locked = file.locked.unwrap_or(scenario.locked);
        for (request, answer) in &file.answers {
            merge(scenario.answers.entry(request).or_insert(Value::Null), answer);
        }
        Ok(scenario)
    }
}

/// A JSON merge patch, but `null` is a value like any other: the control API has fields that are null.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) if !is_directive(into) && !is_directive(patch) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn is_directive(object: &Map<String, Value>) -> bool {
    object.keys().any(|key| key.starts_with('$'))
}

/// `value` with times and made-up lists filled in.
pub(crate) fn fill(value: &Value) -> Value {
    match value {
        Value::Object(object) => directive(object).unwrap_or_else(|| {
            Value::Object(
                object
                    .iter()
                    .map(|(key, value)| (key.clone(), fill(value)))
                    .collect(),
            )
        }),
        Value::Array(values) => Value::Array(values.iter().map(fill).collect()),
        other => other.clone(),
    }
}

fn directive(object: &Map<String, Value>) -> Option<Value> {
    let (key, value) = object.iter().next()?;
    let number = value.as_i64()?;
    let count = usize::try_from(number).unwrap_or(0);
    Some(match key.as_str() {
        "$ago" => (unix_seconds() - number).into(),
        "$in" => (unix_seconds() + number).into(),
        "$peers" => generate::peers(count),
        "$members" => generate::members(count),
        "$topology" => generate::topology(count),
        _ => return None,
    })
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as i64
}
