//! What a reader sees. No view has a lease, a handle or a request id in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::answer::{Ended, Holder, Recall};
use crate::command::Claim;
use crate::id::{Lease, Permits, Revision, SessionId, Token};
use crate::text::{KeyName, LockName, Note, Owner, Reason};
use crate::time::WallTime;

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// Its name.
    pub name: LockName,
    /// Held, waited for, free.
    pub state: LockState,
    /// Plain or semaphore.
    pub kind: LockKind,
    /// Its capacity; 1 for a plain lock.
    pub permits: Permits,
    /// The latest token, held or not.
    pub latest_token: Option<Token>,
    /// How long nobody gets it.
    pub opens_in: Duration,
    /// Who has it, oldest grant first.
    pub holders: Vec<HolderView>,
    /// Who waits, next first.
    pub queue: Vec<WaiterView>,
    /// Waiters, also those beyond what `queue` shows.
    pub queue_length: usize,
    /// The last transitions, newest first.
    pub history: Vec<HistoryEntry>,
    /// The feed's place as of this view.
    pub revision: Revision,
}

/// Whether anybody has or wants a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Held,
}

/// The two kinds of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Exclusive or shared.
    Plain,
    /// So many permits.
    Semaphore,
}

/// A holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderView {
    /// Who.
    pub holder: Holder,
    /// The key it came with.
    pub key: KeyName,
    /// What it was asked for.
    pub recall: Option<Recall>,
}

/// A waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Its place, 1 = next.
    pub position: usize,
    /// How it wants the lock.
    pub claim: Claim,
    /// The flow of control.
    pub owner: Owner,
    /// Its session.
    pub session: Option<SessionId>,
    /// Its note.
    pub note: Option<Note>,
    /// How long it has waited.
    pub waited: Duration,
    /// How long it may still wait.
    pub wait_left: Duration,
    /// A guess from the lock's history; `None` without one.
    pub expected_in: Option<Duration>,
}

/// One past grant or wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its token; `None` if it only waited.
    pub token: Option<Token>,
    /// The flow of control.
    pub owner: Owner,
    /// Its note.
    pub note: Option<Note>,
    /// How long it waited.
    pub waited: Duration,
    /// How long it held.
    pub held: Duration,
    /// How it ended.
    pub ended: Ended,
    /// How long ago.
    pub ended_ago: Duration,
    /// Wall clock of the end, informative.
    pub at: WallTime,
    /// The key that ended it, where that is not the holder itself.
    pub by: Option<KeyName>,
    /// The reason an operator gave.
    pub why: Option<Reason>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Its note.
    pub note: Option<Note>,
    /// The key it came with.
    pub key: KeyName,
    /// Time to live.
    pub ttl: Duration,
    /// How long since it was heard of.
    pub idle_for: Duration,
    /// What is left.
    pub expires_in: Duration,
    /// What it holds, with tokens.
    pub grants: Vec<(LockName, Token)>,
    /// What it waits for.
    pub waits: Vec<LockName>,
}

/// Counts over everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Locks with a holder.
    pub held: usize,
    /// Locks with a queue.
    pub waited: usize,
    /// Locks remembered but unused.
    pub idle: usize,
    /// Requests in queues.
    pub waiters: usize,
    /// Sessions open.
    pub sessions: usize,
    /// Grants alive.
    pub grants: usize,
    /// Longest time anybody has waited.
    pub oldest_wait: Duration,
    /// Longest time anybody has held.
    pub oldest_hold: Duration,
}

/// A page of a list of locks.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Only names that begin with this.
    pub prefix: &'a str,
    /// Only names after this one.
    pub after: &'a str,
    /// At most so many.
    pub limit: usize,
    /// Only locks with a holder.
    pub held: bool,
    /// Only locks with a queue.
    pub waited: bool,
    /// The order.
    pub sort: Sort,
}

/// The order of a list of locks. All but [`Sort::Name`] give the top `limit` and do not page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name, as bytes.
    #[default]
    Name,
    /// Longest queue first.
    Waiters,
    /// Longest held first.
    HeldFor,
}

/// One grant of one lock, for lists in order of grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantView {
    /// The lock.
    pub name: LockName,
    /// Its token: the order of grant.
    pub token: Token,
    /// The key it came with.
    pub key: KeyName,
    /// The flow of control.
    pub owner: Owner,
    /// Its lease, unless only the hash is kept. For the DoubleDutch status route alone.
    pub lease: Option<Lease>,
    /// What is left unless renewed.
    pub expires_in: Duration,
}

/// What one API key has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Locks held.
    pub held: u32,
    /// Requests waiting.
    pub waiting: u32,
    /// Sessions open.
    pub sessions: u32,
}
