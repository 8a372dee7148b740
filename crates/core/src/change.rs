//! What a batch changed: the feed, and the waiters it settled.

use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Granted, Refusal, SessionEnd};
use crate::command::Claim;
use crate::id::{Revision, SessionId, TicketId, Token};
use crate::text::{KeyName, LockName, Note, Owner, Reason};

/// Everything that came of a batch.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// One answer per command, in order.
    pub answers: Vec<Answer>,
    /// Waiting tickets that got their outcome, in order.
    pub settled: Vec<(TicketId, Settled)>,
    /// Changes in commit order.
    pub changes: Vec<Change>,
}

/// The outcome of a request that was queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The locks are its.
    Granted(Box<Granted>),
    /// It got nothing.
    Refused(Box<Refusal>),
}

/// One change, told to every subscriber in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A lock's.
    Lock(LockChange),
    /// A session ended.
    SessionEnded {
        /// Its place in the order.
        revision: Revision,
        /// Which.
        id: SessionId,
        /// Why.
        reason: SessionEnd,
    },
}

impl Change {
    /// Its place in the order.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Lock(change) => change.revision,
            Change::SessionEnded { revision, .. } => *revision,
        }
    }
}

/// One change of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockChange {
    /// Its place in the order.
    pub revision: Revision,
    /// The lock.
    pub name: LockName,
    /// What happened.
    pub action: Action,
    /// How it was wanted or held, where that is known.
    pub claim: Option<Claim>,
    /// The token granted or ended.
    pub token: Option<Token>,
    /// The flow of control.
    pub owner: Option<Owner>,
    /// Its session.
    pub session: Option<SessionId>,
    /// Its note.
    pub note: Option<Note>,
    /// The key that did it, where that is not the holder itself.
    pub by: Option<KeyName>,
    /// The operator's reason.
    pub reason: Option<Reason>,
    /// Microseconds: how long it was waited for (granted, left) or held (ended).
    pub micros: u64,
}

/// What happened to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A request got it.
    Granted,
    /// A request stands in its queue.
    Queued,
    /// A request left its queue without it.
    Left,
    /// Its holder gave it back.
    Released,
    /// A grant ran out.
    Expired,
    /// A grant's session ended.
    SessionEnded,
    /// An operator ended a grant.
    Broken,
    /// An operator asked for it.
    Recalled,
    /// Another process has the grant.
    HandedOver,
    /// The mode of a grant changed.
    Converted,
    /// An operator changed its permits.
    Resized,
    /// An operator ended the delay that kept it shut.
    Opened,
}
