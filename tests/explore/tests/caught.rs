//! The checks work: a fault on purpose is noticed soon, and its case shrinks to something that can be read.
#![allow(clippy::unwrap_used)]

use osier_explore::case::{Case, Fault, Kind};
use osier_explore::explore::case_seed;
use osier_explore::generate::generate;
use osier_explore::run::run;
use osier_explore::shrink::shrink;

/// The first case that the fault spoils, made small.
fn caught(fault: fn(&Case) -> Fault, kinds: &[Kind]) -> Case {
    for index in 0..300 {
        let mut case = generate(case_seed(77, index));
        case.fault = Some(fault(&case));
        case.settle = kinds.contains(&Kind::Starvation);
        let Some(found) = run(&case).violation.filter(|found| kinds.contains(&found.kind)) else {
            continue;
        };
        let small = shrink(&case, &mut |_, _| {}).unwrap();
        assert!(
            small.nodes.len() <= 5 && small.steps.len() <= 6,
            "not small:\n{}",
            small.to_text()
        );
        let again = run(&small).violation.unwrap();
        assert_eq!(again.kind, found.kind);
        // Without the fault nothing is wrong with it.
        let mut sound = small.clone();
        sound.fault = None;
        assert_eq!(run(&sound).violation, None);
        return small;
    }
    panic!("not noticed in 300 cases");
}

#[test]
fn metrics_lowered_on_the_wire_are_noticed() {
    caught(
        |_| Fault::HalveMetrics { link: 0 },
        &[Kind::Order, Kind::Loop, Kind::Detour],
    );
}

#[test]
fn seqnos_raised_on_the_wire_are_noticed() {
    caught(
        |_| Fault::RaiseSeqnos { link: 0 },
        &[Kind::Order, Kind::Loop, Kind::Seqno, Kind::Starvation],
    );
}

#[test]
fn a_speaker_that_boasts_is_noticed() {
    caught(|_| Fault::Boast { node: 0 }, &[Kind::Boast]);
}

#[test]
fn a_speaker_that_forgets_its_source_table_is_noticed() {
    caught(
        |_| Fault::Forget {
            node: 0,
            every_ms: 1_500,
        },
        &[Kind::Selection, Kind::Order, Kind::Loop, Kind::Seqno],
    );
}

#[test]
fn a_speaker_that_believes_for_too_long_is_noticed() {
    caught(|_| Fault::SlowClock { node: 0 }, &[Kind::Expiry]);
}

#[test]
fn a_speaker_that_is_never_asked_for_a_seqno_starves_others() {
    caught(
        |_| Fault::DeafToRequests { node: 0 },
        &[Kind::Starvation, Kind::Detour],
    );
}

#[test]
fn a_speaker_that_believes_replayed_packets_is_noticed() {
    caught(|_| Fault::BelievesAll { node: 0 }, &[Kind::Replay]);
}
