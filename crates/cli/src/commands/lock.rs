//! `tenure lock NAME… -- CMD`: runs a command while it holds a lock, with the habits of flock(1).

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;
use tenure::Tenure;
use tenure_core::{LockName, Note};

use crate::acquiring::{self, Terms};
use crate::arguments::{self, Global, Mode, Waiting};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::guarded::{self, Signals, Task};

/// Run a command while holding a lock
///
/// The command is stopped before the server could grant the lock to another, even if this program is killed or frozen:
/// SIGTERM when the time left falls to the grace period, SIGKILL when it is over. Only after a break, which hands the
/// lock on at once, it may run for up to a second beside the next one.
///
/// Exit status: the command's own, 128+n if a signal ended it; 1 (or -E) not acquired; 64 wrong usage; 69 server
/// unreachable; 75 lock lost while the command ran; 77 key refused; 126/127 command cannot be executed.
///
/// The command finds TENURE_LOCK, TENURE_TOKEN, TENURE_TOKENS (JSON), TENURE_LEASE, TENURE_SESSION and TENURE_OWNER in
/// its environment. Hand TENURE_TOKEN to whatever it writes to: the only safe guard against a holder that was paused.
#[derive(Args, Debug)]
#[command(
    override_usage = "tenure lock NAME… [FLAGS] -- CMD [ARGS…]\n       tenure lock NAME… [FLAGS] -c 'SHELL LINE'",
    after_help = "Examples:\n  tenure lock deploy -- ./deploy.sh production\n  tenure lock -n backup -- restic backup /srv\n  tenure lock -w 30s -E 0 report -- ./report\n  tenure lock --permits 4 render -- ./render frame-17\n  tenure lock accounts/1 accounts/2 -- ./transfer"
)]
pub(crate) struct Arguments {
    /// The lock; of several, all or none
    #[arg(required = true, value_name = "NAME", value_parser = arguments::lock_name)]
    names: Vec<LockName>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    mode: Mode,
    /// Exit status when the lock is not acquired
    #[arg(short = 'E', long = "conflict-exit-code", value_name = "CODE", default_value_t = 1)]
    conflict: u8,
    /// How long the lock outlives this program when the server hears nothing of it
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, default_value = "15s", env = "TENURE_TTL", hide_env = true)]
    ttl: Duration,
    /// The command's time between SIGTERM and SIGKILL [default: a quarter of the ttl, at most 5s]
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, env = "TENURE_GRACE", hide_env = true)]
    grace: Option<Duration>,
    /// If this program vanishes: how much longer nobody gets the lock
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, env = "TENURE_LOCK_DELAY", hide_env = true)]
    lock_delay: Option<Duration>,
    /// What others see of the holder [default: who, where and which program]
    #[arg(long, value_name = "TEXT", value_parser = arguments::note, env = "TENURE_NOTE", hide_env = true)]
    note: Option<Note>,
    /// Signal for the command when somebody asks for the lock (tenure recall)
    #[arg(long, value_name = "SIGNAL", value_parser = signal, env = "TENURE_ON_RECALL", hide_env = true)]
    on_recall: Option<Signal>,
    /// Let the command go on when the lock is lost; it is said, and the exit status is 75
    #[arg(long)]
    no_kill: bool,
    /// A line for the shell ($SHELL, else /bin/sh) instead of a command
    #[arg(short = 'c', long = "command", value_name = "SHELL-LINE", conflicts_with = "command")]
    shell_line: Option<OsString>,
    /// The command and its arguments; no shell looks at them
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs it, and ends this process with the command's status.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let command = command(arguments.shell_line, arguments.command)?;
    let task = Task {
        command,
        ttl: arguments.ttl,
        grace: arguments.grace.unwrap_or_else(|| guarded::default_grace(arguments.ttl)),
        kill: !arguments.no_kill,
        on_recall: arguments.on_recall,
        at_most: None,
    };
    if task.kill && task.grace >= arguments.ttl {
        return Err(Failure::usage("--grace leaves no time to run: make it shorter than --ttl"));
    }
    let note = arguments.note.unwrap_or_else(|| acquiring::note_for(&task.command[0]));
    let connection = Connection::new(global)?.session_ttl(arguments.ttl);
    let terms = Terms {
        mode: arguments.mode,
        patience: arguments.waiting.patience(),
        note,
        lock_delay: arguments.lock_delay,
        at_least: None,
        conflict: Exit::Given(arguments.conflict),
    };
    connection.run(async |connection| {
        let (names, out) = (&arguments.names, connection.out());
        let act = async |tenure: &Tenure, signals: &mut Signals| {
            let grant = acquiring::acquire(tenure, names, &terms, signals, out).await?;
            guarded::run(grant, task, signals, out).await
        };
        connection.hold(act).await
    })
}

fn command(shell_line: Option<OsString>, words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    if let Some(line) = shell_line {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        return Ok(vec![shell.unwrap_or_else(|| "/bin/sh".into()), "-c".into(), line]);
    }
    if words.is_empty() {
        return Err(Failure::usage(
            "no command to run: put it behind --, as in tenure lock deploy -- ./deploy.sh (or use tenure acquire)",
        ));
    }
    Ok(words)
}

/// `HUP`, `SIGHUP` or `1`.
fn signal(text: &str) -> Result<Signal, String> {
    let wrong = || format!("`{text}` is no signal: say HUP, SIGUSR1 or a number");
    let number = match text.parse::<i32>() {
        Ok(number) => number,
        Err(_) => {
            let upper = text.to_ascii_uppercase();
            let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
            name.parse::<nix::sys::signal::Signal>().map_err(|_| wrong())? as i32
        }
    };
    Signal::from_named_raw(number).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        assert_eq!(signal("HUP"), Ok(Signal::HUP));
        assert_eq!(signal("sigusr1"), Ok(Signal::USR1));
        assert_eq!(signal("15"), Ok(Signal::TERM));
        assert!(signal("NOPE").is_err());
        assert!(signal("0").is_err());
    }
}
