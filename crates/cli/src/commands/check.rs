//! `tenure check`: whether a token is still the lock's.

use clap::Args;
use tenure_core::{LockName, Token};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output;

/// Ask whether a token is still current (exit 0) or not (exit 1)
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// The token
    #[arg(value_name = "TOKEN", value_parser = arguments::token)]
    token: Token,
}

/// Asks.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let answer = tenure.raw().check(arguments.name.clone(), arguments.token).await?;
        let out = connection.out();
        let name = output::clean(arguments.name.as_str());
        if out.json {
            out.json(&answer)?;
        } else if !out.quiet {
            let latest = answer.latest_token.map_or("none".to_owned(), |token| token.to_string());
            let is = if answer.current { "is current" } else { "is not current" };
            out.line(&format!("{name}: token {} {is} (latest: {latest})", arguments.token))?;
        }
        if answer.current { Ok(()) } else { Err(Failure::silent(Exit::No)) }
    })
}
