//! Crafted packets against `osier babel` and the stock daemons: Osier passes every case. Where another differs
//! from the RFCs otherwise than the cases say, that is printed.
//!
//! `OSIER_CASE=NAME` runs the cases whose names contain NAME and shows why they fail; `OSIER_DAEMON=bird` asks one
//! daemon only. The table is in `blackbox.txt` and `blackbox.json` of the target directory.
#![allow(clippy::unwrap_used)]

use osier_interop::Kind;
use osier_interop::blackbox::{Table, cases};
use osier_lab::Result;
use std::path::PathBuf;

#[test]
fn osier_passes_every_case() -> Result<()> {
    osier_lab::enter();
    let only = std::env::var("OSIER_CASE").unwrap_or_default();
    let daemon = std::env::var("OSIER_DAEMON").unwrap_or_default();
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| daemon.is_empty() || kind.name() == daemon)
        .collect();
    let table = Table::measure(&only, &kinds)?;
    println!("{}", table.text());
    if only.is_empty() && daemon.is_empty() {
        std::fs::write(artefact("blackbox.txt"), table.text()).unwrap();
        std::fs::write(artefact("blackbox.json"), table.json()?).unwrap();
    }
    for surprise in table.surprises() {
        println!("differs from what is written down: {surprise}");
    }
    let failures = table.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn cases_say_what_they_show() -> Result<()> {
    for case in cases()? {
        assert!(!case.rules.is_empty() && !case.steps.is_empty(), "{}", case.name);
        assert!(
            case.about.ends_with(|c: char| c.is_alphanumeric()),
            "{}",
            case.name
        );
    }
    Ok(())
}

/// Beside the test program: target/PROFILE/deps/TEST.
fn artefact(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(2).unwrap().join(name)
}
