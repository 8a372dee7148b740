//! `tenure doubledutch`: a server that is started as DoubleDutch was. Its words are no flags, so it reads them itself.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Run a server that is started, and answers, as DoubleDutch does
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// PORT [n NAME] [p MS] [t N] [h 0] [a KEY] [c CRT] [k KEY-FILE] [--no-status-tokens]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PORT")]
    words: Vec<OsString>,
}

/// Runs it until it is told to stop.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let words = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    tenure_server::doubledutch::run(words)
}

/// Reached when flags stand before the command's name.
pub(crate) fn explain(arguments: &Arguments) -> Result<(), Failure> {
    let words: Vec<_> = arguments.words.iter().map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    Err(Failure::usage(format!("no flag goes before it, say: tenure doubledutch {line}")))
}
