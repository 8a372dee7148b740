//! Locks: what is asked, granted, shown.

use serde::{Deserialize, Serialize};
use tenure_core::{
    Claim, Ended, KeyName, Lease, LockName, LostReason, Note, Owner, Permits, Prefix, Reason,
    RequestId, SessionHandle, SessionId, Token,
};
use utoipa::{IntoParams, ToSchema};

use crate::code::{Code, names};
use crate::seconds::Seconds;
use crate::wire;

mod request;

pub use request::{
    AcquireRequest, BreakRequest, CheckRequest, ConvertRequest, HandOverRequest, LocksQuery,
    RecallRequest, ReleaseRequest, RenewRequest, ResizeRequest, Wanted,
};

/// How a plain lock is held.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// With other shared holders.
    Shared,
}

impl Mode {
    /// The mode of a plain lock's claim; `None` for a semaphore's.
    pub fn of(claim: &Claim) -> Option<Self> {
        match claim {
            Claim::Exclusive => Some(Mode::Exclusive),
            Claim::Shared => Some(Mode::Shared),
            Claim::Permits { .. } => None,
        }
    }
}

/// A grant. One lock: `name`, `token` and `mode` (or `permits` and `weight`). Many: `locks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The lock, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<LockName>,
    /// Always true.
    pub acquired: bool,
    /// Its fencing token, for the guarded resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
    /// The secret that proves ownership; absent if the server keeps only its hash and this is a repeated answer.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub lease: Option<Lease>,
    /// How a plain lock is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// A semaphore's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub permits: Option<Permits>,
    /// How much of it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The locks, in the order asked, if many were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<GrantedName>>,
    /// The flow of control.
    #[schema(value_type = String)]
    pub owner: Owner,
    /// The session it hangs on.
    #[serde(default, with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// The request's id.
    #[schema(value_type = String)]
    pub request_id: RequestId,
    /// Time to live of the grant or of its session.
    pub ttl: Seconds,
    /// How long the holder may rely on it, counted from when the request was sent, plus `since_request`.
    pub valid_for: Seconds,
    /// What is left.
    pub expires_in: Seconds,
    /// How long it stood in the queue.
    pub waited: Seconds,
    /// How long this answer was held back before the grant was made.
    #[serde(default)]
    pub since_request: Seconds,
    /// How many times its owner has it, if more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
}

/// One lock of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantedName {
    /// Which.
    #[schema(value_type = String)]
    pub name: LockName,
    /// How a plain lock is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// A semaphore's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub permits: Option<Permits>,
    /// How much of it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Its fencing token.
    #[schema(value_type = u64)]
    pub token: Token,
}

impl Grant {
    /// Every lock of the grant with its token, in the order asked.
    pub fn tokens(&self) -> Vec<(LockName, Token)> {
        match (&self.name, self.token, &self.locks) {
            (Some(name), Some(token), _) => vec![(name.clone(), token)],
            (_, _, Some(locks)) => locks.iter().map(|l| (l.name.clone(), l.token)).collect(),
            _ => Vec::new(),
        }
    }
}

/// A grant that lives longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// The lock, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<LockName>,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
    /// The locks, if they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<GrantedName>>,
    /// Time to live from now on.
    pub ttl: Seconds,
    /// How long the holder may rely on it, counted from when the request was sent.
    pub valid_for: Seconds,
    /// What is left.
    pub expires_in: Seconds,
    /// What the holder was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<RecallView>,
}

/// A request to give back soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecallView {
    /// How soon, from this answer on.
    pub within: Seconds,
    /// Why.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// The key of the operator who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
}

/// A grant given back, or a request given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// Whether something was held and is free now; a retry is told the same again.
    pub released: bool,
    /// Whether a place in the queue was given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// How many times its owner still has it, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// How long it was held.
    pub held_for: Seconds,
}

/// The answers to a request about many leases, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Many {
    /// One for each lease.
    pub results: Vec<ManyResult>,
}

/// What became of one of many leases. `code` is there if it was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyResult {
    /// The lease.
    #[serde(with = "wire::text")]
    #[schema(value_type = String)]
    pub lease: Lease,
    /// Given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<bool>,
    /// How long the holder may rely on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Seconds>,
    /// What is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Seconds>,
    /// What the holder was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<RecallView>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Why it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The key of the operator who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
    /// The reason he gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why: Option<Reason>,
}

/// Whether a token is of a live grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckAnswer {
    /// Whether it is.
    pub current: bool,
    /// The highest token of the lock; null if it never had one or is forgotten.
    #[schema(value_type = Option<u64>)]
    pub latest_token: Option<Token>,
}

/// Holders that were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecallAnswer {
    /// How many.
    pub asked: usize,
}

/// Grants that were ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakAnswer {
    /// How many.
    pub broken: usize,
    /// Whether somebody else has the lock now.
    pub next_granted: bool,
}

/// A semaphore of another size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResizeAnswer {
    /// Its size now.
    #[schema(value_type = u32)]
    pub permits: Permits,
    /// Waiters granted by that.
    pub granted: usize,
}

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Its token.
    #[schema(value_type = u64)]
    pub token: Token,
    /// How it holds a plain lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The semaphore's size it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub permits: Option<Permits>,
    /// How much of the semaphore it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The flow of control.
    #[schema(value_type = String)]
    pub owner: Owner,
    /// The session it hangs on.
    #[serde(default, with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// Who, why, where.
    #[schema(value_type = Option<String>)]
    pub note: Option<Note>,
    /// For how long.
    pub held_for: Seconds,
    /// What is left unless renewed.
    pub expires_in: Seconds,
}

/// A holder in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockHolder {
    /// Who.
    #[serde(flatten)]
    pub holder: Holder,
    /// The key it came with.
    #[schema(value_type = String)]
    pub key: KeyName,
    /// What it was asked for.
    #[serde(default)]
    pub recall: Option<RecallView>,
}

/// One lock. In a list `queue` and `history` are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: LockName,
    /// Whether anybody has it.
    pub state: LockState,
    /// Plain or semaphore.
    pub kind: KindName,
    /// Its size.
    #[schema(value_type = u32)]
    pub permits: Permits,
    /// The highest token, held or not; null if it never had one or is forgotten.
    #[schema(value_type = Option<u64>)]
    pub latest_token: Option<Token>,
    /// How long nobody gets it.
    pub opens_in: Seconds,
    /// Who has it, oldest grant first.
    pub holders: Vec<LockHolder>,
    /// Requests that wait, also those beyond what `queue` shows.
    pub queue_length: usize,
    /// Who waits, next first.
    pub queue: Vec<Waiter>,
    /// The last transitions, newest first.
    pub history: Vec<HistoryView>,
    /// Goes into a stream: from here nothing is missed that this view does not show. In a list the list has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiter {
    /// Its place, 1 = next.
    pub position: usize,
    /// How it wants a plain lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The semaphore's size it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub permits: Option<Permits>,
    /// How much of the semaphore it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The flow of control.
    #[schema(value_type = String)]
    pub owner: Owner,
    /// Its session.
    #[serde(default, with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// Who, why, where.
    #[schema(value_type = Option<String>)]
    pub note: Option<Note>,
    /// How long it has waited.
    pub waited: Seconds,
    /// How long it may still wait.
    pub wait_left: Seconds,
    /// A guess from the lock's history.
    pub expected_in: Option<Seconds>,
}

/// One past grant or wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// Its token; null if it only waited.
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
    /// The flow of control.
    #[schema(value_type = String)]
    pub owner: Owner,
    /// Who, why, where.
    #[schema(value_type = Option<String>)]
    pub note: Option<Note>,
    /// How long it waited.
    pub waited: Seconds,
    /// How long it held.
    pub held: Seconds,
    /// How it ended.
    pub ended: EndedName,
    /// How long ago.
    pub ended_ago: Seconds,
    /// The wall clock of the end (RFC 3339), informative.
    pub at: String,
    /// The key that ended it, where that is not the holder itself.
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
    /// The reason an operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why: Option<Reason>,
}

/// A page of locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Locks {
    /// The locks.
    pub locks: Vec<LockView>,
    /// Goes into `after` for the next page; null on the last.
    #[schema(value_type = Option<String>)]
    pub next: Option<LockName>,
    /// Goes into a stream: from here nothing is missed that this page does not show.
    pub cursor: String,
}

/// Which locks of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateFilter {
    /// With a holder.
    Held,
    /// With a queue.
    Waited,
}

/// The order of a list of locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortName {
    /// By name.
    #[default]
    Name,
    /// Longest queue first; no further pages.
    Waiters,
    /// Longest held first; no further pages.
    HeldFor,
}

names! {
    /// Whether anybody has a lock.
    LockState {
        /// Nobody.
        Free = "free",
        /// Somebody.
        Held = "held",
    }
}

names! {
    /// The two kinds of lock.
    KindName {
        /// Exclusive or shared.
        Plain = "plain",
        /// So many permits.
        Semaphore = "semaphore",
    }
}

names! {
    /// Why a grant is not its holder's any more.
    LostName {
        /// Its time ran out.
        Expired = "expired",
        /// Its session ended.
        SessionEnded = "session_ended",
        /// An operator ended it.
        Broken = "broken",
        /// Another process has it.
        HandedOver = "handed_over",
        /// Never known, or so long over that it is forgotten.
        Unknown = "unknown",
    }
}

impl From<&LostReason> for LostName {
    fn from(reason: &LostReason) -> Self {
        match reason {
            LostReason::Expired => LostName::Expired,
            LostReason::SessionEnded(_) => LostName::SessionEnded,
            LostReason::Broken(_) => LostName::Broken,
            LostReason::HandedOver => LostName::HandedOver,
            LostReason::Unknown => LostName::Unknown,
        }
    }
}

names! {
    /// How a request's grant or place ended.
    EndedName {
        /// Given back.
        Released = "released",
        /// Given up.
        Cancelled = "cancelled",
        /// Its wait passed.
        TimedOut = "timed_out",
        /// Its time ran out.
        Expired = "expired",
        /// Its session ended.
        SessionEnded = "session_ended",
        /// An operator ended it.
        Broken = "broken",
        /// Another process has it.
        HandedOver = "handed_over",
        /// Only that it is over is known.
        Over = "over",
    }
}

impl From<Ended> for EndedName {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Released => EndedName::Released,
            Ended::Cancelled => EndedName::Cancelled,
            Ended::TimedOut => EndedName::TimedOut,
            Ended::Expired => EndedName::Expired,
            Ended::SessionEnded => EndedName::SessionEnded,
            Ended::Broken => EndedName::Broken,
            Ended::HandedOver => EndedName::HandedOver,
            Ended::Over => EndedName::Over,
        }
    }
}
