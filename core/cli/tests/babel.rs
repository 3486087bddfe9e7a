//! `osier babel` where no network is needed: files, mistakes, exit codes.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn osier(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_osier"))
        .args(arguments)
        .env_remove("OSIER_LOG")
        .output()
        .unwrap()
}

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("babel.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_sample_configuration_is_valid() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/osier-babel.toml");
    let output = osier(&["babel", "check", "--config", sample, "--json"]);
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["valid"], true);
    assert_eq!(
        document["interfaces"],
        serde_json::json!(["eth0", "wlan0", "wg0"])
    );
    let text = osier(&["babel", "check", "--config", sample]);
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("valid; 3 interfaces"),
        "{text:?}"
    );
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_line_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "control = '/nonexistent/x'\n[[interface]]\nname = 'lo'\nrxcost = 0\n",
    );
    let path = path.to_str().unwrap();
    for arguments in [
        &["babel", "check", "--config", path][..],
        &["babel", "--config", path],
        &["babel", "--config", path, "-i", "lo", "--rxcost", "lo=96"],
    ] {
        let output = osier(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("line 4, `rxcost`: 0 is out of range"), "{said}");
    }
    let output = osier(&["babel", "check", "--config", path, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["code"], "usage");
}

#[test]
fn what_is_missing_is_named_with_the_way_to_give_it() {
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "");
    let empty = empty.to_str().unwrap();
    for (arguments, said) in [
        (&["babel", "--config", empty][..], "[[interface]]"),
        (&["babel", "--config", empty, "-i", "lo"], "`control` in the file"),
        (&["babel", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["babel", "-i", "lo"], "--control"),
        (&["babel", "--control", "/x"], "--interface"),
        (
            &["babel", "-i", "lo", "--control", "/x", "--install", "255"],
            "main",
        ),
        (
            &["babel", "dump", "--control", "/x", "nonsense"],
            "neither a prefix nor an address",
        ),
    ] {
        let output = osier(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}

#[test]
fn a_dump_of_nothing_says_that_nothing_runs() {
    let output = osier(&["babel", "dump", "--control", "/nonexistent/babel.sock"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}
