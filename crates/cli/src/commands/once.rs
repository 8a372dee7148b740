//! `tenure once`: permission to perform a one-time task, as a cron job on many machines needs it.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use tenure::Tenure;
use tenure_core::{LockName, Note};

use crate::acquiring::{self, Terms};
use crate::arguments::{self, Global, Mode, Patience};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::guarded::{self, Signals, Task};

/// How much of the period is kept free of another run: cron's jitter must not skip a turn.
const KEPT_FREE: f64 = 0.9;
/// How long the lock outlives this program when the server hears nothing of it.
const TTL: Duration = Duration::from_secs(15);

/// Run a command once per period, wherever it is started
///
/// A run that is not due, or that runs elsewhere at the moment, is skipped without a word (exit 0, or -E). The next run
/// is due when nine tenths of the period have passed since the last one began, so that a cron job that starts a little
/// early is not skipped.
///
/// A run that fails has had its turn: its exit status is passed on, and there is no second try before the next one is
/// due. For a second try: tenure break NAME --any --reason "run it again".
#[derive(Args, Debug)]
#[command(
    override_usage = "tenure once NAME --every DUR [FLAGS] -- CMD [ARGS…]",
    after_help = "Example, in the crontab of every machine:\n  0 3 * * *  tenure once nightly --every 1d -- ./nightly-report"
)]
pub(crate) struct Arguments {
    /// The task's name; a lock of this name is used
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// The period
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    every: Duration,
    /// Stop the command after so long
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    at_most: Option<Duration>,
    /// Exit status of a skipped run
    #[arg(short = 'E', long = "conflict-exit-code", value_name = "CODE", default_value_t = 0)]
    conflict: u8,
    /// What others see of the holder [default: who, where and which program]
    #[arg(long, value_name = "TEXT", value_parser = arguments::note, env = "TENURE_NOTE", hide_env = true)]
    note: Option<Note>,
    /// The command and its arguments; no shell looks at them
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs it, and ends this process with the command's status.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let terms = Terms {
        mode: Mode { exclusive: false, shared: false, permits: None, weight: None },
        patience: Patience::None,
        note: arguments.note.unwrap_or_else(|| acquiring::note_for(&arguments.command[0])),
        lock_delay: None,
        at_least: Some(arguments.every.mul_f64(KEPT_FREE)),
        conflict: Exit::Given(arguments.conflict),
    };
    let task = Task {
        command: arguments.command,
        ttl: TTL,
        grace: guarded::default_grace(TTL),
        kill: true,
        on_recall: None,
        at_most: arguments.at_most,
    };
    let connection = Connection::new(global)?.session_ttl(TTL);
    connection.run(async |connection| {
        let (names, out) = (std::slice::from_ref(&arguments.name), connection.out());
        let act = async |tenure: &Tenure, signals: &mut Signals| {
            match acquiring::acquire(tenure, names, &terms, signals, out).await {
                Ok(grant) => guarded::run(grant, task, signals, out).await,
                // Not due: that is what the command is for, and cron mails whatever is printed.
                Err(skipped) if skipped.exit() == terms.conflict && !out.verbose => {
                    Err(Failure::silent(terms.conflict))
                }
                Err(other) => Err(other),
            }
        };
        connection.hold(act).await
    })
}
