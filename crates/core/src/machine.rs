//! The machine: every rule of locks, sessions, request ids and run-time keys behind one door.
//!
//! It is plain state and pure functions. What is due ends first, then the commands take effect in order; both tell
//! what they changed. The chapters: `acquire` (may it have the lock, must it wait), `queue` (who is next), `end`
//! (how grants and waits end), `release`, `renew`, `convert`, `operator`, `session`, `request` (retries), `deadlock`,
//! `key`, `view`, `snapshot`. Under them lie `record` and `packed` (what is kept of each, and how).

mod acquire;
mod convert;
mod deadlock;
mod due;
mod end;
mod key;
mod operator;
mod packed;
mod queue;
mod record;
mod release;
mod renew;
mod request;
mod sequence;
mod session;
mod snapshot;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use snapshot::BadSnapshot;

use crate::answer::{Answer, Force, Refusal};
use crate::change::{Action, Applied, Change, LockChange, Settled};
use crate::command::{Batch, Command};
use crate::id::{Revision, SessionId, TicketId, Token};
use crate::limits;
use crate::text::{KeyName, LockName, Reason};
use crate::time::{Time, WallTime};
use crate::view::Usage;
use due::Deadlines;
use end::EndedLeases;
use key::StoredKey;
use packed::PackedMap;
use record::{Lock, OwnerKey, Session, Ticket, TicketSet, Upgrade};
use request::Requests;
use session::EndedSessions;

/// The deterministic state behind a Tenure server: locks, queues, sessions, request ids, keys.
///
/// The same batches give the same answers and the same state, on every node and after every restart.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    state: State,
    index: Index,
    /// What the batch under way has changed so far.
    applied: Applied,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    now: Time,
    wall: WallTime,
    epoch: u64,
    /// Grants so far: the low bits of the next token.
    grants: u64,
    revision: u64,
    tickets_made: u64,
    sessions_made: u64,
    locks: PackedMap<LockName, Lock>,
    tickets: PackedMap<TicketId, Ticket>,
    upgrades: BTreeMap<TicketId, Upgrade>,
    sessions: BTreeMap<SessionId, Session>,
    requests: Requests,
    ended_leases: EndedLeases,
    ended_sessions: EndedSessions,
    /// Locks that were idle at that time, oldest first; some of them are busy again.
    idle: VecDeque<(Time, LockName)>,
    keys: BTreeMap<KeyName, StoredKey>,
}

/// What can be found again from the state. Hash maps here are looked up, never walked: their order is not determined.
#[derive(Clone, Debug, Default)]
struct Index {
    /// Live tickets by the first half of their lease's hash.
    leases: HashMap<LeaseKey, TicketId>,
    /// Owners that can come again; a fresh one has its one ticket.
    owners: HashMap<OwnerKey, OwnerTickets>,
    deadlines: Deadlines,
    usage: BTreeMap<KeyName, Usage>,
    /// Tickets that wait, in arrival order.
    waiting: BTreeSet<TicketId>,
    idle_locks: usize,
    held_locks: usize,
    waited_locks: usize,
}

/// What one owner holds and waits for (upgrades by their own number).
#[derive(Clone, Debug, Default)]
struct OwnerTickets {
    held: TicketSet,
    waiting: TicketSet,
}

/// Half of a lease's hash: 128 bits find a ticket as surely as 256.
type LeaseKey = [u8; 16];

fn lease_key(hash: &[u8; 32]) -> LeaseKey {
    hash[..16].try_into().expect("16 of 32 bytes")
}

/// A refusal on its way out, or what was asked for.
type Decided<T> = Result<T, Box<Refusal>>;

impl Machine {
    /// An empty machine at time zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets what is due end, then carries out the commands in order.
    ///
    /// Time never goes back: a batch stamped earlier than the machine's time takes effect at the machine's time.
    pub fn apply(&mut self, batch: &Batch) -> Applied {
        self.state.now = self.state.now.max(batch.now);
        self.state.wall = batch.wall;
        self.end_what_is_due();
        self.forget_what_is_old();
        let mut answers = Vec::with_capacity(batch.commands.len());
        for command in &batch.commands {
            answers.push(self.carry_out(command).unwrap_or_else(Answer::Refused));
        }
        let applied = std::mem::take(&mut self.applied);
        Applied { answers, ..applied }
    }

    fn carry_out(&mut self, command: &Command) -> Decided<Answer> {
        match command {
            Command::Tick => Ok(Answer::Done),
            Command::Resume => Ok(self.resume()),
            Command::RaiseEpoch { epoch } => self.raise_epoch(*epoch),
            Command::Acquire(acquire) => self.acquire(acquire),
            Command::Renew(renew) => self.renew(renew),
            Command::Release(release) => self.release(release),
            Command::Cancel(cancel) => self.cancel(cancel),
            Command::Detach(detach) => Ok(self.detach(*detach)),
            Command::Convert(convert) => self.convert(convert),
            Command::HandOver(hand_over) => self.hand_over(hand_over),
            Command::Recall(recall) => self.recall(recall),
            Command::Break(breaking) => self.break_grants(breaking),
            Command::Resize(resize) => self.resize(resize),
            Command::OpenSession(open) => self.open_session(open),
            Command::KeepAlive { session } => self.keep_alive(session),
            Command::EndSession(end) => self.end_session(end),
            Command::PutKey(record) => self.put_key(record),
            Command::RemoveKey { name, .. } => self.remove_key(name),
        }
    }

    /// Machine time.
    pub fn now(&self) -> Time {
        self.state.now
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        Revision(self.state.revision)
    }

    /// The epoch of tokens and cursors.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// When the next thing is due to end.
    pub fn next_deadline(&self) -> Option<Time> {
        self.index.deadlines.next()
    }

    fn raise_epoch(&mut self, epoch: u64) -> Decided<Answer> {
        if epoch <= self.state.epoch || epoch > limits::EPOCH_MAX {
            return Err(invalid("epoch", "must be higher than the last and at most 127"));
        }
        self.state.epoch = epoch;
        self.state.grants = 0;
        Ok(Answer::Done)
    }

    /// The next fencing token: higher than all before it, of all locks.
    fn next_token(&mut self) -> Token {
        self.state.grants += 1;
        Token::new((self.state.epoch << limits::TOKEN_BITS) + self.state.grants)
    }

    fn next_ticket(&mut self) -> TicketId {
        self.state.tickets_made += 1;
        TicketId(self.state.tickets_made)
    }

    fn ticket(&self, id: TicketId) -> &Ticket {
        self.state.tickets.get(&id).expect("an indexed ticket exists")
    }

    fn ticket_mut(&mut self, id: TicketId) -> &mut Ticket {
        self.state.tickets.get_mut(&id).expect("an indexed ticket exists")
    }

    fn known_lock(&self, name: &LockName) -> &Lock {
        self.state.locks.get(name).expect("a ticket's lock exists")
    }

    fn lock_mut(&mut self, name: &LockName) -> &mut Lock {
        self.state.locks.get_mut(name).expect("a ticket's lock exists")
    }

    fn ticket_of_lease(&self, hash: &[u8; 32]) -> Option<TicketId> {
        self.index.leases.get(&lease_key(hash)).copied()
    }

    /// Tells the feed what happened to one lock of a ticket.
    fn tell(&mut self, id: TicketId, name: &LockName, action: Action, told: Told<'_>) {
        self.state.revision += 1;
        let ticket = self.state.tickets.get(&id).expect("an indexed ticket exists");
        let part = ticket.part(name);
        let token = part.map(|part| part.token).filter(|token| *token != Token::default());
        let span = if ticket.is_granted() && action != Action::Granted {
            ticket.held_for(self.state.now)
        } else {
            ticket.waited(self.state.now)
        };
        self.applied.changes.push(Change::Lock(LockChange {
            revision: Revision(self.state.revision),
            name: name.clone(),
            action,
            claim: part.map(|part| part.claim),
            token,
            owner: Some(ticket.owner_shown(id)),
            session: ticket.session(),
            note: ticket.note.clone(),
            by: told.by.cloned(),
            reason: told.reason.cloned(),
            micros: u64::try_from(span.as_micros()).unwrap_or(u64::MAX),
        }));
    }

    /// Tells the feed what was done to a lock itself, whoever has or wants it.
    fn tell_of_lock(&mut self, name: &LockName, action: Action, told: Told<'_>) {
        self.state.revision += 1;
        self.applied.changes.push(Change::Lock(LockChange {
            revision: Revision(self.state.revision),
            name: name.clone(),
            action,
            claim: None,
            token: None,
            owner: None,
            session: None,
            note: None,
            by: told.by.cloned(),
            reason: told.reason.cloned(),
            micros: 0,
        }));
    }

    fn settle(&mut self, ticket: TicketId, outcome: Settled) {
        self.applied.settled.push((ticket, outcome));
    }
}

/// Who else had a hand in a change.
#[derive(Clone, Copy, Default)]
struct Told<'a> {
    by: Option<&'a KeyName>,
    reason: Option<&'a Reason>,
}

impl<'a> Told<'a> {
    fn of(force: &'a Force) -> Self {
        Told { by: Some(&force.by), reason: Some(&force.reason) }
    }

    /// An operator's act, if it is one: who hands a grant over gives no reason.
    fn force(&self) -> Option<Force> {
        let (by, reason) = self.by.zip(self.reason)?;
        Some(Force { by: by.clone(), reason: reason.clone() })
    }
}

fn refuse<T>(refusal: Refusal) -> Decided<T> {
    Err(Box::new(refusal))
}

fn invalid(field: &'static str, why: &'static str) -> Box<Refusal> {
    Box::new(Refusal::Invalid { field, why })
}
