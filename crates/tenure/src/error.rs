//! What can go wrong, one variant for each thing the caller does next.

use std::fmt;
use std::time::Duration;

use tenure_api::{Code, CycleMember, Holder, LostEvent, LostName};
use tenure_core::{BadText, LockName, Permits, RequestId, Token};

use crate::Grant;

/// A call that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad input, a forbidden act, a quota: a bug or a setting. Do not retry.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The session ended, and with it everything it held and waited for. A new request opens a new session.
    #[error("the session is over: {0}")]
    SessionEnded(SessionEnd),
    /// It did not happen: nobody could be reached, or who was reached could not serve.
    #[error("unavailable: {why}")]
    Unavailable {
        /// When it may be worth to try again.
        retry_after: Duration,
        /// What was in the way.
        why: String,
    },
    /// It may have happened. A request with an id can be given up with [`Tenure::forget`](crate::Tenure::forget),
    /// which this library is trying in the background already; without one, look before you repeat it.
    #[error("the outcome of the request is unknown: {why}")]
    Unknown {
        /// Names the request, if it had a name.
        request_id: Option<RequestId>,
        /// Why nobody knows.
        why: String,
    },
    /// This backend cannot promise it.
    #[error("this backend has no {capability}")]
    NotSupported {
        /// What it lacks.
        capability: String,
    },
    /// The answer makes no sense: this is probably not the URL of a Tenure server.
    #[error("the answer was not understood: {why}")]
    NotUnderstood {
        /// What was wrong with it.
        why: String,
    },
}

impl Error {
    /// The error of a call that may be repeated: whether it happened does not matter.
    pub(crate) fn from_repeatable(error: Error) -> Self {
        match error {
            Error::Unknown { why, .. } => Error::Unavailable { retry_after: Duration::ZERO, why },
            other => other,
        }
    }
}

/// A request that is refused whenever it comes, by its stable code.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What programs decide by.
    pub code: Code,
    /// What happened, for a person.
    pub detail: String,
    /// The field that is wrong, if it is one.
    pub field: Option<String>,
    /// When it may be worth to ask again, if ever.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Refusal { code, detail: detail.into(), field: None, retry_after: None }
    }

    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Self {
        Refusal { field: Some(field.to_owned()), ..Refusal::new(Code::BadRequest, detail) }
    }

    pub(crate) fn text(field: &str, why: &BadText) -> Self {
        Refusal::field(field, why.to_string())
    }

    /// The detail as a sentence that names the field once.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Refusal { detail, field, .. } = self;
        match field {
            // A server names it itself.
            Some(field) if !detail.contains(&format!("`{field}`")) => format!("`{field}` {detail}"),
            _ => detail.clone(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.sentence())
    }
}

impl std::error::Error for Refusal {}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// It was not kept alive in time.
    Expired,
    /// This program closed it.
    Closed,
    /// An operator ended it.
    Broken(Force),
    /// The server does not know it, or has forgotten why.
    Unknown,
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnd::Expired => f.write_str("it was not kept alive"),
            SessionEnd::Closed => f.write_str("it was closed"),
            SessionEnd::Broken(force) => write!(f, "it was ended by {force}"),
            SessionEnd::Unknown => f.write_str("it is not known"),
        }
    }
}

/// An operator's act: whose, and why, as far as it was told. Both are texts of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Force {
    /// The operator's key.
    pub by: Option<String>,
    /// The reason he gave.
    pub why: Option<String>,
}

impl Force {
    /// What was told, in the words of the wire.
    pub(crate) fn told(by: Option<impl ToString>, why: Option<impl ToString>) -> Self {
        Force { by: by.map(|by| by.to_string()), why: why.map(|why| why.to_string()) }
    }
}

/// `ops-key: "host died"`, `an operator`.
impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.by.as_deref().unwrap_or("an operator"))?;
        match self.why.as_deref() {
            None | Some("") => Ok(()),
            Some(why) => write!(f, ": \"{why}\""),
        }
    }
}

/// A lock that was waited for and not got.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The wait passed.
    #[error("the wait passed: {0}")]
    TimedOut(Held),
    /// Waiting would never end: each owner of a cycle waits for the next.
    #[error("waiting would be a deadlock: {0}")]
    Deadlock(Cycle),
    /// This owner has the lock already.
    #[error("this owner has the lock already (token {token})")]
    AlreadyHeld {
        /// The token it has.
        token: Token,
    },
    /// The busy lock has another size; one permit: a plain lock.
    #[error("{}", busy_as(*has))]
    CapacityMismatch {
        /// The size it has.
        has: Permits,
    },
    /// Everything that is not about this lock.
    #[error(transparent)]
    Other(#[from] Error),
}

/// How big a busy lock is.
fn busy_as(has: Permits) -> String {
    match has.get() {
        1 => "the lock is busy as a plain lock".to_owned(),
        permits => format!("the lock is busy with {permits} permits"),
    }
}

/// What a try was answered when somebody else has the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Who has it.
    pub holders: Vec<Holder>,
    /// How many wait for it.
    pub queue_length: usize,
    /// How long nobody gets it, whoever holds.
    pub opens_in: Duration,
    /// When it may be worth to ask again.
    pub retry_after: Duration,
    /// Of several locks, those that are in the way.
    pub blocked_by: Vec<LockName>,
    /// How long the request waited.
    pub waited: Duration,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(holder) = self.holders.first() else {
            return match (self.opens_in, self.queue_length) {
                (Duration::ZERO, 0) => f.write_str("nobody has the lock"),
                (Duration::ZERO, _) => f.write_str("others wait for the lock"),
                (opens_in, _) => write!(f, "the lock opens in {} s", opens_in.as_secs_f64()),
            };
        };
        match &holder.note {
            Some(note) => write!(f, "held by {note}")?,
            None => write!(f, "held by {}", holder.owner)?,
        }
        write!(f, " for {:.1} s", holder.held_for.get().as_secs_f64())?;
        match self.holders.len() {
            1 => Ok(()),
            n => write!(f, " and {} more", n - 1),
        }
    }
}

/// Owners that would wait for each other for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// Each has `name` and waits for `waits_for`, which the next one has.
    pub members: Vec<CycleMember>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, member) in self.members.iter().enumerate() {
            let then = if at == 0 { "" } else { ", " };
            let CycleMember { owner, name, waits_for, .. } = member;
            write!(f, "{then}{owner} has {name} and waits for {waits_for}")?;
        }
        Ok(())
    }
}

/// A grant that is not ours any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Loss {
    /// The lock; of several the first. `-` where only the lease was known.
    pub name: LockName,
    /// The token that is worth nothing now. Zero, which no grant has, where it is not known.
    pub token: Token,
    /// Why.
    pub reason: LossReason,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss { name, token, reason } = self;
        match (name.as_str(), token.get()) {
            ("-", 0) => write!(f, "the lock is no longer ours: {reason}"),
            (name, 0) => write!(f, "lock `{name}` is no longer ours: {reason}"),
            (name, token) => write!(f, "lock `{name}` is no longer ours (token {token}): {reason}"),
        }
    }
}

/// Why a grant was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossReason {
    /// Its time ran out at the server.
    Expired,
    /// Its session ended.
    SessionEnded,
    /// An operator ended it, or its session.
    Broken(Force),
    /// Another process has it now.
    HandedOver,
    /// It was not renewed in time, for the server could not be reached: it may belong to another by now.
    Unreachable,
    /// The server does not know it, or has forgotten why it ended.
    Unknown,
}

impl LossReason {
    /// The reason by its name, and who was behind it.
    pub(crate) fn told(name: LostName, force: Force) -> Self {
        match name {
            LostName::Expired => LossReason::Expired,
            LostName::SessionEnded if force.by.is_none() => LossReason::SessionEnded,
            LostName::SessionEnded | LostName::Broken => LossReason::Broken(force),
            LostName::HandedOver => LossReason::HandedOver,
            LostName::Unknown | LostName::Other => LossReason::Unknown,
        }
    }
}

impl From<&LostEvent> for LossReason {
    fn from(lost: &LostEvent) -> Self {
        LossReason::told(lost.reason, Force::told(lost.by.as_ref(), lost.why.as_ref()))
    }
}

/// What ends with a session is lost for the same reason.
impl From<&SessionEnd> for LossReason {
    fn from(end: &SessionEnd) -> Self {
        match end {
            SessionEnd::Broken(force) => LossReason::Broken(force.clone()),
            SessionEnd::Expired | SessionEnd::Closed | SessionEnd::Unknown => {
                LossReason::SessionEnded
            }
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossReason::Expired => f.write_str("it expired"),
            LossReason::SessionEnded => f.write_str("its session ended"),
            LossReason::Broken(force) => write!(f, "it was broken by {force}"),
            LossReason::HandedOver => f.write_str("another process has it"),
            LossReason::Unreachable => f.write_str("it was not renewed in time"),
            LossReason::Unknown => f.write_str("the server does not know it"),
        }
    }
}

/// A call about a grant that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The grant is lost: stop the work.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// Everything else.
    #[error(transparent)]
    Other(#[from] Error),
}

/// A release that could not say that all is well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It was no longer ours: what was done under it may have met another's work. The token decides.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// Nobody could be reached while the grant lasted. It ends by itself, and this library goes on trying to give it
    /// back meanwhile.
    #[error("whether the lock was given back is unknown; it ends by itself")]
    Unknown(RequestId),
}

/// An upgrade that was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The wait passed; the shared grant is still there.
    #[error("the wait passed: {held}")]
    TimedOut {
        /// The shared grant.
        grant: Grant,
        /// Who was in the way.
        held: Box<Held>,
    },
    /// Somebody else upgrades the same lock; the shared grant is still there. Give it back and start again.
    #[error("waiting would be a deadlock: {cycle}")]
    Deadlock {
        /// The shared grant.
        grant: Grant,
        /// Who waits for whom.
        cycle: Cycle,
    },
    /// The grant is lost.
    #[error(transparent)]
    Lost(Loss),
    /// Everything else. The grant is given back in the background.
    #[error(transparent)]
    Other(Error),
}

/// Work under a lock that was not done, or not to its end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lock was not got; the work was not begun.
    #[error(transparent)]
    NotAcquired(#[from] AcquireError),
    /// The lock was lost; the work was stopped.
    #[error(transparent)]
    Lost(#[from] Loss),
}

/// A backend that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is wrong.
    #[error(transparent)]
    BadUrl(#[from] crate::BadUrl),
    /// The URL's backend was not compiled in.
    #[error("this program was built without the feature `{0}`")]
    NotBuiltIn(&'static str),
    /// A configuration or key file is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A certificate or private key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// Another process has the directory open; a server lets several use it.
    #[error("{0}; only one process may: run `tenure serve` on it and connect by http")]
    InUse(String),
    /// The directory is damaged or not ours.
    #[error("{0}")]
    Damaged(String),
    /// The operating system said no.
    #[error("{0}")]
    System(String),
    /// The server said no, or could not be reached.
    #[error(transparent)]
    Refused(#[from] Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_names_lock_and_token_and_reason() {
        let loss = Loss {
            name: LockName::new("deploy").unwrap(),
            token: Token::new(17),
            reason: LossReason::Broken(Force::told(Some("ops"), Some("host died"))),
        };
        let said =
            "lock `deploy` is no longer ours (token 17): it was broken by ops: \"host died\"";
        assert_eq!(loss.to_string(), said);
        assert_eq!(Force::told(Some("ops"), Some("")).to_string(), "ops");
        assert_eq!(Force::default().to_string(), "an operator");
    }

    #[test]
    fn what_is_not_known_of_a_loss_is_left_out() {
        let loss = |name| Loss {
            name: LockName::new(name).unwrap(),
            token: Token::new(0),
            reason: LossReason::Expired,
        };
        assert_eq!(loss("deploy").to_string(), "lock `deploy` is no longer ours: it expired");
        assert_eq!(loss("-").to_string(), "the lock is no longer ours: it expired");
    }

    #[test]
    fn a_refusal_names_its_field_once() {
        let said = |detail| Refusal::field("ttl", detail).to_string();
        assert_eq!(said("`ttl` is too long"), "bad_request: `ttl` is too long");
        assert_eq!(said("is too long"), "bad_request: `ttl` is too long");
    }

    #[test]
    fn a_lock_without_a_holder_is_not_said_to_open() {
        let said =
            |opens_in, queue_length| Held { opens_in, queue_length, ..Held::default() }.to_string();
        assert_eq!(said(Duration::ZERO, 0), "nobody has the lock");
        assert_eq!(said(Duration::ZERO, 2), "others wait for the lock");
        assert_eq!(said(Duration::from_secs(5), 2), "the lock opens in 5 s");
    }

    #[test]
    fn a_plain_lock_is_not_called_a_semaphore_of_one() {
        let busy = |permits| AcquireError::CapacityMismatch { has: Permits::new(permits).unwrap() };
        assert_eq!(busy(1).to_string(), "the lock is busy as a plain lock");
        assert_eq!(busy(3).to_string(), "the lock is busy with 3 permits");
    }
}
