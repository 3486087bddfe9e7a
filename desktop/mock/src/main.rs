//! A service that is none: it speaks the control API from scenario files (see [`scenario`]). Every screen and state
//! of the desktop app can be seen with it, without root and without a network.
//!
//! ```console
//! $ osier-desktop-mock --socket /tmp/osier.sock --scenario connected &
//! $ OSIER_CONTROL_SOCKET=/tmp/osier.sock osier-desktop
//! ```
//!
//! Another scenario's name on standard input switches to it; each switch is confirmed by a line on standard output.
//! The end of standard input ends the mock.

mod generate;
mod scenario;
mod serve;
#[cfg(test)]
mod tests;

use crate::{scenario::Library, serve::Stage};
use anyhow::Context;
use clap::Parser;
use std::{io::Write, path::PathBuf};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Speaks the control API from scenario files.
#[derive(Debug, Parser)]
struct Arguments {
    /// The Unix socket to listen on.
    #[arg(long)]
    socket: PathBuf,
    /// Where the scenario files are.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    scenarios: PathBuf,
    /// The first scenario.
    #[arg(long, default_value = "connected")]
    scenario: String,
    /// List the scenarios and end.
    #[arg(long)]
    list: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let library = Library::read(&arguments.scenarios)?;
    let mut out = std::io::stdout();
    if arguments.list {
        for name in library.names() {
            writeln!(out, "{name}: {}", library.scenario(name)?.description)?;
        }
        return Ok(());
    }
    let mut stage = Stage::new(arguments.socket, library);
    stage.play(&arguments.scenario)?;
    writeln!(out, "playing {}", arguments.scenario)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(name) = line.context("standard input")? else { return Ok(()) };
                match stage.play(name.trim()) {
                    Ok(()) => writeln!(out, "playing {}", name.trim())?,
                    Err(error) => writeln!(out, "failed: {error}")?,
                }
            }
            name = stage.cue() => stage.play(&name)?,
        }
        out.flush()?;
    }
}
