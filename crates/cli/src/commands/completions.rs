//! `tenure completions`: what a shell completes.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::CommandLine;
use crate::failure::Failure;
use crate::output::Output;

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  tenure completions bash > ~/.local/share/bash-completion/completions/tenure"
)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints it.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    // Made in memory first: the generator panics when nobody reads it to the end.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "tenure", &mut script);
    let script = String::from_utf8(script).expect("completion scripts are text");
    Output::new(false, false, false).line(script.trim_end())
}
