//! Where the lease of a command comes from: never from an argument unless the user insists, for `ps` shows those.

use std::io::Read;

use clap::Args;
use tenure_core::{Lease, RequestId};

use crate::environment::LEASE;
use crate::failure::Failure;

/// Longest text read for a lease.
const LEASE_BYTES_MAX: u64 = 256;

/// Which grant is meant.
#[derive(Args, Debug, Clone)]
pub(crate) struct LeaseArgument {
    /// The lease; `-` reads it from standard input, absent it is that of TENURE_LEASE
    #[arg(long, value_name = "LEASE", hide_env = true)]
    lease: Option<String>,
}

impl LeaseArgument {
    /// The lease that was meant.
    pub(crate) fn read(&self) -> Result<Lease, Failure> {
        let text = match self.lease.as_deref() {
            Some("-") => from_input()?,
            Some(text) => text.to_owned(),
            None => std::env::var(LEASE).map_err(|_| {
                Failure::usage("which grant? TENURE_LEASE is not set: eval \"$(tenure acquire NAME --export)\", or --lease -")
            })?,
        };
        let wrong = |_| {
            Failure::usage(
                "this is no lease: a lease has 32 letters and digits, as tenure acquire prints it",
            )
        };
        text.trim().parse().map_err(wrong)
    }
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LEASE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::usage(format!("cannot read the lease from standard input: {error}"))
    })?;
    Ok(text)
}

/// A request id.
pub(crate) fn request_id(text: &str) -> Result<RequestId, String> {
    RequestId::new(text).map_err(|why| format!("a request id {why}"))
}
