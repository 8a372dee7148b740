//! What may be asked of the machine. Commands are what the log stores, so every one is plain, complete data: who
//! asks, the random bits it may need, no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{
    LeaseRecord, Permits, SessionHandle, SessionId, SessionSecret, TicketId, Token, Weight,
};
use crate::text::{KeyName, LockName, Note, Owner, Prefix, Reason, RequestId};
use crate::time::{Time, WallTime};

/// Commands that take effect together, stamped when the batch was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Machine time of all commands in it. A batch stamped before the machine's time counts as now.
    pub now: Time,
    /// Wall clock, for history only.
    pub wall: WallTime,
    /// Carried out in order, after everything that is due at `now` has ended.
    pub commands: Vec<Command>,
}

impl Batch {
    /// A batch without a wall clock.
    pub fn at(now: Time, commands: Vec<Command>) -> Self {
        Batch { now, wall: WallTime::default(), commands }
    }
}

/// One request to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Nothing but the time: lets what is due end.
    Tick,
    /// A term of office begins (first entry of a leader, start of a node): no answer is open any more, so every waiter
    /// without a session has [`WAITER_GRACE`](crate::limits::WAITER_GRACE) to ask again.
    Resume,
    /// A backup was restored: tokens go on above every token that may have been granted meanwhile.
    RaiseEpoch {
        /// The new epoch, higher than the last.
        epoch: u64,
    },
    /// Take one or several locks.
    Acquire(Box<Acquire>),
    /// Have them longer.
    Renew(Box<Renew>),
    /// Give them back.
    Release(Box<Release>),
    /// Give up a request by its id, in whatever state it is.
    Cancel(Box<Cancel>),
    /// An HTTP answer for a ticket ended without the grant in it.
    Detach(Detach),
    /// Change the mode of a held lock.
    Convert(Box<Convert>),
    /// Give a grant to another process under a new lease and a higher token.
    HandOver(Box<HandOver>),
    /// Ask holders to give back soon.
    Recall(Box<Recalling>),
    /// End a grant by force.
    Break(Box<Break>),
    /// Change the permits of a busy semaphore.
    Resize(Box<Resize>),
    /// Begin a session.
    OpenSession(Box<OpenSession>),
    /// Keep a session alive.
    KeepAlive {
        /// The session.
        session: SessionHandle,
    },
    /// End a session and free all it holds.
    EndSession(Box<EndSession>),
    /// Add or replace an API key made at run time.
    PutKey(Box<KeyRecord>),
    /// Remove an API key made at run time.
    RemoveKey {
        /// Its name.
        name: KeyName,
        /// The key that asked.
        by: KeyName,
    },
}

/// On whose behalf a command comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The API key's name.
    pub key: KeyName,
    /// The key's limits, if it has any.
    pub quota: Option<Box<Quota>>,
}

impl Caller {
    /// A caller without limits.
    pub fn new(key: KeyName) -> Self {
        Caller { key, quota: None }
    }
}

/// What one API key may have at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Locks held.
    pub held_max: Option<u32>,
    /// Requests waiting.
    pub waiting_max: Option<u32>,
    /// Sessions open.
    pub sessions_max: Option<u32>,
}

/// How a request wants one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Claim {
    /// A plain lock, alone.
    Exclusive,
    /// A plain lock, with other shared holders.
    Shared,
    /// Part of a semaphore. One permit of one is [`Claim::Exclusive`]: use [`Claim::permits`].
    Permits {
        /// The semaphore's capacity.
        permits: Permits,
        /// How much of it.
        weight: Weight,
    },
}

impl Claim {
    /// A part of a semaphore; a semaphore of one permit is a plain exclusive lock. `None` if the weight is more than
    /// the permits.
    pub fn permits(permits: Permits, weight: Weight) -> Option<Self> {
        if permits == Permits::ONE && weight == Weight::ONE {
            return Some(Claim::Exclusive);
        }
        (weight.get() <= permits.get()).then_some(Claim::Permits { permits, weight })
    }
}

/// One lock of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which lock.
    pub name: LockName,
    /// How.
    pub claim: Claim,
}

/// What a grant's life hangs on. Exactly one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It lives as long as the session.
    Session(SessionHandle),
    /// It lives this long from the grant or the last renewal.
    Own(Duration),
}

/// Who made the request id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestName {
    /// The client: it may retry, so the id is remembered.
    Client(RequestId),
    /// Nobody: the machine names the request and the name lives as long as the grant or the place in the queue.
    Unnamed,
}

/// Take one or several locks, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// Who asks.
    pub caller: Caller,
    /// What for; 1 to 256 locks, no name twice (refused as [`Refusal::DuplicateName`](crate::Refusal)).
    pub wants: Vec<Want>,
    /// What the grant's life hangs on.
    pub life: Life,
    /// How long to stand in the queue at most; zero never queues.
    pub wait: Duration,
    /// The flow of control; absent: the session itself, or a fresh one without a session.
    pub owner: Option<Owner>,
    /// Whether an owner that holds the lock already gets the same grant once more.
    pub reentrant: bool,
    /// How long nobody gets the lock after the grant ended by expiry or session end.
    pub lock_delay: Duration,
    /// How long after the grant nobody else gets the lock, however the grant ends.
    pub at_least: Duration,
    /// Free text for losers and operators.
    pub note: Option<Note>,
    /// The request's name.
    pub request: RequestName,
    /// The lease a grant will have, made of random bits by the caller.
    pub lease: LeaseRecord,
}

/// What a renewal or release is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// One grant, by the hash of its lease (see [`LeaseRecord::hash`]).
    Lease([u8; 32]),
    /// Everything of a session.
    Session(SessionHandle),
}

/// Have a grant, or all of a session, longer. Never shortens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Who asks.
    pub caller: Caller,
    /// The lock the caller named, if it named one: a lease of another lock is lost.
    pub name: Option<LockName>,
    /// What is renewed.
    pub target: Target,
    /// A new time to live; absent: the grant's own.
    pub ttl: Option<Duration>,
    /// A new note.
    pub note: Option<Note>,
}

/// Give a grant, part of it, or all of a session back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who asks.
    pub caller: Caller,
    /// The lock the caller named, if it named one: a lease of another lock is lost.
    pub name: Option<LockName>,
    /// What is released.
    pub target: Target,
    /// Only these locks of a request for many; empty: all.
    pub names: Vec<LockName>,
    /// Names this release, so that its retry does not take a second level of a re-entrant grant.
    pub request: Option<RequestId>,
}

/// Give up a request. Final in every order: waiting → removed, granted → released, not yet seen → refused when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who asks; the id is looked up in its scope.
    pub caller: Caller,
    /// The names the request was for, in any order.
    pub names: Vec<LockName>,
    /// The session the request was made in, if any.
    pub session: Option<SessionHandle>,
    /// The id.
    pub request: RequestId,
}

/// The connection of a waiting request broke, or its answer was sent without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// The ticket.
    pub ticket: TicketId,
    /// Whether the client can come back: it got `waiting` with the request id, or made the id itself. Otherwise the
    /// ticket leaves at once, and a grant that was made meanwhile is released.
    pub returning: bool,
}

/// Change the mode of a held plain lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convert {
    /// Who asks.
    pub caller: Caller,
    /// The lock.
    pub name: LockName,
    /// Hash of the grant's lease.
    pub lease: [u8; 32],
    /// [`Claim::Shared`] or [`Claim::Exclusive`].
    pub to: Claim,
    /// How long an upgrade may wait.
    pub wait: Duration,
}

/// Give a grant to another process: new lease, higher token, never free in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Who asks: the process that was given the handle.
    pub caller: Caller,
    /// The lock the caller named, if it named one.
    pub name: Option<LockName>,
    /// Hash of the old lease.
    pub lease: [u8; 32],
    /// What the new grant's life hangs on; absent: as before.
    pub life: Option<Life>,
    /// The new lease.
    pub new_lease: LeaseRecord,
    /// Names this hand-over for its retry.
    pub request: RequestName,
}

/// Ask holders to give back soon. Takes nothing by force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalling {
    /// The operator.
    pub caller: Caller,
    /// The lock.
    pub name: LockName,
    /// How soon.
    pub within: Duration,
    /// Why.
    pub reason: Reason,
    /// Only the holder with this token.
    pub token: Option<Token>,
}

/// The names an operator may touch. What he ends at one blow (a grant of many locks, a session) must lie within it as a
/// whole; it is looked at when the command takes effect, since a session may take another lock a moment before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Every name.
    All,
    /// Names that begin with one of these.
    Under(Vec<Prefix>),
}

impl Reach {
    /// The reach of a key with these prefixes; of a key without any: every name.
    pub fn of(prefixes: &[Prefix]) -> Self {
        if prefixes.is_empty() { Reach::All } else { Reach::Under(prefixes.to_vec()) }
    }

    /// Whether `name` lies within it.
    pub fn covers(&self, name: &LockName) -> bool {
        match self {
            Reach::All => true,
            Reach::Under(prefixes) => prefixes.iter().any(|prefix| prefix.covers(name.as_str())),
        }
    }
}

/// End a grant by force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The operator.
    pub caller: Caller,
    /// What he may touch.
    pub reach: Reach,
    /// The lock.
    pub name: LockName,
    /// Why.
    pub reason: Reason,
    /// The holder's token; `None`: whoever holds.
    pub token: Option<Token>,
}

/// Change the permits of a busy semaphore until it is idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// The operator.
    pub caller: Caller,
    /// The lock.
    pub name: LockName,
    /// The new size.
    pub permits: Permits,
}

/// Begin a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Who asks.
    pub caller: Caller,
    /// How long it lives without a keep-alive.
    pub ttl: Duration,
    /// Free text.
    pub note: Option<Note>,
    /// The request's name.
    pub request: RequestName,
    /// The secret half of the handle, made of random bits by the caller.
    pub secret: SessionSecret,
}

/// End a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSession {
    /// Who asks.
    pub caller: Caller,
    /// Which.
    pub id: SessionId,
    /// By its own secret, or by an operator with a reason.
    pub by: EndedBy,
}

/// What entitles to end a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    /// Its secret.
    Itself(SessionSecret),
    /// An operator's word.
    Operator {
        /// Why.
        reason: Reason,
        /// What he may touch.
        reach: Reach,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// GETs, streams, check.
    Read,
    /// Sessions and locks.
    Lock,
    /// Tables, topics, resources.
    Write,
    /// Break, resize, recall, end sessions, keys, cluster, drain.
    Operator,
}

/// An API key made at run time. The record has only the hash of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its name.
    pub name: KeyName,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// The secret before a rotation, alive for a while longer.
    pub old: Option<OldSecret>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// The names it may see and touch; empty: all.
    pub prefixes: Vec<Prefix>,
    /// Longest time to live it may ask for.
    pub ttl_max: Option<Duration>,
    /// What it may have at once.
    pub quota: Quota,
    /// Requests per second.
    pub requests_per_second: Option<u32>,
    /// How long it is valid from the time it is put; the machine turns this into a deadline.
    pub expires_in: Option<Duration>,
    /// The key that asked for it.
    pub by: KeyName,
}

/// A secret on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldSecret {
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// How long it is still good from the time it is put.
    pub good_for: Duration,
}

impl Acquire {
    /// The simplest request: one plain lock, exclusive, without waiting, by the key `local`, all-zero dice. For tests
    /// and examples; real callers draw their lease.
    pub fn exclusive(name: &str, ttl: Duration) -> Self {
        let name = LockName::new(name).expect("an example's name is a lock name");
        Acquire {
            caller: Caller::new(KeyName::new("local").expect("is a key name")),
            wants: vec![Want { name, claim: Claim::Exclusive }],
            life: Life::Own(ttl),
            wait: Duration::ZERO,
            owner: None,
            reentrant: false,
            lock_delay: Duration::ZERO,
            at_least: Duration::ZERO,
            note: None,
            request: RequestName::Unnamed,
            lease: LeaseRecord::Plain(crate::Lease::from_random([0; 32])),
        }
    }
}
