//! What can be seen without a network: help, usage errors, completions, colours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{available, node, osier, run};
use std::{fs, path::Path, process::Command};

#[test]
fn help_lists_every_command_and_the_exit_codes() {
    let help = run(["--help"]);
    help.succeeds();
    for command in [
        "network",
        "registry",
        "invite",
        "nodes",
        "revoke",
        "join",
        "up",
        "down",
        "on",
        "doctor",
        "usage",
        "off",
        "status",
        "peers",
        "routes",
        "members",
        "ping",
        "trace",
        "topology",
        "leave",
        "logs",
        "events",
        "reload",
        "service",
        "completions",
        "babel",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command} is missing in {}",
            help.stdout
        );
    }
    assert!(help.stdout.contains("3  no daemon is running"));
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(
        run(["--version"]).succeeds().stdout,
        format!("osier {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for line in [
        "",
        "frobnicate",
        "status --frobnicate",
        "ping",
        "ping x --interval 0",
        "up --port 70000",
        "up --tun a --no-tun",
    ] {
        let result = run(line.split_whitespace());
        assert_eq!(result.code, 2, "{line}: {}", result.stderr);
        assert!(!result.stderr.is_empty() && result.stdout.is_empty(), "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_a_document_too_when_asked() {
    let result = run(["ping", "--json"]);
    assert_eq!(result.code, 2);
    assert_eq!(result.json()["error"]["code"], "usage");
    assert!(result.stderr.contains("Usage:"), "{}", result.stderr);
}

#[test]
fn options_of_later_versions_are_refused() {
    let result = run([
        "babel",
        "-i",
        "lo",
        "--control",
        "/nonexistent/c",
        "--of-tomorrow=1",
    ]);
    assert_eq!(result.code, 2, "{}", result.stderr);
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completions", shell]).succeeds().stdout.clone();
        assert!(script.contains("osier") && script.contains("topology"), "{shell}");
        if available(shell, "--version") {
            let dir = tempfile::tempdir().expect("a directory");
            let file = dir.path().join("script");
            fs::write(&file, &script).expect("written");
            let check = Command::new(shell).arg("-n").arg(&file).output().expect("runs");
            assert!(
                check.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&check.stderr)
            );
        }
    }
    assert_eq!(run(["completions", "tcsh"]).code, 2);
}

#[test]
fn commands_on_a_directory_that_has_not_joined_say_so() {
    let state = tempfile::tempdir().expect("a directory");
    for line in DAEMON_COMMANDS.iter().chain(&["up --no-tun", "leave"]) {
        node(state.path(), line).fails(4).advises("osier join");
        let document = node(state.path(), &format!("{line} --json")).json();
        assert_eq!(document["error"]["code"], "not-joined", "{line}");
        assert_eq!(document["error"]["exit"], 4, "{line}");
    }
}

#[test]
fn commands_without_a_daemon_say_how_to_start_it() {
    let state = tempfile::tempdir().expect("a directory");
    fs::write(state.path().join("identity.key"), "").expect("written");
    for line in DAEMON_COMMANDS {
        node(state.path(), line).fails(3).advises("osier up");
        assert_eq!(
            node(state.path(), &format!("{line} --json")).json()["error"]["code"],
            "daemon-not-running",
            "{line}"
        );
    }
}

const DAEMON_COMMANDS: &[&str] = &[
    "status",
    "peers",
    "routes",
    "members",
    "ping berlin",
    "ping fd00::1",
    "trace berlin",
    "topology",
    "topology --dot",
    "logs",
    "events",
    "reload",
    "down",
];

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let state = tempfile::tempdir().expect("a directory");
    assert!(!node(state.path(), "status").stderr.contains('\x1b'));
    assert!(
        node(state.path(), "status --color always")
            .stderr
            .contains('\x1b')
    );
    let mut command = osier();
    command
        .args(["status"])
        .env("OSIER_STATE_DIR", state.path())
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "0");
    assert!(!String::from_utf8_lossy(&command.output().expect("runs").stderr).contains('\x1b'));
}

#[test]
fn the_option_wins_over_the_environment() {
    let result = node("/nonexistent/a".as_ref(), "status --state-dir /nonexistent/b");
    result.fails(4).advises("/nonexistent/b");
}

#[test]
fn without_root_state_lives_in_the_users_directory() {
    // As root the default is not ours to try.
    let mut command = osier();
    command.args(["status"]).env("XDG_STATE_HOME", "/nonexistent/xdg");
    let stderr = String::from_utf8_lossy(&command.output().expect("runs").stderr).into_owned();
    // A node of the system is meant by those who have none.
    let root = rustix::process::geteuid().is_root() || Path::new("/var/lib/osier/identity.key").exists();
    assert!(
        stderr.contains(if root {
            "/var/lib/osier"
        } else {
            "/nonexistent/xdg/osier"
        }),
        "{stderr}"
    );
}
