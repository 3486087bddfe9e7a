//! A million events, the same ones on every run.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use osier_explore::explore::Exploration;
use osier_explore::run::run;
use osier_explore::shrink::shrink;

const EVENTS: u64 = 1_000_000;
const SEED: u64 = 1;

#[test]
fn a_million_events_break_no_invariant() {
    let mut exploration = Exploration::new(SEED);
    while exploration.events < EVENTS {
        if let Some((case, violation)) = exploration.next_case() {
            let small = shrink(&case, &mut |_, _| {}).unwrap_or(case);
            let folder = std::env::temp_dir();
            let path = folder.join(format!("osier-explore-{}.json", small.seed));
            std::fs::write(&path, small.to_text()).unwrap();
            panic!(
                "{violation}\nrepeat it: cargo run -p osier-explore -- --case {}",
                path.display()
            );
        }
    }
    eprintln!("{} events\n{}", exploration.events, exploration.summary());
}

#[test]
fn a_seed_determines_every_packet() {
    let explore = |seed| {
        let mut exploration = Exploration::new(seed);
        while exploration.events < 50_000 {
            assert!(exploration.next_case().is_none());
        }
        (exploration.trace, exploration.events)
    };
    assert_eq!(explore(5), explore(5));
    assert_ne!(explore(5), explore(6));
}

#[test]
fn a_case_survives_being_written_and_read() {
    for seed in 0..200 {
        let case = osier_explore::generate::generate(seed);
        let text = case.to_text();
        let again = osier_explore::case::Case::parse(&text).unwrap();
        assert_eq!(again, case);
        if seed < 3 {
            assert_eq!(run(&again).trace, run(&case).trace);
        }
    }
}

#[test]
fn a_case_that_names_what_is_not_there_is_refused() {
    use osier_explore::case::{Case, Deed, Step};
    let case = osier_explore::generate::generate(1);
    let with = |deed| {
        let mut bad = case.clone();
        bad.steps.push(Step { wait_us: 0, deed });
        Case::parse(&bad.to_text()).unwrap_err().to_string()
    };
    assert!(with(Deed::Kill { node: 99 }).contains("names what is not there"));
    assert!(Case::parse("{}").is_err());
    assert!(Case::parse(&case.to_text().replace("\"seed\"", "\"sed\"")).is_err());
}
