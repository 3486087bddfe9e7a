//! `osier completions`: completion scripts for shells.

use crate::{exit::Outcome, output::Output};
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to write for
    ///
    /// bash: `osier completions bash > /usr/share/bash-completion/completions/osier`;
    /// zsh: `osier completions zsh > /usr/share/zsh/site-functions/_osier`;
    /// fish: `osier completions fish > ~/.config/fish/completions/osier.fish`.
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "osier", &mut script);
    output.write(&String::from_utf8_lossy(&script))
}
