//! The systemd units, judged by systemd itself where it is installed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Run, available, osier, run};
use std::{fs, process::Command};

fn show(kind: &str) -> String {
    let program = env!("CARGO_BIN_EXE_osier");
    run(["service", "show", kind, "--program", program])
        .succeeds()
        .stdout
        .clone()
}

#[test]
fn systemd_finds_nothing_wrong() {
    if !available("systemd-analyze", "--version") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (kind, name) in [("node", "osier.service"), ("registry", "osier-registry.service")] {
        let file = dir.path().join(name);
        fs::write(&file, show(kind)).expect("written");
        let verify: Run = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output()
            .expect("runs")
            .into();
        assert_eq!(verify.code, 0, "{}", verify.stderr);
        // It may complain of other units of this machine, but not of ours.
        assert!(!verify.stderr.contains(name), "{}", verify.stderr);

        // 0 is the best mark and 100 the worst (systemd prints tenths of it); services without care get 95.
        let threshold = if kind == "node" {
            "--threshold=25"
        } else {
            "--threshold=15"
        };
        let security: Run = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", threshold])
            .arg(&file)
            .output()
            .expect("runs")
            .into();
        assert_eq!(
            security.code,
            0,
            "{}",
            security.stdout.lines().last().unwrap_or_default()
        );
    }
}

#[test]
fn packaging_writes_below_its_root_and_takes_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().to_str().expect("UTF-8");
    let unit = dir.path().join("usr/lib/systemd/system/osier.service");
    let users = dir.path().join("usr/lib/sysusers.d/osier.conf");
    run(["service", "install", "--root", root, "--", "--port", "16697"]).succeeds();
    let text = fs::read_to_string(&unit).expect("written");
    assert!(
        text.contains("ExecStart=/usr/bin/osier up --state-dir /var/lib/osier --port 16697\n"),
        "{text}"
    );
    assert!(
        fs::read_to_string(&users)
            .expect("written")
            .starts_with("u osier ")
    );
    run(["service", "uninstall", "--root", root]).succeeds();
    assert!(!unit.exists() && !users.exists());
}

#[test]
fn the_unit_comes_as_json_too() {
    let document = run(["service", "show", "--json"]).json();
    assert_eq!(document["name"], "osier.service");
    assert!(
        document["unit"]
            .as_str()
            .expect("text")
            .contains("NoNewPrivileges=yes")
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let mut command = osier();
    command.args(["service", "install", "--root", "/proc/nonexistent"]);
    let result: Run = command.output().expect("runs").into();
    assert_ne!(result.code, 0);
    assert!(
        result.stderr.contains("/proc/nonexistent/usr/lib"),
        "{}",
        result.stderr
    );
}
