//! `osier-explore`: explores random networks of Babel speakers under random misfortune.

use anyhow::Context as _;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use osier_explore::case::{Case, Violation};
use osier_explore::explore::Exploration;
use osier_explore::run::run;
use osier_explore::shrink::shrink;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Explores random networks of Babel speakers under random misfortune, and checks after every event that no
/// routing loop forms and that all rules of feasibility hold; in the end of each case, that everything is
/// reached by shortest paths. The same number of events and seed repeat an exploration exactly.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Events to explore: deliveries of packets, wake-ups of speakers, deeds.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play this case only, and say what becomes of it.
    #[arg(long, value_name = "FILE", conflicts_with = "events")]
    case: Option<PathBuf>,
    /// Print the case of this number (as `--all` lists it), to be saved and played.
    #[arg(long, value_name = "NUMBER", conflicts_with = "case")]
    print: Option<u64>,
    /// With --case: print every event.
    #[arg(long, requires = "case")]
    trace: bool,
    /// With --case: make a case that goes wrong smaller.
    #[arg(long, requires = "case")]
    shrink: bool,
    /// Where to write the case of a violation.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Go on after a violation, and list them all, unshrunk.
    #[arg(long, conflicts_with = "case")]
    all: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(number) = arguments.print {
        let case = osier_explore::generate::generate(number);
        return Ok(std::io::stdout().lock().write_all(case.to_text().as_bytes())?);
    }
    match &arguments.case {
        Some(path) => play(path, &arguments),
        None => explore(&arguments),
    }
}

fn play(path: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let case = Case::parse(&text).with_context(|| format!("in {}", path.display()))?;
    if arguments.trace {
        osier_explore::world::trace();
    }
    let outcome = run(&case);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} events, trace {:016x}", outcome.events, outcome.trace)?;
    if let Some(settled) = outcome.settled {
        let seconds = |us: u64| us as f64 / 1e6;
        let (reached, shortest) = (seconds(settled.reached_us), seconds(settled.shortest_us));
        writeln!(
            out,
            "after peace: all reached in {reached:.1} s, shortest paths {shortest:.1} s later"
        )?;
    }
    let found = outcome.violation.as_ref();
    if arguments.shrink && found.is_some() {
        let path = minimise(&case, &arguments.out)?;
        writeln!(out, "smaller: {}", path.display())?;
    }
    match (case.expect, found) {
        (None, None) => writeln!(out, "no violation")?,
        (Some(expected), Some(found)) if found.kind == expected => writeln!(out, "as expected: {found}")?,
        (_, Some(found)) => anyhow::bail!("{found}"),
        (Some(expected), None) => anyhow::bail!("{expected:?} was expected, and nothing is wrong"),
    }
    Ok(())
}

fn explore(arguments: &Arguments) -> anyhow::Result<()> {
    let bar = ProgressBar::new(arguments.events).with_style(ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left, {msg}",
    )?);
    let began = std::time::Instant::now();
    let mut exploration = Exploration::new(arguments.seed);
    let mut violations = 0;
    let mut out = std::io::stdout().lock();
    while exploration.events < arguments.events {
        if let Some((case, violation)) = exploration.next_case() {
            violations += 1;
            if arguments.all {
                bar.suspend(|| writeln!(out, "case {}: {violation}", case.seed))?;
            } else {
                bar.finish_and_clear();
                return report(&case, &violation, &arguments.out);
            }
        }
        bar.set_position(exploration.events);
        bar.set_message(format!("{} cases", exploration.cases));
    }
    bar.finish_and_clear();
    let took = began.elapsed();
    writeln!(out, "{}", exploration.summary())?;
    writeln!(
        out,
        "{} events in {} cases from seed {} in {took:.1?} ({:.0} events/s): {}",
        exploration.events,
        exploration.cases,
        arguments.seed,
        exploration.events as f64 / took.as_secs_f64(),
        match violations {
            0 => "no invariant broken".to_owned(),
            n => format!("{n} violations"),
        }
    )?;
    anyhow::ensure!(violations == 0, "invariants were broken");
    Ok(())
}

fn report(case: &Case, violation: &Violation, folder: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{violation}\nmaking the case smaller …")?;
    let path = minimise(case, folder)?;
    anyhow::bail!(
        "an invariant broke; repeat it with cargo run -p osier-explore -- --case {}",
        path.display()
    )
}

fn minimise(case: &Case, folder: &Path) -> anyhow::Result<PathBuf> {
    let bar = ProgressBar::new_spinner();
    let small = shrink(case, &mut |runs, best| {
        bar.set_message(format!(
            "{runs} runs, {} steps, {} nodes",
            best.steps.len(),
            best.nodes.len()
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    let mut small = small.context("the case does not go wrong again")?;
    let violation = run(&small)
        .violation
        .context("the case does not go wrong again")?;
    small.note = violation.to_string();
    let kind = serde_json::to_value(violation.kind)?;
    let name = format!("{}-{}.json", kind.as_str().unwrap_or("case"), case.seed);
    let path = folder.join(name);
    std::fs::write(&path, small.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
