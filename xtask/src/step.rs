//! Runs other programs, one step after the other, and says how long each took.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Steps with their times, for the closing lines.
pub(crate) struct Steps {
    started: Instant,
    taken: Vec<(&'static str, Duration)>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), taken: Vec::new() }
    }

    /// Does one step; its name stands before its output and in the closing lines.
    ///
    /// # Errors
    /// What the step said, with its name: the steps after it are not done.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) -> Outcome {
        println!("\n==> {name}");
        let began = Instant::now();
        let done = work();
        self.taken.push((name, began.elapsed()));
        done.map_err(|message| format!("{}\n{name} FAILED: {message}", self.summary()))
    }

    /// One line per step, and the sum.
    pub(crate) fn summary(&self) -> String {
        let mut lines = String::from("\n");
        for (name, taken) in &self.taken {
            lines += &format!("{:>8.1} s  {name}\n", taken.as_secs_f64());
        }
        lines + &format!("{:>8.1} s  in all", self.started.elapsed().as_secs_f64())
    }
}

/// Cargo in the working tree: the one that runs us, so that a chosen toolchain stays chosen.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// Runs a command to its end with our own output.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the text shows the command.
pub(crate) fn succeed(mut command: Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ({status})", shown(&command))),
        Err(error) => Err(format!("{}: {error}", shown(&command))),
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
