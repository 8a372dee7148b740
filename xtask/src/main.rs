//! `cargo xtask`: one command for everything a contributor does.

mod bench;
mod ci;
mod demo;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--listen ADDRESS]   build the program, start a server and take a lock; the server runs until Ctrl-C
  test                      the fast tests: rules, log and parsers, in seconds
  ci                        everything that must pass: format, clippy, tidy, all tests, documentation
  tidy                      the house rules no compiler knows
  bench [--quick] [--write] measure the server beside etcd and Redis; --write puts the table into docs/performance.md
";

/// Something went wrong and has been said on stderr already, or is said by this text.
pub(crate) type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => ci::run(&root()),
        ["test"] => ci::fast_tests(&root()),
        ["tidy"] => tidy::run(&root()),
        ["demo", rest @ ..] => demo::run(&root(), rest),
        ["bench", rest @ ..] => bench::run(&root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the working tree.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies one folder below the top").to_owned()
}
