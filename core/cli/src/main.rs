//! `osier`: the command line of the Osier mesh network.
//!
//! Each group of commands has its file in [`commands`]: the options as a clap type, and a function that carries
//! them out. Commands about the node on this machine speak only the control API ([`control`]); `up`, `registry
//! serve` and `babel` are daemons themselves; the commands of a network's operator open the registry's directory.
//! Results go through [`output`], failures come back as [`exit::Failure`] with the exit code and advice.

mod commands;
mod control;
mod exit;
mod format;
mod hosting;
mod output;
mod paths;
mod progress;
mod render;

use clap::{ColorChoice, Parser};
use exit::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

/// A private network of your own devices that heals itself.
///
/// Nodes hold encrypted tunnels to a few others and relay for each other by the best way, so that all reach all
/// while links and nodes come and go.
#[derive(Debug, Parser)]
#[command(name = "osier", version, after_help = exit::help(), max_term_width = 100, propagate_version = true)]
struct Cli {
    /// Print results as JSON; what streams (ping, logs, events) prints one value a line
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours; `auto` respects NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            return wrong_usage(&error);
        }
    };
    match cli.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    let output = Output::new(cli.json);
    match run(&cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            ExitCode::from(failure.exit.number())
        }
    }
}

/// Clap's own words to people, and a document to whoever asked for one.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        Output::new(true).print_failure(&Failure::new(Exit::Usage, message, "see `osier --help`"));
    }
    ExitCode::from(Exit::Usage.number())
}

fn run(cli: &Cli, output: &Output) -> exit::Outcome {
    let mut builder = match cli.command.wants_workers() {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|e| Failure::io("cannot start", &e))?;
    runtime.block_on(cli.command.run(output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {} has no help",
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(|c| check(c, &path));
        }
        check(&Cli::command(), "");
    }
    /// So that `docs/cli.md` stays the map that it says it is.
    #[test]
    fn the_manual_names_every_command_and_option() {
        const MANUAL: &str = include_str!("../../../docs/cli.md");
        fn check(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            for child in command.get_subcommands() {
                let path = format!("{path} {}", child.get_name());
                if !MANUAL.contains(&path) {
                    missing.push(path.clone());
                }
                for option in child.get_arguments().filter_map(|a| a.get_long()) {
                    if !MANUAL.contains(&format!("--{option}`")) && !MANUAL.contains(&format!("--{option} "))
                    {
                        missing.push(format!("{path} --{option}"));
                    }
                }
                check(child, &path, missing);
            }
        }
        let mut missing = Vec::new();
        check(&Cli::command(), "osier", &mut missing);
        assert!(missing.is_empty(), "docs/cli.md lacks {missing:?}");
        for exit in Exit::ALL {
            let row = format!("| {} | `{}` | {} |", exit.number(), exit.name(), exit.meaning());
            assert!(MANUAL.contains(&row), "docs/cli.md lacks {row}");
        }
    }
}
