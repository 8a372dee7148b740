//! Where the lease of a command comes from: never from an argument unless the user insists, for `ps` shows those.

use std::collections::BTreeMap;
use std::io::Read;

use clap::Args;
use tenure::GrantError;
use tenure_core::{Lease, LockName, RequestId};

use crate::environment::{LEASE, LOCK, TOKENS};
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
    /// A failure of a call about the lease, with the lock's name where the environment that the lease came from has it.
    /// What the user calls the lock proves nothing: the lease may be another's.
    pub(crate) fn failed(&self, name: Option<&LockName>, error: GrantError) -> Failure {
        let of_environment = || LockName::new(std::env::var(LOCK).ok()?).ok();
        let known = match (&self.lease, name) {
            (Some(_), _) => None,
            (None, Some(name)) => {
                tokens().filter(|all| all.contains_key(name.as_str())).map(|_| name.clone())
            }
            (None, None) => of_environment(),
        };
        match error {
            GrantError::Lost(mut loss) => {
                loss.name = known.unwrap_or(loss.name);
                GrantError::Lost(loss).into()
            }
            other => other.into(),
        }
    }

    /// The lease that was meant; `name` is what the user calls the lock, if anything.
    pub(crate) fn read(&self, name: Option<&LockName>) -> Result<Lease, Failure> {
        if let (None, Some(name)) = (&self.lease, name) {
            is_of_environment(name)?;
        }
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

/// The lease in the environment is not of another lock than the user means. (Without the other variables nobody can
/// tell, and the lease decides.)
fn is_of_environment(name: &LockName) -> Result<(), Failure> {
    let Some(tokens) = tokens() else { return Ok(()) };
    if tokens.contains_key(name.as_str()) {
        return Ok(());
    }
    let theirs = crate::words::names(tokens.keys());
    Err(Failure::usage(format!(
        "{LEASE} is the lease of {theirs}, not of {name} (give the right one: --lease -)"
    )))
}

/// The locks of the lease in the environment, and their tokens.
fn tokens() -> Option<BTreeMap<String, u64>> {
    serde_json::from_str(&std::env::var(TOKENS).ok()?).ok()
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
