//! The rules once more, as plainly as they can be said: lists, looked through from end to end, and no index.
//!
//! What it answers is text, so that a difference to the machine can be read.

mod acquire;
mod convert;
mod due;
mod end;
mod operate;
mod said;
mod session;

use std::collections::BTreeSet;
use std::time::Duration;

use tenure_core::*;

pub(crate) use said::{said, said_settled};

#[derive(Default)]
pub(crate) struct Naive {
    now: Time,
    tokens: u64,
    tickets_made: u64,
    sessions_made: u64,
    tickets: Vec<Ticket>,
    upgrades: Vec<Upgrade>,
    sessions: Vec<Session>,
    ended_sessions: Vec<(SessionId, SessionEnd)>,
    locks: Vec<Lock>,
    seen: Vec<Seen>,
    ended_leases: Vec<EndedLease>,
    settled: Vec<(TicketId, String)>,
    /// The operator at work.
    force: Option<Force>,
}

#[derive(Clone)]
struct Ticket {
    id: TicketId,
    parts: Vec<Part>,
    key: KeyName,
    owner: Name,
    life: Lives,
    lease: [u8; 32],
    arrived: Time,
    granted: Option<Time>,
    wait_until: Time,
    leaves: Option<Time>,
    depth: u32,
    ids: Vec<Scope>,
    text: Option<RequestId>,
    lock_delay: Duration,
    at_least: Duration,
}

#[derive(Clone)]
struct Part {
    name: LockName,
    claim: Claim,
    token: Token,
}

#[derive(Clone, PartialEq)]
enum Name {
    Session,
    Fresh,
    Named(Owner),
}

#[derive(Clone, Copy)]
enum Lives {
    Session(SessionId),
    Own { ttl: Duration, until: Time },
}

/// An owner in its scope.
#[derive(Clone, PartialEq)]
enum Who {
    Session(SessionId),
    InSession(SessionId, Owner),
    InKey(KeyName, Owner),
    Fresh(TicketId),
}

struct Upgrade {
    id: TicketId,
    ticket: TicketId,
    name: LockName,
    arrived: Time,
    wait_until: Time,
    leaves: Option<Time>,
}

struct Session {
    id: SessionId,
    handle: SessionHandle,
    key: KeyName,
    ttl: Duration,
    until: Time,
    used: BTreeSet<u64>,
    lost: Vec<(Time, LockName, Token, Option<Force>)>,
    opened_by: Option<Scope>,
}

struct Lock {
    name: LockName,
    /// `None`: plain.
    permits: Option<u32>,
    resized: Option<u32>,
    opens: Time,
    /// Whether its opening is still ahead.
    opening: bool,
}

/// A request id in its scope.
#[derive(Clone, Debug, PartialEq)]
enum Scope {
    Acquire(Option<SessionId>, Option<KeyName>, Vec<LockName>, String),
    Numbered(SessionId, u64),
    Release(KeyName, [u8; 32], String),
    HandOver(KeyName, [u8; 32], String),
    Open(KeyName, String),
}

struct Seen {
    scope: Scope,
    /// What else has to be the same, as text.
    body: Option<String>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Lives(TicketId),
    Opened(SessionId),
    Over(Ended, Option<Token>, Time),
}

struct EndedLease {
    lease: [u8; 32],
    ended: Ended,
    at: Time,
    held: Duration,
    token: Token,
    name: Option<LockName>,
    force: Option<Force>,
}

/// A refusal in words.
type Said = Result<String, String>;

impl Naive {
    /// The answers and the settled outcomes, in words.
    pub(crate) fn apply(&mut self, batch: &Batch) -> (Vec<String>, Vec<(TicketId, String)>) {
        self.now = self.now.max(batch.now);
        self.end_what_is_due();
        let answers = batch.commands.iter().map(|command| {
            let said = self.carry_out(command);
            said.unwrap_or_else(|refusal| format!("refused: {refusal}"))
        });
        let answers = answers.collect();
        (answers, std::mem::take(&mut self.settled))
    }

    fn carry_out(&mut self, command: &Command) -> Said {
        match command {
            Command::Tick => Ok("done".into()),
            Command::Resume => Ok(self.resume()),
            Command::Acquire(acquire) => self.acquire(acquire),
            Command::Renew(renew) => self.renew(renew),
            Command::Release(release) => self.release(release),
            Command::Cancel(cancel) => self.cancel(cancel),
            Command::Detach(detach) => Ok(self.detach(*detach)),
            Command::Convert(convert) => self.convert(convert),
            Command::HandOver(hand_over) => self.hand_over(hand_over),
            Command::Recall(recall) => {
                Ok(format!("recalled {}", self.holders_with(&recall.name, recall.token).len()))
            }
            Command::Break(breaking) => self.break_grants(breaking),
            Command::Resize(resize) => self.resize(resize),
            Command::OpenSession(open) => self.open_session(open),
            Command::KeepAlive { session } => self.keep_alive(session),
            Command::EndSession(end) => self.end_session(end),
            Command::RaiseEpoch { .. } | Command::PutKey(_) | Command::RemoveKey { .. } => {
                Err("is not in the model".into())
            }
        }
    }

    fn ticket(&self, id: TicketId) -> &Ticket {
        self.tickets.iter().find(|ticket| ticket.id == id).expect("the model has the ticket")
    }

    fn ticket_mut(&mut self, id: TicketId) -> &mut Ticket {
        self.tickets.iter_mut().find(|ticket| ticket.id == id).expect("the model has the ticket")
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// How a session's handle is refused.
    fn check_session(&self, handle: &SessionHandle) -> Result<(), String> {
        let end = match self.session(handle.id) {
            Some(session) if session.handle == *handle => return Ok(()),
            Some(_) => SessionEnd::Unknown,
            None => self.end_of(handle.id),
        };
        Err(format!("session ended {end:?}"))
    }

    fn end_of(&self, id: SessionId) -> SessionEnd {
        let ended = self.ended_sessions.iter().find(|(ended, _)| *ended == id);
        ended.map_or(SessionEnd::Unknown, |(_, end)| end.clone())
    }

    /// Holders in order of token.
    fn holders(&self, name: &LockName) -> Vec<(Token, TicketId, Claim)> {
        let granted = self.tickets.iter().filter(|ticket| ticket.granted.is_some());
        let mut holders: Vec<_> = granted
            .filter_map(|ticket| {
                let part = ticket.parts.iter().find(|part| part.name == *name)?;
                Some((part.token, ticket.id, part.claim))
            })
            .collect();
        holders.sort_by_key(|(token, ..)| *token);
        holders
    }

    /// Who stands in the queue, without an upgrade, in arrival order.
    fn queue(&self, name: &LockName) -> Vec<(TicketId, Claim)> {
        let waiting = self.tickets.iter().filter(|ticket| ticket.granted.is_none());
        let mut queue: Vec<_> = waiting
            .filter_map(|ticket| {
                let part = ticket.parts.iter().find(|part| part.name == *name)?;
                Some((ticket.id, part.claim))
            })
            .collect();
        queue.sort_by_key(|(id, _)| *id);
        queue
    }

    fn upgrade_at(&self, name: &LockName) -> Option<&Upgrade> {
        self.upgrades.iter().find(|upgrade| upgrade.name == *name)
    }

    fn queue_length(&self, name: &LockName) -> usize {
        self.queue(name).len() + usize::from(self.upgrade_at(name).is_some())
    }

    fn is_idle(&self, name: &LockName) -> bool {
        self.holders(name).is_empty() && self.queue_length(name) == 0
    }

    fn lock(&self, name: &LockName) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.name == *name)
    }

    fn opens(&self, name: &LockName) -> Time {
        self.lock(name).map_or(Time::ZERO, |lock| lock.opens)
    }

    /// The size that counts: the operator's until the lock is idle.
    fn resized(&self, name: &LockName) -> Option<u32> {
        if self.is_idle(name) { None } else { self.lock(name)?.resized }
    }

    fn capacity(&self, name: &LockName) -> u64 {
        let permits = self.lock(name).and_then(|lock| lock.permits);
        self.resized(name).or(permits).map_or(1 << 31, u64::from)
    }

    fn fits(&self, name: &LockName, claim: Claim) -> bool {
        let holders = self.holders(name);
        let used: u64 = holders.iter().map(|(_, _, claim)| weight(*claim)).sum();
        let any_size = holders.is_empty() && self.resized(name).is_none();
        self.opens(name) <= self.now && (any_size || used + weight(claim) <= self.capacity(name))
    }

    fn who(&self, ticket: &Ticket) -> Who {
        match (&ticket.owner, ticket.life) {
            (Name::Named(owner), Lives::Session(id)) => Who::InSession(id, owner.clone()),
            (Name::Named(owner), Lives::Own { .. }) => {
                Who::InKey(ticket.key.clone(), owner.clone())
            }
            (Name::Session, Lives::Session(id)) => Who::Session(id),
            _ => Who::Fresh(ticket.id),
        }
    }

    /// Grants whoever is next, the earliest first, at these locks and at those that this gives a new head.
    fn pump(&mut self, names: &[LockName]) {
        for name in names {
            self.pump_upgrade(name);
        }
        let mut touched: Vec<LockName> = names.to_vec();
        while let Some(id) = self.next_at(&touched) {
            self.grant(id);
            touched.extend(self.ticket(id).parts.iter().map(|part| part.name.clone()));
            let told = self.told_granted(id);
            self.settled.push((id, told));
        }
    }

    fn next_at(&self, names: &[LockName]) -> Option<TicketId> {
        let heads = names.iter().filter_map(|name| self.queue(name).first().map(|(id, _)| *id));
        heads.filter(|id| self.is_next(*id)).min()
    }

    /// Whether a waiter is first and fits everywhere, and is not due to leave.
    fn is_next(&self, id: TicketId) -> bool {
        let ticket = self.ticket(id);
        let gone = ticket.leaves.is_some_and(|at| at <= self.now)
            || matches!(ticket.life, Lives::Session(session)
                if self.session(session).is_none_or(|session| session.until <= self.now));
        !gone
            && ticket.parts.iter().all(|part| {
                self.upgrade_at(&part.name).is_none()
                    && self.queue(&part.name).first().is_some_and(|(head, _)| *head == id)
                    && self.fits(&part.name, part.claim)
            })
    }

    fn grant(&mut self, id: TicketId) {
        let now = self.now;
        for place in 0..self.ticket(id).parts.len() {
            let token = self.next_token();
            let part = &mut self.ticket_mut(id).parts[place];
            part.token = token;
        }
        let ticket = self.ticket_mut(id);
        ticket.granted = Some(now);
        ticket.depth = 1;
        if let Lives::Own { ttl, until } = &mut ticket.life {
            *until = now + *ttl;
        }
    }

    fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token::new(self.tokens)
    }

    fn next_ticket(&mut self) -> TicketId {
        self.tickets_made += 1;
        TicketId(self.tickets_made)
    }

    /// A request that was seen before and is not forgotten.
    fn seen(&self, scope: &Scope) -> Option<&Seen> {
        let now = self.now;
        self.seen.iter().find(|seen| {
            let forgotten = matches!(seen.state, State::Over(_, _, at)
                if now.since(at) >= limits::REQUEST_KEPT);
            seen.scope == *scope && !forgotten
        })
    }

    fn remember(&mut self, scope: Scope, body: Option<String>, state: State) {
        self.seen.retain(|seen| seen.scope != scope);
        self.seen.push(Seen { scope, body, state });
    }

    /// A request is over: known for an hour, or by its number alone.
    fn end_request(&mut self, scope: &Scope, ended: Ended, token: Option<Token>) {
        let now = self.now;
        if matches!(scope, Scope::Numbered(..)) {
            return self.seen.retain(|seen| seen.scope != *scope);
        }
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.scope == *scope) {
            seen.state = State::Over(ended, token, now);
        }
    }

    /// What can be seen of every lock: holders and queue.
    pub(crate) fn picture(&self, name: &LockName) -> String {
        let holders: Vec<String> = self
            .holders(name)
            .iter()
            .map(|(token, id, claim)| {
                format!("{token} {claim:?} {}", self.until(*id).since(self.now).as_micros())
            })
            .collect();
        let upgrade = self.upgrade_at(name).map(|upgrade| (upgrade.arrived, Claim::Exclusive));
        let queued =
            self.queue(name).into_iter().map(|(id, claim)| (self.ticket(id).arrived, claim));
        let queue: Vec<String> = upgrade
            .into_iter()
            .chain(queued)
            .map(|(at, claim)| format!("{claim:?} {}", self.now.since(at).as_micros()))
            .collect();
        let opens = self.opens(name).since(self.now).as_micros();
        format!("{name}: holders {holders:?} queue {queue:?} opens {opens}")
    }

    /// Nobody waits who could be served.
    pub(crate) fn nobody_waits_in_vain(&self) -> bool {
        let waiting = self.tickets.iter().filter(|ticket| ticket.granted.is_none());
        waiting.map(|ticket| ticket.id).all(|id| !self.is_next(id))
            && self.upgrades.iter().all(|upgrade| !self.may_be_alone(&upgrade.name))
    }

    pub(crate) fn usage(&self, key: &KeyName) -> Usage {
        let own = self.tickets.iter().filter(|ticket| ticket.key == *key);
        let mut usage = Usage::default();
        for ticket in own {
            match ticket.granted {
                Some(_) => usage.held += ticket.parts.len() as u32,
                None => usage.waiting += 1,
            }
        }
        usage.sessions = self.sessions.iter().filter(|s| s.key == *key).count() as u32;
        usage
    }

    fn until(&self, id: TicketId) -> Time {
        match self.ticket(id).life {
            Lives::Own { until, .. } => until,
            Lives::Session(session) => {
                self.session(session).expect("a ticket's session lives").until
            }
        }
    }
}

fn weight(claim: Claim) -> u64 {
    match claim {
        Claim::Exclusive => 1 << 31,
        Claim::Shared => 1,
        Claim::Permits { weight, .. } => u64::from(weight.get()),
    }
}
