//! The checklist in `docs/babel.md` has every rule, and what it names exists.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rules of the checklist.
const RULES: u32 = 105;

struct Row {
    rule: u32,
    packets: String,
    others: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/babel.md")).unwrap();
    let (_, section) = text
        .split_once("## Checklist")
        .expect("docs/babel.md has a checklist");
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [rule, _, packets, others] = cells[..] else {
                return None;
            };
            Some(Row {
                rule: rule.parse().ok()?,
                packets: packets.to_owned(),
                others: others.to_owned(),
            })
        })
        .collect()
}

/// What stands between pairs of `mark`.
fn marked(text: &str, mark: char) -> Vec<&str> {
    text.split(mark).skip(1).step_by(2).collect()
}

/// Names of the JSON files in a folder of this crate, with the rules that each says it shows.
fn cases(folder: &str) -> BTreeMap<String, Vec<u32>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let rules = value["rules"].as_array().unwrap();
            let rules = rules.iter().map(|rule| rule.as_u64().unwrap() as u32).collect();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), rules)
        })
        .collect()
}

/// All Rust sources below `folder` in one string.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, text);
        } else if name.ends_with(".rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_rule_has_a_row_with_a_test_or_a_reason() {
    let rows = rows();
    let found: Vec<u32> = rows.iter().map(|row| row.rule).collect();
    assert_eq!(found, (1..=RULES).collect::<Vec<_>>());
    for row in rows {
        assert!(!(row.packets.is_empty() && row.others.is_empty()), "{}", row.rule);
    }
}

#[test]
fn crafted_packets_are_listed_where_they_belong() {
    let cases = cases("blackbox");
    for row in rows() {
        let listed: BTreeSet<&str> = marked(&row.packets, '"').into_iter().collect();
        let there: BTreeSet<&str> = cases
            .iter()
            .filter(|(_, rules)| rules.contains(&row.rule))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(listed, there, "rule {} in docs/babel.md and the cases", row.rule);
    }
    for (name, rules) in cases {
        assert!(
            rules.iter().all(|rule| (1..=RULES).contains(rule)),
            "{name}: {rules:?}"
        );
    }
}

#[test]
fn cases_and_tests_that_are_named_exist() {
    let cases = cases("cases");
    let mut text = String::new();
    for folder in ["core", "tests"] {
        sources(&root().join(folder), &mut text);
    }
    for row in rows() {
        for case in marked(&row.others, '"') {
            assert!(cases.contains_key(case), "rule {}: no case {case}", row.rule);
        }
        for test in marked(&row.others, '`') {
            assert!(
                text.contains(&format!("fn {test}(")),
                "rule {}: no test {test}",
                row.rule
            );
        }
    }
}
