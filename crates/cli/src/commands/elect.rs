//! `tenure elect`: one leader at a time, with a value that says who or where it is.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tenure::Tenure;
use tenure_core::{LockName, Note};

use crate::acquiring;
use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::guarded::{self, Signals, Task};
use crate::output::Cell;

/// How long a leader's place outlives it when the server hears nothing of it.
const TTL: Duration = Duration::from_secs(15);

/// Run a command while leading, or follow who leads (-l)
///
/// Waits until nobody else leads, then runs the command, which is stopped before another could lead. When it ends, the
/// place is free. Exit status as of tenure lock.
#[derive(Args, Debug)]
#[command(
    override_usage = "tenure elect NAME --value TEXT [FLAGS] -- CMD [ARGS…]\n       tenure elect -l NAME",
    after_help = "Examples:\n  tenure elect scheduler --value http://$(hostname):8080 -- ./scheduler\n  tenure elect -l scheduler"
)]
pub(crate) struct Arguments {
    /// The election's name; a lock of this name is used
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// Print each new leader's value, the present one first
    #[arg(short, long, conflicts_with_all = ["value", "grace", "command"])]
    listen: bool,
    /// What the others learn of the leader
    #[arg(long, value_name = "TEXT", value_parser = arguments::note, required_unless_present = "listen")]
    value: Option<Note>,
    /// The command's time between SIGTERM and SIGKILL
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, env = "TENURE_GRACE", hide_env = true)]
    grace: Option<Duration>,
    /// The command and its arguments; no shell looks at them
    #[arg(last = true, value_name = "CMD", required_unless_present = "listen")]
    command: Vec<OsString>,
}

/// Runs it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let connection = Connection::new(global)?.session_ttl(TTL);
    if arguments.listen {
        return connection.run(async |connection| follow(connection, arguments.name).await);
    }
    connection.run(async |connection| lead(connection, arguments).await)
}

async fn lead(connection: &Connection, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { name, value, grace, command, .. } = arguments;
    let value = value.unwrap_or_else(|| Note::new("").expect("no text is a note"));
    let task = Task {
        command,
        ttl: TTL,
        grace: grace.unwrap_or_else(|| guarded::default_grace(TTL)),
        kill: true,
        on_recall: None,
        at_most: None,
    };
    let out = connection.out();
    let act = async |tenure: &Tenure, signals: &mut Signals| {
        let election = tenure.election(name.clone());
        let leadership = tokio::select! {
            led = election.campaign(value) => {
                led.map_err(|error| acquiring::not_acquired(std::slice::from_ref(&name), error, Exit::No))?
            }
            signal = signals.next_fatal() => return Err(Failure::silent(Exit::signalled(signal))),
        };
        guarded::run(leadership.into_grant(), task, signals, out).await
    };
    connection.hold(act).await
}

/// What `-l --json` prints.
#[derive(Serialize)]
struct LeaderLine<'a> {
    /// `null`: nobody leads.
    value: Option<&'a str>,
    token: Option<u64>,
}

async fn follow(connection: &Connection, name: LockName) -> Result<(), Failure> {
    let tenure = connection.connect().await?;
    let out = connection.out();
    let mut leaders = tenure.election(name).leaders();
    while let Some(leader) = leaders.next().await {
        let leader = leader.map_err(Failure::from)?;
        let value = leader.as_ref().map(|leader| leader.value.as_str());
        let token = leader.as_ref().map(|leader| leader.token.get());
        if out.json {
            out.json(&LeaderLine { value, token })?;
        } else if leader.is_some() {
            // Nobody leads for a moment between two leaders: a line would only be in the way of `while read`.
            out.cells(&[Cell::from(value.unwrap_or_default())])?;
        }
    }
    Ok(())
}
