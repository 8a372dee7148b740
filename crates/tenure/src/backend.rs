//! What carries out requests: a log in this process or a server. A request is a [`Call`], which knows how it is done
//! by each; everything above this module is the same for all of them.

use std::time::Duration;

use futures::stream::BoxStream;
use tenure_api::{ChangeEvent, EndedName, LostEvent, RecalledEvent};
use tenure_core::{LockName, Permits, Prefix, SessionHandle, Token};

use crate::error::{Cycle, Error, Force, Held, LossReason, Refusal, SessionEnd};

#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "some calls are a server's alone"))]
pub(crate) mod call;
#[cfg(feature = "log")]
pub(crate) mod log;
#[cfg(feature = "remote")]
pub(crate) mod remote;

use call::Call;

/// One of the backends.
pub(crate) enum Backend {
    /// A log in this process.
    #[cfg(feature = "log")]
    Log(log::LogBackend),
    /// A server.
    #[cfg(feature = "remote")]
    Remote(remote::Remote),
}

impl Backend {
    /// Carries out a call once. Whether to ask again is for the caller to decide.
    pub(crate) async fn call<C: Call>(&self, call: C) -> Result<C::Answer, Failure> {
        match self {
            #[cfg(feature = "log")]
            Backend::Log(log) => call.by_log(log).await,
            #[cfg(feature = "remote")]
            Backend::Remote(remote) => remote.call(&call).await,
        }
    }

    /// What happens to a session, as it happens. Ends when the connection does; nothing is lost by that, for every
    /// keep-alive tells it again.
    pub(crate) fn session_events(
        &self,
        session: SessionHandle,
    ) -> BoxStream<'static, SessionEvent> {
        match self {
            #[cfg(feature = "log")]
            Backend::Log(log) => log.session_events(session.id),
            #[cfg(feature = "remote")]
            Backend::Remote(remote) => remote.session_events(session),
        }
    }

    /// Changes of names that begin with `prefix`, after a place. Ends with an error, or when the backend ends it: go
    /// on from the last cursor.
    pub(crate) fn changes(
        &self,
        prefix: &Prefix,
        after: Option<String>,
    ) -> BoxStream<'static, Result<Told, Failure>> {
        match self {
            #[cfg(feature = "log")]
            Backend::Log(log) => log.changes(prefix.clone(), after),
            #[cfg(feature = "remote")]
            Backend::Remote(remote) => remote.changes(prefix, after),
        }
    }

    /// Lets go of what the backend keeps open.
    pub(crate) async fn stop(&self) {
        match self {
            #[cfg(feature = "log")]
            Backend::Log(log) => log.stop().await,
            #[cfg(feature = "remote")]
            Backend::Remote(_) => {}
        }
    }
}

/// An event of a session.
#[derive(Clone, Debug)]
pub(crate) enum SessionEvent {
    /// It lost a grant.
    Lost(LostEvent),
    /// Somebody asks for a grant.
    Recalled(RecalledEvent),
    /// It is over.
    Ended(SessionEnd),
}

/// What a feed tells.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A change and the place after it.
    Change(String, ChangeEvent),
    /// Changes are missing; the feed goes on from this place.
    Resync(String),
}

/// Why a call has no answer of the kind asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The rules said no.
    Denied(Box<Denied>),
    /// Refused whenever it comes.
    Refused(Refusal),
    /// It did not happen.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// What was in the way.
        why: String,
    },
    /// It may have happened.
    Unknown(String),
    /// The backend cannot do it.
    NotSupported(String),
    /// The answer makes no sense.
    NotUnderstood(String),
}

/// What the rules said no with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Denied {
    Held(Held),
    TimedOut(Held),
    /// Still queued: ask again with the same id.
    Waiting,
    Deadlock(Cycle),
    AlreadyHeld(Token),
    CapacityMismatch(Permits),
    /// The request's grant or place has ended.
    Finished(EndedName, Force),
    Lost(LossReason),
    SessionEnded(SessionEnd),
    /// The session ended while the request stood in a queue.
    PlaceLost(SessionEnd),
}

impl Failure {
    pub(crate) fn denied(denied: Denied) -> Self {
        Failure::Denied(Box::new(denied))
    }

    /// Whether asking again with the same id may help, and if so whether it may have happened.
    pub(crate) fn is_passing(&self) -> Option<MayHaveHappened> {
        match self {
            Failure::Unavailable { .. } => Some(MayHaveHappened(false)),
            Failure::Unknown(_) => Some(MayHaveHappened(true)),
            _ => None,
        }
    }

    /// Why the session is over, if this says that it is.
    pub(crate) fn session_end(&self) -> Option<SessionEnd> {
        match self {
            Failure::Denied(denied) => match &**denied {
                Denied::SessionEnded(end) | Denied::PlaceLost(end) => Some(end.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the server said about when to come back.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Failure::Unavailable { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        }
    }
}

/// Whether a call whose answer is missing may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MayHaveHappened(pub(crate) bool);

/// A failure of a call without a request id.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(denied) => denied_plainly(*denied),
            Failure::Refused(refusal) => Error::Refused(refusal),
            Failure::Unavailable { retry_after, why } => Error::Unavailable { retry_after, why },
            Failure::Unknown(why) => Error::Unknown { request_id: None, why },
            Failure::NotSupported(capability) => Error::NotSupported { capability },
            Failure::NotUnderstood(why) => Error::NotUnderstood { why },
        }
    }
}

/// A denial where the caller has no variant of its own for it.
fn denied_plainly(denied: Denied) -> Error {
    use tenure_api::Code;
    let refused = |code, detail: String| Error::Refused(Refusal::new(code, detail));
    match denied {
        Denied::SessionEnded(end) | Denied::PlaceLost(end) => Error::SessionEnded(end),
        Denied::Held(held) => refused(Code::Held, held.to_string()),
        Denied::TimedOut(held) => refused(Code::TimedOut, held.to_string()),
        Denied::Waiting => refused(Code::Waiting, "the request is still queued".into()),
        Denied::Deadlock(cycle) => refused(Code::Deadlock, cycle.to_string()),
        Denied::AlreadyHeld(token) => {
            refused(Code::AlreadyHeld, format!("this owner has the lock already (token {token})"))
        }
        Denied::CapacityMismatch(has) => {
            refused(Code::CapacityMismatch, format!("the lock is busy with {} permits", has.get()))
        }
        Denied::Finished(ended, Force { by: None, .. }) => {
            refused(Code::RequestFinished, format!("the request is over: {ended}"))
        }
        Denied::Finished(ended, force) => {
            refused(Code::RequestFinished, format!("the request is over: {ended} by {force}"))
        }
        Denied::Lost(reason) => refused(Code::Lost, format!("the grant is lost: {reason}")),
    }
}

/// Puts the URL's prefix before every name that goes out and takes it from every name that comes in.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(Prefix);

impl Namespace {
    pub(crate) fn new(prefix: Prefix) -> Self {
        Namespace(prefix)
    }

    /// The full name of a name of the caller's.
    pub(crate) fn full(&self, name: &LockName) -> Result<LockName, Refusal> {
        if self.0.as_str().is_empty() {
            return Ok(name.clone());
        }
        let full = LockName::new(format!("{}{name}", self.0.as_str()));
        full.map_err(|why| Refusal::text("name", &why))
    }

    /// The beginning of full names.
    pub(crate) fn full_prefix(&self, prefix: &str) -> Result<Prefix, Refusal> {
        Prefix::new(format!("{}{prefix}", self.0.as_str()))
            .map_err(|why| Refusal::text("prefix", &why))
    }

    /// The caller's name of a full name. What lies elsewhere keeps its full name.
    pub(crate) fn short(&self, name: LockName) -> LockName {
        let short = name.as_str().strip_prefix(self.0.as_str()).and_then(|s| LockName::new(s).ok());
        short.unwrap_or(name)
    }

    /// The same for a text that need not be a name.
    pub(crate) fn short_text(&self, name: &str) -> String {
        name.strip_prefix(self.0.as_str()).unwrap_or(name).to_owned()
    }
}
