//! `make demo`: a real mesh of `osier` processes on a simulated internet that heals before your eyes.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use osier_e2e::story::{self, Finding, Outcome, Teller};
use osier_lab::Lab;
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

#[derive(Parser)]
#[command(about = "Builds a mesh of 8 nodes in network namespaces, breaks it, and shows how it heals.")]
struct Arguments {
    /// Folder for the pictures.
    #[arg(long, default_value = "demo")]
    out: PathBuf,
    /// Seconds of silence over which idle cost is measured.
    #[arg(long, default_value_t = 30)]
    idle: u64,
}

/// A line per event, under a spinner that shows that something is still going on.
struct Screen {
    bar: ProgressBar,
    start: Instant,
}

impl Teller for Screen {
    fn say(&self, text: &str) {
        let line = format!("{:6.1} s  {text}", self.start.elapsed().as_secs_f64());
        if self.bar.is_hidden() {
            println_line(&line)
        } else {
            self.bar.println(line)
        }
        self.bar.set_message(text.trim().to_owned());
    }
}

#[allow(clippy::print_stdout)] // this program's output
fn println_line(line: &str) {
    println!("{line}");
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    // Everything below runs in namespaces of its own; when this program ends or is interrupted, they and all
    // processes in them are gone.
    osier_lab::enter();
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let screen = Screen {
        bar,
        start: Instant::now(),
    };

    let lab = Lab::new("demo")?;
    let outcome = story::run(&lab, Duration::from_secs(arguments.idle), &screen);
    screen.bar.finish_and_clear();
    let outcome = outcome?;
    println_line(&table(&outcome.findings).to_string());
    for path in save(&outcome, &arguments.out)? {
        println_line(&format!("picture: {}", path.display()));
    }
    let broken = outcome.findings.iter().filter(|f| !f.holds).count();
    let taken = screen.start.elapsed().as_secs();
    if broken > 0 {
        println_line(&format!(
            "{broken} of the promises above did not hold ({taken} s)"
        ));
        return Ok(ExitCode::FAILURE);
    }
    println_line(&format!("every promise held ({taken} s)"));
    Ok(ExitCode::SUCCESS)
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["what", "measured", "promised", ""]);
    for finding in findings {
        let (mark, colour) = match (finding.holds, finding.promise.is_empty()) {
            (true, true) => ("", Color::Reset),
            (true, false) => ("ok", Color::Green),
            (false, _) => ("NO", Color::Red),
        };
        let cells = [&finding.what, &finding.figure, &finding.promise].map(Cell::new);
        table.add_row(cells.into_iter().chain([Cell::new(mark).fg(colour)]));
    }
    table
}

/// Writes each picture as SVG, and as PNG where rsvg-convert is installed.
fn save(outcome: &Outcome, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    for (number, (_, svg)) in outcome.pictures.iter().enumerate() {
        let path = folder.join(format!("mesh-{}.svg", number + 1));
        std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        let png = path.with_extension("png");
        let drawn = Command::new("rsvg-convert")
            .arg("-o")
            .arg(&png)
            .arg(&path)
            .status();
        written.push(if drawn.is_ok_and(|s| s.success()) {
            png
        } else {
            path
        });
    }
    Ok(written)
}
