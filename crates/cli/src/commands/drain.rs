//! `tenure drain`: a server stops taking work.

use std::time::Duration;

use clap::Args;

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::count;

/// Have a server stop: waiters keep their places for when it is back, holders may renew until then
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How long holders have [default: as the server is configured]
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    within: Option<Duration>,
}

/// Drains it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let answer = connection.connect().await?.admin().drain(arguments.within).await?;
        let out = connection.out();
        if out.json {
            return out.json(&answer);
        }
        let (waiters, holders) =
            (count(answer.waiters_moved, "waiter"), count(answer.holders_left, "holder"));
        if out.quiet {
            Ok(())
        } else {
            out.line(&format!("draining: {waiters} sent away, {holders} left"))
        }
    })
}
