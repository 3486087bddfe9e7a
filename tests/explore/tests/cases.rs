//! Replays what exploration found earlier: `cases/*.json`. A case passes, or is violated as it expects.
#![allow(clippy::unwrap_used)]

use osier_explore::case::Case;
use osier_explore::run::run;
use std::path::Path;

#[test]
fn every_case_ends_as_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let case = Case::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let found = run(&case).violation;
        assert_eq!(
            found.as_ref().map(|found| found.kind),
            case.expect,
            "{}: {found:?}; play it: cargo run -p osier-explore -- --case {0} --trace",
            path.display()
        );
    }
}
