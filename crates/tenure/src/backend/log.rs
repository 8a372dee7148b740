//! The embedded backend: Tenure's own log in this process, with the same rules as a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tenure_api::Code;
use tenure_core::{
    Answer, Caller, Command, Force as CoreForce, HeldBy, KeyName, LostReason, Permits,
    SessionEnd as CoreEnd,
};
use tenure_log::{Log, OpenError, Options, Reason, Reply, SubmitError};

use super::{Denied, Failure};
use crate::error::{ConnectError, Force, Held, LossReason, Refusal, SessionEnd};

mod acquire;
mod calls;
mod feed;
mod view;

pub(crate) use calls::ByLog;

/// When to ask a log again that cannot serve at the moment.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The key that stands in the history of an embedded log: there is only one program.
const LOCAL_KEY: &str = "local";

/// A log in this process.
#[derive(Clone)]
pub(crate) struct LogBackend {
    log: Log,
    caller: Caller,
}

impl LogBackend {
    /// Opens a log in a directory, or one that ends with the process.
    pub(crate) async fn open(directory: Option<PathBuf>) -> Result<Self, ConnectError> {
        let options = match directory {
            Some(path) => Options::disk(path),
            None => Options::memory(),
        };
        let log = Log::open(options).await.map_err(not_opened)?;
        let local = KeyName::new(LOCAL_KEY).expect("`local` is a key name");
        Ok(LogBackend { log, caller: Caller::new(local) })
    }

    async fn submit(&self, command: Command) -> Result<Reply, Failure> {
        let reply = self.log.submit(command).await.map_err(not_submitted)?;
        match reply.answer {
            Answer::Refused(refusal) => Err(refused(*refusal)),
            answer => Ok(Reply { answer, ..reply }),
        }
    }

    pub(crate) async fn stop(&self) {
        self.log.stop().await;
    }
}

fn not_opened(error: OpenError) -> ConnectError {
    let said = error.to_string();
    match error {
        OpenError::InUse { .. } => ConnectError::InUse(said),
        OpenError::Damaged { .. } | OpenError::Foreign { .. } => ConnectError::Damaged(said),
        OpenError::Io { .. } => ConnectError::System(said),
    }
}

fn not_submitted(error: SubmitError) -> Failure {
    match error {
        SubmitError::Unavailable(reason) => {
            let why = match reason {
                Reason::Starting => "the log is being read",
                Reason::NoQuorum => "the log cannot be written",
                Reason::StorageFull => "there is no room for more on the disk",
                Reason::Overloaded => "there is more to do than can be queued",
                Reason::Stopping => "the log is closed",
            };
            Failure::Unavailable { retry_after: RETRY_AFTER, why: why.into() }
        }
        SubmitError::Unknown => Failure::Unknown("the log did not say what became of it".into()),
    }
}

/// An answer of another kind than the command has.
fn unexpected(answer: &Answer) -> Failure {
    Failure::NotUnderstood(format!("the rules answered {answer:?}"))
}

fn refused(refusal: tenure_core::Refusal) -> Failure {
    use tenure_core::Refusal as Core;
    let said = refusal.to_string();
    match refusal {
        Core::Held(by) => Failure::denied(Denied::Held(held(by))),
        Core::TimedOut(by) => Failure::denied(Denied::TimedOut(held(by))),
        Core::Deadlock(cycle) => Failure::denied(Denied::Deadlock(view::cycle(cycle))),
        Core::AlreadyHeld { token } => Failure::denied(Denied::AlreadyHeld(token)),
        Core::CapacityMismatch { permits, .. } => {
            Failure::denied(Denied::CapacityMismatch(permits.unwrap_or(Permits::ONE)))
        }
        Core::RequestFinished { ended, force: by, .. } => {
            Failure::denied(Denied::Finished(ended.into(), force(by.as_ref())))
        }
        Core::Lost(lost) => Failure::denied(Denied::Lost(loss_reason(&lost.reason))),
        Core::SessionEnded(end) => Failure::denied(Denied::SessionEnded(session_end(end))),
        // Another attempt of the same request is under way: ask again and get its answer.
        Core::Superseded => Failure::Unknown(said),
        Core::RequestIdReused => Failure::Refused(Refusal::new(Code::RequestIdReused, said)),
        Core::OutOfReach => Failure::Refused(Refusal::new(Code::Forbidden, said)),
        Core::NotFound { .. } => Failure::Refused(Refusal::new(Code::NotFound, said)),
        Core::Limit(_) => Failure::Refused(Refusal::new(Code::Limit, said)),
        Core::DuplicateName(_) => Failure::Refused(Refusal::field("locks", said)),
        Core::Invalid { field, why } => Failure::Refused(Refusal::field(field, why)),
    }
}

/// The refusal of a request that stood in the queue.
fn place_refused(refusal: tenure_core::Refusal) -> Failure {
    match refusal {
        tenure_core::Refusal::SessionEnded(end) => {
            Failure::denied(Denied::PlaceLost(session_end(end)))
        }
        other => refused(other),
    }
}

fn held(by: HeldBy) -> Held {
    Held {
        holders: by.holders.into_iter().map(Into::into).collect(),
        queue_length: by.queue_length,
        opens_in: by.opens_in,
        retry_after: by.retry_after,
        blocked_by: by.blocked_by,
        waited: by.waited,
    }
}

fn loss_reason(reason: &LostReason) -> LossReason {
    LossReason::told(reason.into(), force(reason.force()))
}

fn force(force: Option<&CoreForce>) -> Force {
    Force::told(force.map(|force| &force.by), force.map(|force| &force.reason))
}

fn session_end(end: CoreEnd) -> SessionEnd {
    match end {
        CoreEnd::Expired => SessionEnd::Expired,
        CoreEnd::Closed => SessionEnd::Closed,
        CoreEnd::Broken(by) => SessionEnd::Broken(force(Some(&by))),
        CoreEnd::Unknown => SessionEnd::Unknown,
    }
}

/// What an embedded log cannot do: it has no keys, no other nodes and nobody to drain.
fn not_supported<T>(capability: &str) -> Result<T, Failure> {
    Err(Failure::NotSupported(capability.to_owned()))
}

fn no_capabilities() -> BTreeMap<String, bool> {
    BTreeMap::new()
}
