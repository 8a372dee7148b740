//! What must pass before a change is done.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::{Steps, cargo, succeed};
use crate::{Outcome, tidy};

/// Everything, in the order in which a mistake is cheapest to find.
pub(crate) fn run(root: &Path) -> Outcome {
    let mut steps = Steps::new();
    steps.step("tools", || tools(root))?;
    steps.step("format", || succeed(cargo(root, &["fmt", "--all", "--check"])))?;
    steps.step("tidy", || tidy::run(root))?;
    steps.step("clippy", || {
        let everything = ["clippy", "--locked", "--workspace", "--all-targets", "--all-features"];
        succeed(cargo(root, &[everything.as_slice(), &["--", "-D", "warnings"]].concat()))
    })?;
    steps.step("each backend alone", || {
        let library =
            ["check", "--locked", "--package", "tenure", "--no-default-features", "--features"];
        let alone = |backend| succeed(cargo(root, &[library.as_slice(), &[backend]].concat()));
        alone("log").and_then(|()| alone("remote"))
    })?;
    steps.step("tests", || succeed(cargo(root, &["test", "--locked", "--workspace"])))?;
    steps.step("documentation", || {
        let mut doc = cargo(root, &["doc", "--locked", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        succeed(doc)
    })?;
    println!("{}\n\nall passed", steps.summary());
    Ok(())
}

/// The tests of a day's work: no server is started, no disk is tortured.
pub(crate) fn fast_tests(root: &Path) -> Outcome {
    succeed(cargo(root, &["test", "--workspace", "--lib", "--bins"]))
}

/// Makes sure that rustfmt and clippy are there: a minimal toolchain lacks them.
fn tools(root: &Path) -> Outcome {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| !answers(cargo(root, &[subcommand, "--version"])))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add"]).args(&missing).current_dir(root);
    succeed(rustup)
        .map_err(|error| format!("install {} for this toolchain: {error}", missing.join(" and ")))
}

fn answers(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
