//! The story of `make demo`, with every promise checked.

#![allow(clippy::print_stdout)] // shown when the test fails

use osier_e2e::story::{self, Teller};
use osier_lab::Lab;
use std::time::Duration;

struct Output;

impl Teller for Output {
    fn say(&self, text: &str) {
        println!("{text}");
    }
}

#[test]
fn mesh_of_eight_heals_from_a_cut_link_a_dead_relay_and_a_planned_stop() -> osier_lab::Result<()> {
    Lab::run("heals", |lab| {
        let outcome = story::run(lab, Duration::from_secs(40), &Output)?;
        let broken: Vec<_> = outcome.findings.iter().filter(|f| !f.holds).collect();
        anyhow::ensure!(broken.is_empty(), "promises that did not hold: {broken:#?}");
        anyhow::ensure!(outcome.pictures.len() == 2, "a picture is missing");
        anyhow::Ok(())
    })
}
