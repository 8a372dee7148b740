//! `tenure resize`: another size for a busy semaphore.

use clap::Args;
use tenure::Error;
use tenure_api::Code;
use tenure_core::{LockName, Permits};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{clean, count};

/// Set the permits of a semaphore that is in use
///
/// Growing grants waiters at once; shrinking waits for holders to leave. It lasts until the semaphore is idle.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The semaphore
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// Its new size
    #[arg(value_name = "PERMITS", value_parser = arguments::permits)]
    permits: Permits,
}

/// Resizes it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let Arguments { name, permits } = arguments;
        let resized = tenure.admin().resize(name.clone(), permits).await;
        let granted = resized.map_err(|error| refused(&name, error))?;
        let out = connection.out();
        if out.json {
            return out.json(&serde_json::json!({ "permits": permits.get(), "granted": granted }));
        }
        if out.quiet {
            return Ok(());
        }
        let granted = count(granted, "waiter");
        out.line(&format!("{}: {} permits, {granted} granted", clean(name.as_str()), permits.get()))
    })
}

/// Only a plain lock has a size that cannot change.
fn refused(name: &LockName, error: Error) -> Failure {
    match error {
        Error::Refused(refusal) if refusal.code == Code::CapacityMismatch => {
            Failure::usage(format!(
                "{name} is in use as a plain lock, which has no permits (wait until it is idle)"
            ))
        }
        other => Failure::from(other),
    }
}
