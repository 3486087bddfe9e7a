//! Every case under `cases/` behaves as written beside it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use osier_conformance::{Case, run};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("tests/conformance/cases is readable")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    found.sort();
    found
}

fn load(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_case_gives_what_is_expected() {
    let bless = env::var_os("OSIER_BLESS").is_some();
    let mut failures = Vec::new();
    for path in cases() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected_path = path.with_extension("expected");
        let case = load(&path);
        let given = run(&case).unwrap_or_else(|error| panic!("{name}: {error}"));
        if bless {
            fs::write(&expected_path, given).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if given != expected {
            let at = given
                .lines()
                .zip(expected.lines())
                .take_while(|(a, b)| a == b)
                .count();
            let line = |text: &str| text.lines().nth(at).unwrap_or("(end)").to_owned();
            failures.push(format!(
                "{name} ({}), line {}:\n  expected {}\n  given    {}",
                case.about,
                at + 1,
                line(&expected),
                line(&given)
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases differ (OSIER_BLESS=1 writes the expected files anew):\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_case_is_the_same_twice() {
    for path in cases() {
        let case = load(&path);
        assert_eq!(run(&case), run(&case), "{}", path.display());
    }
}

#[test]
fn no_expected_file_is_left_over() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            assert!(
                path.with_extension("json").exists(),
                "{} has no case",
                path.display()
            );
        }
    }
}
