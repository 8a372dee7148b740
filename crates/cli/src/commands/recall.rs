//! `tenure recall`: asks a holder to give back soon.

use std::time::Duration;

use clap::Args;
use tenure_core::{LockName, Reason, Token};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{clean, count};

/// Ask the holders of a lock to give it back soon; nothing is taken by force
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// How soon
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    within: Duration,
    /// Why; the holder is told
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Reason,
    /// Only the holder with this token
    #[arg(long, value_name = "N", value_parser = arguments::token)]
    token: Option<Token>,
}

/// Asks.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let Arguments { name, within, reason, token } = arguments;
        let asked = tenure.admin().recall(name.clone(), within, reason.as_str(), token).await?;
        let out = connection.out();
        if out.json {
            return out.json(&serde_json::json!({ "asked": asked }));
        }
        let asked = count(asked, "holder");
        if out.quiet {
            Ok(())
        } else {
            out.line(&format!("{}: {asked} asked", clean(name.as_str())))
        }
    })
}
