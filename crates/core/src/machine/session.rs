//! Sessions: a client's liveness. What it holds and waits for ends with it, at once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::acquire::{check_ttl, limit};
use super::due::Due;
use super::record::Session;
use super::request::{Remembered, RequestState};
use super::{Decided, Machine, Told, refuse};
use crate::answer::{
    Answer, Ended, Force, KeptAlive, RecalledGrant, Refusal, SessionEnd, SessionEnded,
    SessionOpened,
};
use crate::change::{Change, Settled};
use crate::command::{Caller, EndSession, EndedBy, OpenSession, Reach, RequestName};
use crate::id::{RequestKey, Revision, SessionHandle, SessionId, TicketId};
use crate::limits;

/// How sessions of the past ended, the latest of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndedSessions(VecDeque<(SessionId, SessionEnd)>);

impl EndedSessions {
    fn remember(&mut self, id: SessionId, end: SessionEnd) {
        if self.0.len() == limits::ENDED_SESSIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, end));
    }

    fn get(&self, id: SessionId) -> SessionEnd {
        self.0
            .iter()
            .rev()
            .find(|(ended, _)| *ended == id)
            .map_or(SessionEnd::Unknown, |(_, end)| end.clone())
    }
}

impl Machine {
    /// Whether this handle is of a live session; if not, how the session ended.
    pub fn knows(&self, handle: &SessionHandle) -> Result<(), SessionEnd> {
        match self.state.sessions.get(&handle.id) {
            Some(session) if session.secret == handle.secret => Ok(()),
            Some(_) => Err(SessionEnd::Unknown),
            None => Err(self.state.ended_sessions.get(handle.id)),
        }
    }

    pub(super) fn open_session(&mut self, open: &OpenSession) -> Decided<Answer> {
        check_ttl(open.ttl)?;
        let request = open_key(open);
        if let Some(key) = &request
            && let Some(seen) = self.state.requests.get(key).copied()
        {
            return self.opened_before(seen, open);
        }
        self.check_session_bounds(&open.caller, request.is_some())?;
        Ok(Answer::Opened(self.start_session(open, request)))
    }

    fn opened_before(&self, seen: Remembered, open: &OpenSession) -> Decided<Answer> {
        if seen.body != body_of(open) {
            return refuse(Refusal::RequestIdReused);
        }
        match seen.state {
            RequestState::Session(id) => Ok(Answer::Opened(self.opened(id))),
            RequestState::Ended(ended, _) => {
                refuse(Refusal::RequestFinished { ended, token: None, force: None })
            }
            RequestState::Ticket(_) => refuse(Refusal::RequestIdReused),
        }
    }

    fn check_session_bounds(&self, caller: &Caller, named: bool) -> Decided<()> {
        if self.state.sessions.len() >= limits::SESSIONS_MAX {
            return refuse(limit("sessions", limits::SESSIONS_MAX as u64));
        }
        if named && let Some(full) = self.state.requests.full_for(&caller.key) {
            return refuse(full);
        }
        let max = caller.quota.as_ref().and_then(|quota| quota.sessions_max);
        match max {
            Some(max) if self.usage(&caller.key).sessions >= max => {
                refuse(limit("sessions", u64::from(max)))
            }
            _ => Ok(()),
        }
    }

    fn start_session(&mut self, open: &OpenSession, request: Option<RequestKey>) -> SessionOpened {
        let now = self.state.now;
        self.state.sessions_made += 1;
        let id = SessionId((self.state.epoch << limits::TOKEN_BITS) + self.state.sessions_made);
        let session = Session {
            secret: open.secret,
            key: open.caller.key.clone(),
            note: open.note.clone(),
            ttl: open.ttl,
            heard_at: now,
            expires_at: now + open.ttl,
            tickets: Default::default(),
            lost: VecDeque::new(),
            sequences: Default::default(),
            request,
        };
        self.state.sessions.insert(id, session);
        self.index_session(id);
        if let Some(key) = request {
            let remembered = Remembered {
                body: body_of(open),
                state: RequestState::Session(id),
                numbered: false,
            };
            self.state.requests.insert(key, remembered);
        }
        self.opened(id)
    }

    pub(super) fn index_session(&mut self, id: SessionId) {
        let session = &self.state.sessions[&id];
        self.index.deadlines.add(session.expires_at, Due::Session(id));
        self.index.usage.entry(session.key.clone()).or_default().sessions += 1;
    }

    fn opened(&self, id: SessionId) -> SessionOpened {
        let session = &self.state.sessions[&id];
        SessionOpened {
            session: SessionHandle { id, secret: session.secret },
            ttl: session.ttl,
            expires_in: session.expires_at.since(self.state.now),
        }
    }

    pub(super) fn keep_alive(&mut self, handle: &SessionHandle) -> Decided<Answer> {
        self.check_session(handle)?;
        let (ttl, _) = self.hear_of(handle.id);
        let now = self.state.now;
        let session = self.state.sessions.get_mut(&handle.id).expect("a checked session is alive");
        // Told for two lifetimes, so that a lost answer loses nothing; the client knows the tokens it has heard of.
        while session.lost.front().is_some_and(|(at, _)| now.since(*at) > ttl * 2) {
            session.lost.pop_front();
        }
        let lost = session.lost.iter().map(|(_, lost)| lost.clone()).collect();
        let recalled = self.recalled_of(handle.id);
        Ok(Answer::KeptAlive(KeptAlive { ttl, lost, recalled }))
    }

    fn recalled_of(&self, id: SessionId) -> Vec<RecalledGrant> {
        let mut recalled = Vec::new();
        for ticket_id in &self.state.sessions[&id].tickets {
            for part in self.ticket(*ticket_id).parts.as_slice() {
                let Some(recall) = self.recall_at(*ticket_id, &part.name) else { continue };
                let (name, token) = (part.name.clone(), part.token);
                recalled.push(RecalledGrant { name, token, recall });
            }
        }
        recalled
    }

    pub(super) fn end_session(&mut self, end: &EndSession) -> Decided<Answer> {
        let nothing = Answer::SessionEnded(SessionEnded { released: 0, cancelled: 0 });
        if !self.may_end(end) {
            return refuse(Refusal::OutOfReach);
        }
        let Some(session) = self.state.sessions.get(&end.id) else {
            // Again is fine: it is over, as was asked.
            return match self.state.ended_sessions.get(end.id) {
                SessionEnd::Unknown => refuse(Refusal::NotFound { what: "session" }),
                _ => Ok(nothing),
            };
        };
        let ended = match &end.by {
            EndedBy::Itself(secret) if *secret != session.secret => {
                return refuse(Refusal::NotFound { what: "session" });
            }
            EndedBy::Itself(_) => self.close_session(end.id, &SessionEnd::Closed),
            EndedBy::Operator { reason, .. } => {
                let force = Force { by: end.caller.key.clone(), reason: reason.clone() };
                self.close_session(end.id, &SessionEnd::Broken(force))
            }
        };
        Ok(Answer::SessionEnded(ended))
    }

    /// An operator with prefixes ends no session that has or waits for anything outside of them, nor one of another key
    /// that has nothing at all, whose number he can only have guessed; and he does not learn whether there is another.
    fn may_end(&self, end: &EndSession) -> bool {
        let EndedBy::Operator { reach, .. } = &end.by else { return true };
        if *reach == Reach::All {
            return true;
        }
        self.state.sessions.get(&end.id).is_some_and(|session| {
            let is_seen = session.key == end.caller.key || !session.tickets.is_empty();
            is_seen && self.within(reach, &session.tickets)
        })
    }

    /// Ends a session and frees everything it holds and waits for.
    pub(super) fn close_session(&mut self, id: SessionId, end: &SessionEnd) -> SessionEnded {
        let (ended, told) = match end {
            SessionEnd::Closed => (Ended::Released, Told::default()),
            SessionEnd::Broken(force) => (Ended::SessionEnded, Told::of(force)),
            SessionEnd::Expired | SessionEnd::Unknown => (Ended::SessionEnded, Told::default()),
        };
        self.refuse_waits_of(id, &Refusal::SessionEnded(end.clone()));
        let (released, cancelled) = self.end_tickets_of(id, ended, told);
        let session = self.state.sessions.remove(&id).expect("the caller looked: it is alive");
        self.index.deadlines.remove(session.expires_at, Due::Session(id));
        if let Some(usage) = self.index.usage.get_mut(&session.key) {
            usage.sessions -= 1;
            if *usage == crate::Usage::default() {
                self.index.usage.remove(&session.key);
            }
        }
        if let Some(key) = session.request {
            let now = self.state.now;
            self.state.requests.end(key, Ended::SessionEnded, None, now, &session.key);
        }
        self.state.ended_sessions.remember(id, end.clone());
        self.state.revision += 1;
        self.applied.changes.push(Change::SessionEnded {
            revision: Revision(self.state.revision),
            id,
            reason: end.clone(),
        });
        SessionEnded { released, cancelled }
    }

    /// Tells everybody who waits in a session that it was in vain.
    pub(super) fn refuse_waits_of(&mut self, id: SessionId, refusal: &Refusal) {
        for ticket in self.tickets_of(id) {
            if !self.ticket(ticket).is_granted() {
                self.settle(ticket, Settled::Refused(Box::new(refusal.clone())));
            }
        }
    }

    fn tickets_of(&self, id: SessionId) -> Vec<TicketId> {
        self.state.sessions[&id].tickets.iter().copied().collect()
    }

    /// Ends what a session holds and waits for, then lets the next ones in: `(grants, places)`.
    pub(super) fn end_tickets_of(
        &mut self,
        id: SessionId,
        ended: Ended,
        told: Told<'_>,
    ) -> (usize, usize) {
        let (mut released, mut cancelled) = (0, 0);
        let mut names = Vec::new();
        for ticket in self.tickets_of(id) {
            match self.ticket(ticket).is_granted() {
                true => released += 1,
                false => cancelled += 1,
            }
            names.append(&mut self.end(ticket, ended, told));
        }
        names.sort();
        names.dedup();
        self.pump(names);
        (released, cancelled)
    }
}

fn open_key(open: &OpenSession) -> Option<RequestKey> {
    let RequestName::Client(text) = &open.request else { return None };
    Some(RequestKey::of(&[
        b"open session",
        open.caller.key.as_str().as_bytes(),
        text.as_str().as_bytes(),
    ]))
}

fn body_of(open: &OpenSession) -> u64 {
    RequestKey::of(&[b"session body", &open.ttl.as_micros().to_le_bytes()]).short()
}
