//! The memory of request ids: a retry is the same request, and after its end it is refused, never carried out again.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::acquire::limit;
use super::record::Lock;
use super::{Decided, Machine, Told, refuse};
use crate::answer::{Answer, Ended, Refusal};
use crate::command::{Acquire, Life, RequestName};
use crate::id::{RequestKey, SessionId, TicketId, Token};
use crate::limits;
use crate::text::{KeyName, LockName, RequestId};
use crate::time::Time;

/// Marks the ids of requests that the machine named.
pub(super) const MADE: &str = "srv-";

/// Requests by their id in its scope. In memory for as long as the grant or place exists, and an hour longer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    #[serde(with = "super::snapshot::sorted")]
    known: HashMap<RequestKey, Remembered>,
    /// Ended ones with the API key they came with, oldest first.
    ended: VecDeque<(Time, RequestKey, KeyName)>,
    /// How many of these each API key has.
    ended_by_key: BTreeMap<KeyName, usize>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Tells another body under the same id.
    pub(super) body: u64,
    pub(super) state: RequestState,
    /// Numbered in its session: dropped with its end, since the session remembers the number.
    pub(super) numbered: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum RequestState {
    Ticket(TicketId),
    Session(SessionId),
    Ended(Ended, Option<Token>),
}

/// A new request's name.
#[derive(Debug)]
pub(super) enum Named {
    /// By the machine, when it is asked.
    Unnamed,
    /// By the client.
    Client { key: RequestKey, body: u64, text: RequestId, number: Option<(SessionId, u64)> },
}

impl Named {
    pub(super) fn key(&self) -> Option<RequestKey> {
        match self {
            Named::Unnamed => None,
            Named::Client { key, .. } => Some(*key),
        }
    }

    pub(super) fn text(&self) -> Option<&RequestId> {
        match self {
            Named::Unnamed => None,
            Named::Client { text, .. } => Some(text),
        }
    }
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, key: &RequestKey) -> Option<&Remembered> {
        self.known.get(key)
    }

    pub(super) fn insert(&mut self, key: RequestKey, remembered: Remembered) {
        self.known.insert(key, remembered);
    }

    /// The request is over: remembered an hour longer, unless its session remembers its number.
    pub(super) fn end(
        &mut self,
        key: RequestKey,
        ended: Ended,
        token: Option<Token>,
        now: Time,
        by: &KeyName,
    ) {
        let Some(remembered) = self.known.get_mut(&key) else { return };
        if remembered.numbered {
            self.known.remove(&key);
            return;
        }
        remembered.state = RequestState::Ended(ended, token);
        self.keep(now, key, by);
    }

    /// Remembers a request that is over as soon as it is seen, or that was never seen.
    pub(super) fn insert_ended(
        &mut self,
        key: RequestKey,
        ended: Ended,
        token: Option<Token>,
        now: Time,
        by: &KeyName,
    ) {
        let state = RequestState::Ended(ended, token);
        self.known.insert(key, Remembered { body: 0, state, numbered: false });
        self.keep(now, key, by);
    }

    fn keep(&mut self, now: Time, key: RequestKey, by: &KeyName) {
        self.ended.push_back((now, key, by.clone()));
        *self.ended_by_key.entry(by.clone()).or_default() += 1;
    }

    /// The bound that a new id of this API key would break.
    pub(super) fn full_for(&self, by: &KeyName) -> Option<Refusal> {
        let own = self.ended_by_key.get(by).copied().unwrap_or(0);
        let max = match () {
            () if self.ended.len() >= limits::REQUESTS_KEPT_MAX => limits::REQUESTS_KEPT_MAX,
            () if own >= limits::REQUESTS_KEPT_PER_KEY_MAX => limits::REQUESTS_KEPT_PER_KEY_MAX,
            () => return None,
        };
        Some(limit("request_ids", max as u64))
    }

    pub(super) fn forget(&mut self, now: Time) {
        while self.ended.front().is_some_and(|(at, ..)| now.since(*at) >= limits::REQUEST_KEPT) {
            let Some((_, key, by)) = self.ended.pop_front() else { return };
            self.known.remove(&key);
            if let Some(own) = self.ended_by_key.get_mut(&by) {
                *own -= 1;
                if *own == 0 {
                    self.ended_by_key.remove(&by);
                }
            }
        }
    }
}

impl Machine {
    /// The answer to a request that was seen before, or the name of a new one.
    pub(super) fn find_request(&mut self, request: &Acquire) -> Decided<Result<Answer, Named>> {
        let RequestName::Client(text) = &request.request else { return Ok(Err(Named::Unnamed)) };
        let session = session_of(&request.life);
        if text.as_str().starts_with(MADE) {
            return self.find_made(request, text).map(Ok);
        }
        let names = request.wants.iter().map(|want| &want.name);
        let key = request_key(&request.caller.key, session, names, text);
        let body = body_of(request);
        if let Some(seen) = self.state.requests.get(&key).copied() {
            let cancelled_unseen =
                matches!(seen.state, RequestState::Ended(Ended::Cancelled, None));
            if seen.body != body && !cancelled_unseen {
                return refuse(Refusal::RequestIdReused);
            }
            let again = self.answer_again(seen.state, request)?;
            return Ok(Ok(again.named(text)));
        }
        let number = session.zip(text.sequence());
        if let Some((session, number)) = number
            && self
                .state
                .sessions
                .get(&session)
                .is_some_and(|session| session.sequences.contains(number))
        {
            return refuse(Refusal::RequestFinished {
                ended: Ended::Over,
                token: None,
                force: None,
            });
        }
        if number.is_none()
            && let Some(full) = self.state.requests.full_for(&request.caller.key)
        {
            return refuse(full);
        }
        Ok(Err(Named::Client { key, body, text: text.clone(), number }))
    }

    /// An id the machine made is known while its ticket lives; after that it is over.
    fn find_made(&mut self, request: &Acquire, text: &RequestId) -> Decided<Answer> {
        let same_names = |id: &TicketId| {
            let parts = self.ticket(*id).parts.as_slice();
            parts.len() == request.wants.len()
                && request.wants.iter().all(|want| parts.iter().any(|p| p.name == want.name))
        };
        match self.ticket_made(text) {
            Some(id) if !same_names(&id) => refuse(Refusal::RequestIdReused),
            Some(id) => self.answer_again(RequestState::Ticket(id), request),
            None => {
                refuse(Refusal::RequestFinished { ended: Ended::Over, token: None, force: None })
            }
        }
    }

    /// The live ticket behind an id the machine made.
    pub(super) fn ticket_made(&self, text: &RequestId) -> Option<TicketId> {
        let number = text.as_str().strip_prefix(MADE)?.split_once('-')?.0;
        let id = TicketId(number.parse().ok()?);
        let ticket = self.state.tickets.get(&id)?;
        let unnamed = ticket.extra.as_ref().is_none_or(|extra| extra.request.is_none());
        (unnamed && self.request_shown(id) == *text).then_some(id)
    }

    /// The same request again: the same answer with fresh durations, and somebody listens again.
    fn answer_again(&mut self, state: RequestState, request: &Acquire) -> Decided<Answer> {
        match state {
            RequestState::Ended(ended, token) => {
                let names = request.wants.iter().map(|want| &want.name);
                refuse(self.finished(ended, token, names))
            }
            RequestState::Session(_) => refuse(Refusal::RequestIdReused),
            RequestState::Ticket(id) => {
                self.set_leaves_at(id, None);
                if self.ticket(id).is_granted() {
                    return Ok(Answer::Granted(Box::new(self.granted(id))));
                }
                Ok(Answer::Queued(self.queued(id)))
            }
        }
    }

    /// That a request for these locks is over. The operator behind its end is not kept with it: he is in the history of
    /// its locks, for as long as that goes back.
    pub(super) fn finished<'a>(
        &self,
        ended: Ended,
        token: Option<Token>,
        names: impl IntoIterator<Item = &'a LockName>,
    ) -> Refusal {
        let locks = names.into_iter().filter_map(|name| self.state.locks.get(name));
        let past = locks.flat_map(Lock::history).find(|past| Some(past.token) == token);
        let force = past.and_then(|past| {
            let told = Told { by: past.by.as_ref(), reason: past.why.as_ref() };
            told.force()
        });
        Refusal::RequestFinished { ended, token, force }
    }

    /// Remembers a new request by its ticket.
    pub(super) fn remember_request(&mut self, named: Named, id: TicketId) {
        let Named::Client { key, body, number, .. } = named else { return };
        let remembered =
            Remembered { body, state: RequestState::Ticket(id), numbered: number.is_some() };
        self.state.requests.insert(key, remembered);
        self.use_number(number);
    }

    pub(super) fn use_number(&mut self, number: Option<(SessionId, u64)>) {
        if let Some((session, number)) = number
            && let Some(session) = self.state.sessions.get_mut(&session)
        {
            session.sequences.insert(number);
        }
    }

    /// The id of a ticket's request: the client's own, or one made of the lease's hash, which only who got an answer
    /// can know.
    pub(super) fn request_shown(&self, id: TicketId) -> RequestId {
        let ticket = self.ticket(id);
        if let Some(text) = ticket.extra.as_ref().and_then(|extra| extra.request.clone()) {
            return text;
        }
        let secret = RequestKey::of(&[b"request", &ticket.lease.hash(), &id.0.to_le_bytes()]);
        RequestId::made(format!("{MADE}{}-{}", id.0, secret.letters()))
    }
}

impl Answer {
    /// A grant under the id that this request for it had: those that entered again have their own.
    pub(super) fn named(mut self, text: &RequestId) -> Self {
        if let Answer::Granted(granted) = &mut self {
            granted.request = text.clone();
        }
        self
    }
}

/// An id in its scope: the session and the number alone for a numbered one, else the session or the API key together
/// with the names in any order.
pub(super) fn request_key<'a>(
    key: &KeyName,
    session: Option<SessionId>,
    names: impl Iterator<Item = &'a LockName>,
    text: &RequestId,
) -> RequestKey {
    let session_bytes = session.map(|id| id.0.to_le_bytes());
    if let (Some(session), Some(number)) = (&session_bytes, text.sequence()) {
        return RequestKey::of(&[b"numbered", session, &number.to_le_bytes()]);
    }
    let scope: &[u8] = session_bytes.as_ref().map_or(key.as_str().as_bytes(), |bytes| bytes);
    let kind: &[u8] = if session.is_some() { b"in session" } else { b"in key" };
    let mut names: Vec<&[u8]> = names.map(|name| name.as_str().as_bytes()).collect();
    names.sort_unstable();
    let mut parts = vec![kind, scope, text.as_str().as_bytes()];
    parts.append(&mut names);
    RequestKey::of(&parts)
}

fn session_of(life: &Life) -> Option<SessionId> {
    match life {
        Life::Session(handle) => Some(handle.id),
        Life::Own(_) => None,
    }
}

/// What makes two requests the same, besides their id: everything but how long they wait, what they say and the dice.
fn body_of(request: &Acquire) -> u64 {
    let ttl = match &request.life {
        Life::Session(_) => None,
        Life::Own(ttl) => Some(*ttl),
    };
    let body = (
        &request.wants,
        session_of(&request.life),
        ttl,
        &request.owner,
        request.reentrant,
        request.lock_delay,
        request.at_least,
    );
    let bytes = postcard::to_stdvec(&body).expect("plain data can be written");
    RequestKey::of(&[b"body", &bytes]).short()
}
