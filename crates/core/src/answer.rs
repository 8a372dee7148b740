//! What the machine answers. A refusal is an answer.

use std::time::Duration;

use crate::command::Claim;
use crate::id::{Lease, Permits, SessionHandle, SessionId, TicketId, Token};
use crate::text::{KeyName, LockName, Note, Owner, Reason, RequestId};
use crate::time::Time;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, and nothing to tell.
    Done,
    /// The locks are the caller's.
    Granted(Box<Granted>),
    /// The request stands in the queue; what becomes of it is told as [`Settled`](crate::Settled).
    Queued(Queued),
    /// The grant lives longer.
    Renewed(Renewed),
    /// The grant is given back.
    Released(Released),
    /// The session is open.
    Opened(SessionOpened),
    /// The session lives longer.
    KeptAlive(KeptAlive),
    /// The session is over.
    SessionEnded(SessionEnded),
    /// So many holders were asked.
    Recalled {
        /// Holders asked.
        asked: usize,
    },
    /// So many grants were ended.
    Broken {
        /// Grants ended.
        broken: usize,
        /// Whether somebody else has the lock now.
        next_granted: bool,
    },
    /// The semaphore has another size.
    Resized {
        /// Its size now.
        permits: Permits,
        /// Waiters granted by that.
        granted: usize,
    },
    /// Not done; nothing changed.
    Refused(Box<Refusal>),
}

/// A grant of one or several locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The ticket behind it.
    pub ticket: TicketId,
    /// The locks, in the order asked.
    pub locks: Vec<GrantedLock>,
    /// The lease, unless only its hash is kept.
    pub lease: Option<Lease>,
    /// The flow of control.
    pub owner: Owner,
    /// The session it hangs on.
    pub session: Option<SessionId>,
    /// The request's id, the client's or the machine's.
    pub request: RequestId,
    /// Time to live of the grant or of its session.
    pub ttl: Duration,
    /// When it ends unless renewed (for a session's grant: when the session does).
    pub expires_at: Time,
    /// Machine time of this answer: `expires_at − now` is what is left.
    pub now: Time,
    /// How long it stood in the queue.
    pub waited: Duration,
    /// How many times its owner has it.
    pub depth: u32,
}

impl Granted {
    /// The token of the first lock.
    pub fn token(&self) -> Token {
        self.locks[0].token
    }

    /// What is left of it.
    pub fn expires_in(&self) -> Duration {
        self.expires_at.since(self.now)
    }
}

/// One lock of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedLock {
    /// Which.
    pub name: LockName,
    /// How.
    pub claim: Claim,
    /// Its fencing token.
    pub token: Token,
}

/// A place in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The ticket.
    pub ticket: TicketId,
    /// The request's id, the client's or the machine's.
    pub request: RequestId,
    /// Place in the queue, 1 = next; of several queues the farthest place.
    pub position: usize,
    /// Waiters of that lock.
    pub queue_length: usize,
    /// How long it has waited.
    pub waited: Duration,
    /// How long it may still wait.
    pub wait_left: Duration,
}

/// A renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The locks renewed with their tokens; empty if a session was renewed as a whole.
    pub locks: Vec<GrantedLock>,
    /// Time to live from now on.
    pub ttl: Duration,
    /// What is left.
    pub expires_in: Duration,
    /// What the holder was asked for.
    pub recall: Option<Recall>,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whether something was held and is free now (also told again to a retry).
    pub released: bool,
    /// Whether a place in the queue was given up.
    pub cancelled: bool,
    /// How many times its owner still has it.
    pub depth: u32,
    /// How long it was held.
    pub held_for: Duration,
    /// The tokens that ended.
    pub locks: Vec<GrantedLock>,
}

/// A new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// Its handle.
    pub session: SessionHandle,
    /// How long it lives without a keep-alive.
    pub ttl: Duration,
    /// What is left.
    pub expires_in: Duration,
}

/// A keep-alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAlive {
    /// Time to live.
    pub ttl: Duration,
    /// Grants lost within the last two lifetimes of the session; told again until then.
    pub lost: Vec<LostGrant>,
    /// Grants somebody asked for.
    pub recalled: Vec<RecalledGrant>,
}

/// A grant a session lost.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LostGrant {
    /// The lock.
    pub name: LockName,
    /// The token that is worth nothing now.
    pub token: Token,
    /// Why.
    pub reason: LostReason,
}

/// A grant that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecalledGrant {
    /// The lock.
    pub name: LockName,
    /// Its token.
    pub token: Token,
    /// What was asked.
    pub recall: Recall,
}

/// A request to give back soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// How soon, from this answer on.
    pub within: Duration,
    /// Why.
    pub reason: Reason,
    /// The operator's key.
    pub by: KeyName,
}

/// A session's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnded {
    /// Grants freed.
    pub released: usize,
    /// Places given up.
    pub cancelled: usize,
}

/// An operator's act: whose, and why. At most 128 and 1,024 bytes, so it is kept with what it ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Force {
    /// The operator's key.
    pub by: KeyName,
    /// The reason he gave.
    pub reason: Reason,
}

/// Why a grant is not the caller's any more.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LostReason {
    /// Its time ran out.
    Expired,
    /// Its session ended, by itself or by an operator.
    SessionEnded(Option<Force>),
    /// An operator ended it.
    Broken(Force),
    /// Another process has it now.
    HandedOver,
    /// Never known, or so long over that it is forgotten.
    Unknown,
}

impl LostReason {
    /// The operator behind it, if there was one.
    pub fn force(&self) -> Option<&Force> {
        match self {
            LostReason::Broken(force) => Some(force),
            LostReason::SessionEnded(force) => force.as_ref(),
            LostReason::Expired | LostReason::HandedOver | LostReason::Unknown => None,
        }
    }
}

/// How a request's grant or place ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ended {
    /// Given back.
    Released,
    /// Given up before or after the grant.
    Cancelled,
    /// Its wait passed.
    TimedOut,
    /// Its time ran out.
    Expired,
    /// Its session ended.
    SessionEnded,
    /// An operator ended it.
    Broken,
    /// Another process has it.
    HandedOver,
    /// A numbered request or one that the machine named: only that it is over is known.
    Over,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SessionEnd {
    /// Not kept alive.
    Expired,
    /// Closed by its client.
    Closed,
    /// Ended by an operator.
    Broken(Force),
    /// Never known, or its end is forgotten.
    Unknown,
}

impl SessionEnd {
    /// The operator behind it, if there was one.
    pub fn force(&self) -> Option<&Force> {
        match self {
            SessionEnd::Broken(force) => Some(force),
            SessionEnd::Expired | SessionEnd::Closed | SessionEnd::Unknown => None,
        }
    }
}

/// Who stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldBy {
    /// The holders of the first lock that does not fit (at most 100 of them).
    pub holders: Vec<Holder>,
    /// Waiters of it.
    pub queue_length: usize,
    /// How long nobody gets it, whoever holds.
    pub opens_in: Duration,
    /// When it may be worth to ask again.
    pub retry_after: Duration,
    /// All locks of the request that do not fit.
    pub blocked_by: Vec<LockName>,
    /// How long the request waited.
    pub waited: Duration,
}

/// A holder, as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its token.
    pub token: Token,
    /// How it holds.
    pub claim: Claim,
    /// The flow of control.
    pub owner: Owner,
    /// The session it hangs on.
    pub session: Option<SessionId>,
    /// Free text.
    pub note: Option<Note>,
    /// For how long.
    pub held_for: Duration,
    /// What is left unless renewed.
    pub expires_in: Duration,
}

/// A cycle of owners that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Each holds (or is ahead at) `name` and waits for `waits_for`, which the next one holds.
    pub members: Vec<CycleMember>,
}

/// One owner of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleMember {
    /// What it has.
    pub name: LockName,
    /// Who.
    pub owner: Owner,
    /// Its session.
    pub session: Option<SessionId>,
    /// Its note.
    pub note: Option<Note>,
    /// What it waits for.
    pub waits_for: LockName,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedBy {
    /// Its name: `queue`, `held`, `waiting`, `sessions`, `request_ids`, `depth`, `keys`, `tokens`.
    pub limit: &'static str,
    /// Its bound.
    pub max: u64,
}

/// A grant that is not the caller's any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub reason: LostReason,
    /// Since when; zero if unknown.
    pub ended_ago: Duration,
    /// The token it had, if known.
    pub token: Option<Token>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else has it, and the request does not wait.
    #[error("the lock is held")]
    Held(HeldBy),
    /// The wait passed.
    #[error("the wait passed")]
    TimedOut(HeldBy),
    /// Waiting would close a cycle.
    #[error("waiting would never end: each of {} owners waits for the next", .0.members.len())]
    Deadlock(Cycle),
    /// This owner holds it already.
    #[error("this owner holds the lock already (token {token})")]
    AlreadyHeld {
        /// The token it has.
        token: Token,
    },
    /// The busy lock has another kind or size.
    #[error("the lock is busy with another kind or size")]
    CapacityMismatch {
        /// The lock.
        name: LockName,
        /// Its permits; `None`: it is a plain lock.
        permits: Option<Permits>,
    },
    /// The request's grant or place has ended.
    #[error("this request is over")]
    RequestFinished {
        /// How.
        ended: Ended,
        /// The token its grant had.
        token: Option<Token>,
        /// The operator behind it, as far as that is known.
        force: Option<Force>,
    },
    /// The id was used for another request.
    #[error("this request id was used for another request")]
    RequestIdReused,
    /// The same request was asked for by a newer connection, which gets the answer.
    #[error("a newer request with this id gets the answer")]
    Superseded,
    /// The grant is not the caller's.
    #[error("the grant is lost")]
    Lost(Lost),
    /// The session is over.
    #[error("the session is over")]
    SessionEnded(SessionEnd),
    /// No such thing.
    #[error("no such {what}")]
    NotFound {
        /// What kind of thing: `session`, `key`, `request`.
        what: &'static str,
    },
    /// An operator would end something that has locks outside his prefixes; or, where he has prefixes, there is no such
    /// thing, which he is not told.
    #[error("it is not all within the operator's prefixes")]
    OutOfReach,
    /// A limit is reached.
    #[error("the limit {} of {} is reached", .0.limit, .0.max)]
    Limit(DeniedBy),
    /// One name twice in one request.
    #[error("`{0}` is named twice")]
    DuplicateName(LockName),
    /// The request cannot be carried out as it is, whatever the state; callers check before.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}
