//! The moment between the sentinel and the command: `tenure __run` arranges the new process from inside and becomes
//! the command. (What must be arranged between fork and exec is done here without code between fork and exec.)

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, set_parent_process_death_signal};
use rustix::termios::tcsetpgrp;

use super::group::signal_set;
use super::orders::Orders;

/// The name of the inner command.
pub(crate) const NAME: &str = "__run";
/// This very program, also when the file it came from was replaced meanwhile.
pub(super) const MYSELF: &str = "/proc/self/exe";

/// Starts the command as the leader of a group of its own.
pub(super) fn start(orders: &Orders, input: OwnedFd) -> io::Result<Pid> {
    let parent = getpid().as_raw_nonzero().to_string();
    let mut process = Command::new(MYSELF);
    process
        .arg0("tenure")
        .args([NAME, &parent])
        .arg(if orders.may_kill { "kill" } else { "spare" })
        .arg(if orders.foreground { "foreground" } else { "background" })
        .args(&orders.command)
        .stdin(Stdio::from(input))
        .process_group(0);
    let child = process.spawn()?;
    Pid::from_raw(child.id().cast_signed())
        .ok_or_else(|| io::Error::other("a process without an id"))
}

/// Becomes the command. Comes back only with the exit status of a command that cannot be executed.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|word| word.to_str()?.parse::<i32>().ok());
    let may_kill = arguments.next().is_some_and(|word| word == "kill");
    let foreground = arguments.next().is_some_and(|word| word == "foreground");
    let Some(program) = arguments.next() else {
        eprintln!("tenure: this is an inner command; use tenure lock");
        return ExitCode::from(64);
    };
    if may_kill {
        // Without this a killed sentinel would leave the command running unwatched.
        let asked = set_parent_process_death_signal(Some(Signal::KILL));
        let orphaned = getppid().map(|pid| pid.as_raw_nonzero().get()) != parent;
        if asked.is_err() || orphaned {
            return ExitCode::from(69);
        }
    }
    if foreground {
        // SIGTTOU is still blocked, as the sentinel left it. A terminal that went away meanwhile is no reason not to run.
        if let Ok(terminal) = std::fs::File::open("/dev/tty") {
            let _ = tcsetpgrp(&terminal, getpgrp());
        }
    }
    // Unblocking cannot fail for a set that was blocked.
    let _ = signal_set().thread_unblock();
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("tenure: cannot run {}: {error}", program.to_string_lossy().escape_debug());
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}
