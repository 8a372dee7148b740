//! `tenure acquire`: takes a lock for longer than one command.

use std::time::Duration;

use clap::Args;
use tenure::Tenure;
use tenure_api::Grant as AnsweredGrant;
use tenure_core::{LockName, Note};

use crate::acquiring::{self, Terms};
use crate::arguments::{self, Global, Mode, Waiting};
use crate::connection::Connection;
use crate::environment;
use crate::failure::{Exit, Failure};
use crate::guarded::Signals;
use crate::output::{self, Output, shell_word};

/// Take a lock and print its lease
///
/// The lock is held until `tenure release`, or for its ttl after the last `tenure renew`. (A command that runs under a
/// lock is safer: tenure lock.)
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  eval \"$(tenure acquire deploy --ttl 5m --export)\"\n  ./deploy.sh --token $TENURE_TOKEN\n  tenure release deploy"
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
    /// How long it is held unless renewed
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, default_value = "30s", env = "TENURE_TTL", hide_env = true)]
    ttl: Duration,
    /// If it runs out: how much longer nobody gets the lock
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, env = "TENURE_LOCK_DELAY", hide_env = true)]
    lock_delay: Option<Duration>,
    /// What others see of the holder [default: who, where and which program]
    #[arg(long, value_name = "TEXT", value_parser = arguments::note, env = "TENURE_NOTE", hide_env = true)]
    note: Option<Note>,
    /// Print TENURE_… variables for eval
    #[arg(long, conflicts_with = "json")]
    export: bool,
}

/// Takes it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let terms = Terms {
        mode: arguments.mode,
        patience: arguments.waiting.patience(),
        note: arguments.note.unwrap_or_else(|| acquiring::note_for("tenure".as_ref())),
        lock_delay: arguments.lock_delay,
        at_least: None,
        conflict: Exit::Given(arguments.conflict),
    };
    Connection::new(global)?.run(async |connection| {
        let (names, ttl, out) = (&arguments.names, arguments.ttl, connection.out());
        let act = async |tenure: &Tenure, signals: &mut Signals| {
            let grant =
                acquiring::acquire_for_user(tenure, names, ttl, &terms, signals, out).await?;
            let printed = print(&grant, arguments.export, out);
            if let (Err(_), Some(lease)) = (&printed, grant.lease) {
                // A lease that nobody has read would only be in the way until it ends by itself.
                let _ = tenure.raw().release(lease).await;
            }
            printed.map(|()| 0)
        };
        connection.hold(act).await
    })
}

/// Prints a grant that is the user's from now on.
pub(super) fn print(grant: &AnsweredGrant, export: bool, out: &Output) -> Result<(), Failure> {
    if out.json {
        return out.json(grant);
    }
    let variables = environment::of_answered(grant).ok_or_else(|| {
        Failure::new(
            Exit::NotUnderstood,
            "the answer has no lease (is this the URL of a Tenure server?)",
        )
    })?;
    if export {
        let lines =
            variables.iter().map(|(name, value)| format!("export {name}={}", shell_word(value)));
        return out.line(&lines.collect::<Vec<_>>().join("\n"));
    }
    if out.verbose {
        for (name, token) in grant.tokens() {
            output::say(&format!("{} acquired, token {token}", output::clean(name.as_str())));
        }
    }
    let lease = variables.into_iter().find(|(name, _)| *name == environment::LEASE);
    out.line(&lease.expect("the lease is one of the variables").1)
}
