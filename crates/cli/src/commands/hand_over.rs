//! `tenure hand-over`: takes a grant over under a new lease, without the lock ever being free.

use std::time::Duration;

use clap::Args;
use tenure_core::LockName;

use super::acquire;
use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::lease::LeaseArgument;

/// Take a lock over from another process that gave you its lease
///
/// The new lease is printed; the token is higher, and the old lease is worth nothing from then on.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock; absent, it is that of TENURE_LOCK
    #[arg(value_name = "NAME", value_parser = arguments::lock_name, env = "TENURE_LOCK", hide_env = true)]
    name: Option<LockName>,
    #[command(flatten)]
    lease: LeaseArgument,
    /// How long it is held unless renewed
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, default_value = "30s", env = "TENURE_TTL", hide_env = true)]
    ttl: Duration,
    /// Print TENURE_… variables for eval
    #[arg(long, conflicts_with = "json")]
    export: bool,
}

/// Takes it over.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let Arguments { name, lease, ttl, export } = arguments;
    let none = || Failure::usage("which lock? give its NAME, or set TENURE_LOCK");
    let name = name.ok_or_else(none)?;
    let lease = lease.read(Some(&name))?;
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let grant = tenure.raw().hand_over(name, lease, Some(ttl)).await?;
        acquire::print(&grant, export, connection.out())
    })
}
