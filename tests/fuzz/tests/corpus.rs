//! The short run: the committed corpus, then a fixed number of mutations of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use osier_fuzz::{
    TARGETS, Target, corpus,
    mutate::{Random, mutate},
};
use std::{fs, panic};

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo run -p osier-fuzz --bin osier-fuzz-corpus`",
            folder.display()
        )
    });
    let mut seeds: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    seeds.sort();
    seeds
}

/// Runs the target; a panic says which input did it, so that it can be put into the corpus.
fn run(target: &Target, input: &[u8], what: &str) -> bool {
    panic::catch_unwind(|| (target.run)(input)).unwrap_or_else(|_| {
        let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
        panic!("target {} failed on {what}: {hex}", target.name)
    })
}

#[test]
fn every_seed_is_handled_and_most_are_accepted() {
    for target in TARGETS {
        let seeds = seeds(target);
        let accepted = seeds
            .iter()
            .filter(|(name, seed)| run(target, seed, name))
            .count();
        assert!(
            accepted > 0 && accepted * 2 >= seeds.len(),
            "{}: only {accepted} of {} seeds are accepted: the corpus is stale, write it again",
            target.name,
            seeds.len()
        );
    }
}

#[test]
fn the_committed_corpus_holds_every_seed() {
    for target in TARGETS {
        let committed = seeds(target);
        for (name, _) in (target.seeds)() {
            assert!(
                committed.iter().any(|(committed, _)| *committed == name),
                "{}/{name} is missing: run `cargo run -p osier-fuzz --bin osier-fuzz-corpus`",
                target.name
            );
        }
    }
}

#[test]
fn mutated_seeds_are_handled() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for (number, target) in TARGETS.iter().enumerate().skip(half).step_by(2) {
                    let seeds = seeds(target);
                    let mut random = Random::new(number as u64 + 1);
                    let started = std::time::Instant::now();
                    for round in 0..target.mutations {
                        let mut input = seeds[random.below(seeds.len())].1.clone();
                        let other = &seeds[random.below(seeds.len())].1;
                        mutate(&mut input, other, &mut random);
                        run(target, &input, &format!("mutation {round}"));
                    }
                    println!(
                        "{}: {} mutations in {:?}",
                        target.name,
                        target.mutations,
                        started.elapsed()
                    );
                }
            });
        }
    });
}

#[test]
fn inputs_of_one_octet_value_are_handled() {
    for target in TARGETS {
        for octet in [0, 1, 0x41, 0x60, 0x7f, 0x80, 0xff] {
            for length in [0, 1, 2, 3, 7, 8, 39, 40, 41, 48, 100, 1280, 4000] {
                run(target, &vec![octet; length], &format!("{length} times {octet}"));
            }
        }
    }
}
