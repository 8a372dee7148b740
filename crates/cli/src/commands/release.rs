//! `tenure release`: gives a grant back, or a request up.

use clap::Args;
use tenure_core::{LockName, RequestId};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::lease::{LeaseArgument, request_id};
use crate::output::{Cell, Style, span};

/// Give a lock back
///
/// Exit status 75: it was lost before, so what was done under it may have met another's work.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock; needed with --request-id, else a check that TENURE_LEASE is of the one that is meant
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: Option<LockName>,
    #[command(flatten)]
    lease: LeaseArgument,
    /// Give up the request of this id instead, whatever became of it
    #[arg(long, value_name = "ID", value_parser = request_id, conflicts_with = "lease", requires = "name")]
    request_id: Option<RequestId>,
}

/// Releases it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let Arguments { name, lease: given, request_id } = arguments;
    let lease = if request_id.is_none() { Some(given.read(name.as_ref())?) } else { None };
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let released = match (lease, request_id, &name) {
            (Some(lease), ..) => tenure.raw().release(lease).await,
            (None, Some(id), Some(name)) => {
                tenure.raw().release_request(vec![name.clone()], id).await
            }
            _ => return Err(Failure::usage("--request-id needs the lock's NAME too")),
        };
        let released = released.map_err(|error| given.failed(name.as_ref(), error))?;
        let out = connection.out();
        if out.json {
            return out.json(&released);
        }
        if out.quiet {
            return Ok(());
        }
        match released {
            _ if released.cancelled => out.line("no longer waited for"),
            _ if !released.released => out.line("there was nothing to give back"),
            _ => out.cells(&[
                "released, held for".into(),
                Cell::new(span(released.held_for.get()), Style::Strong),
            ]),
        }
    })
}
