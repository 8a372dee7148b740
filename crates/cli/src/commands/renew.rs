//! `tenure renew`: a grant lives longer.

use std::time::Duration;

use clap::Args;
use tenure_core::LockName;

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::lease::LeaseArgument;
use crate::output::{Cell, Style, span};
use crate::words;

/// Hold a lock longer
///
/// Exit status 75: the lock is lost, stop the work.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock, as a check that TENURE_LEASE is of the one that is meant
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: Option<LockName>,
    #[command(flatten)]
    lease: LeaseArgument,
    /// How long from now on; never shorter than it would be held anyway [default: as before]
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    ttl: Option<Duration>,
}

/// Renews it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let Arguments { name, lease: given, ttl } = arguments;
    let lease = given.read(name.as_ref())?;
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let renewed = tenure.raw().renew(lease, ttl, None).await;
        let renewed = renewed.map_err(|error| given.failed(name.as_ref(), error))?;
        let out = connection.out();
        if out.json {
            return out.json(&renewed);
        }
        if let Some(recall) = &renewed.recall {
            let by = recall.by.as_ref().map(|by| by.as_str());
            let asked = words::recall(recall.within.get(), by, recall.reason.as_str());
            crate::output::say(&format!("asked for {asked}"));
        }
        if out.quiet {
            return Ok(());
        }
        out.cells(&[
            "held for another".into(),
            Cell::new(span(renewed.valid_for.get()), Style::Strong),
        ])
    })
}
