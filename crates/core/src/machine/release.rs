//! Giving back and giving up.

use std::time::Duration;

use super::end::{EndedLease, granted_locks};
use super::request::{RequestState, request_key};
use super::{Decided, Machine, Told, refuse};
use crate::answer::{Answer, Ended, Refusal, Released};
use crate::change::Settled;
use crate::command::{Cancel, Detach, Release, Target};
use crate::id::{RequestKey, SessionId, TicketId};
use crate::limits;
use crate::text::LockName;

impl Machine {
    pub(super) fn release(&mut self, release: &Release) -> Decided<Answer> {
        match &release.target {
            Target::Lease(hash) => self.release_lease(release, hash),
            Target::Session(handle) => {
                self.check_session(handle)?;
                Ok(self.release_session(handle.id))
            }
        }
    }

    fn release_lease(&mut self, release: &Release, hash: &[u8; 32]) -> Decided<Answer> {
        let retry = release.request.as_ref().map(|id| {
            RequestKey::of(&[
                b"release",
                release.caller.key.as_str().as_bytes(),
                hash,
                id.as_str().as_bytes(),
            ])
        });
        if let Some(seen) = retry.and_then(|key| self.state.requests.get(&key)) {
            return Ok(Answer::Released(self.released_again(seen.state, hash)));
        }
        let Some(id) = self.ticket_of_lease(hash).filter(|id| self.ticket(*id).is_granted()) else {
            return self.release_again(hash, release.name.as_ref());
        };
        let names = self.names_released(id, release)?;
        if let Some(key) = retry {
            self.remember_release(key, id, &names)?;
        }
        Ok(Answer::Released(self.release_names(id, &names)))
    }

    /// A retried release that left something of the grant: told as before, with what is left now.
    fn released_again(&self, state: RequestState, hash: &[u8; 32]) -> Released {
        let gave_locks_back = matches!(state, RequestState::Ended(_, Some(_)));
        let depth = self.ticket_of_lease(hash).map_or(0, |id| self.ticket(id).depth);
        let before = self.released_before(hash);
        let released = before.released || gave_locks_back;
        Released { released, depth: if released { 0 } else { depth }, ..before }
    }

    /// The locks a release is about; a lock the ticket does not hold is lost.
    fn names_released(&self, id: TicketId, release: &Release) -> Decided<Vec<LockName>> {
        let ticket = self.ticket(id);
        let foreign = |name: &&LockName| ticket.part(name).is_none();
        if release.names.iter().chain(&release.name).any(|name| foreign(&name)) {
            return refuse(Refusal::Lost(self.lost(&[0; 32])));
        }
        let mut names = release.names.clone();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn release_names(&mut self, id: TicketId, names: &[LockName]) -> Released {
        let held_for = self.ticket(id).held_for(self.state.now);
        if self.ticket(id).depth > 1 {
            let depth = self.leave_level(id);
            return Released { released: false, cancelled: false, depth, held_for, locks: vec![] };
        }
        let mut locks = granted_locks(self.ticket(id));
        if self.is_part(id, names) {
            locks.retain(|lock| names.contains(&lock.name));
            self.release_part(id, names);
        } else {
            self.end_and_pump(id, Ended::Released, Told::default());
        }
        Released { released: true, cancelled: false, depth: 0, held_for, locks }
    }

    fn is_part(&self, id: TicketId, names: &[LockName]) -> bool {
        !names.is_empty() && names.len() < self.ticket(id).parts.as_slice().len()
    }

    /// Takes one level off a re-entrant grant. There are never more ids than levels, so the latest is over.
    fn leave_level(&mut self, id: TicketId) -> u32 {
        let now = self.state.now;
        let ticket = self.ticket_mut(id);
        ticket.depth -= 1;
        let (depth, token) = (ticket.depth, ticket.parts.as_slice()[0].token);
        let requests = &mut ticket.extra().requests;
        let over = if requests.len() > depth as usize { requests.pop() } else { None };
        if let Some(key) = over {
            let by = self.ticket(id).key.clone();
            self.state.requests.end(key, Ended::Released, Some(token), now, &by);
        }
        depth
    }

    fn release_part(&mut self, id: TicketId, names: &[LockName]) {
        self.unindex(id);
        for name in names {
            self.end_part(id, name, Ended::Released, Told::default());
        }
        if let super::record::Parts::Many(parts) = &mut self.ticket_mut(id).parts {
            parts.retain(|part| !names.contains(&part.name));
        }
        if let Some(extra) = &mut self.ticket_mut(id).extra {
            extra.recalls.retain(|recall| !names.contains(&recall.name));
            extra.upgraded.retain(|(name, _)| !names.contains(name));
        }
        self.index_ticket(id);
        self.pump(names.iter().cloned());
    }

    /// Releasing what was released is a retry; what ended otherwise is lost.
    fn release_again(&self, hash: &[u8; 32], name: Option<&LockName>) -> Decided<Answer> {
        let ended = self.state.ended_leases.get(hash).map(|lease| lease.ended);
        match ended {
            Some(Ended::Released | Ended::Cancelled) if !self.is_foreign(hash, name) => {
                Ok(Answer::Released(self.released_before(hash)))
            }
            _ => refuse(Refusal::Lost(self.lost_at(hash, name))),
        }
    }

    fn released_before(&self, hash: &[u8; 32]) -> Released {
        let given_back =
            |lease: &&EndedLease| matches!(lease.ended, Ended::Released | Ended::Cancelled);
        let ended = self.state.ended_leases.get(hash).filter(given_back);
        Released {
            released: ended.is_some(),
            cancelled: false,
            depth: 0,
            held_for: ended.map_or(Duration::ZERO, |lease| lease.held),
            locks: vec![],
        }
    }

    /// Only a release that leaves something of the grant needs it: for all others the ended lease answers the retry.
    /// The token remembered tells one that gave locks back from one that took off a level.
    fn remember_release(
        &mut self,
        key: RequestKey,
        id: TicketId,
        names: &[LockName],
    ) -> Decided<()> {
        let is_part = self.is_part(id, names);
        if self.ticket(id).depth == 1 && !is_part {
            return Ok(());
        }
        let by = self.ticket(id).key.clone();
        if let Some(full) = self.state.requests.full_for(&by) {
            return refuse(full);
        }
        let token = self.ticket(id).parts.as_slice().first().map(|part| part.token);
        let token = token.filter(|_| is_part);
        self.state.requests.insert_ended(key, Ended::Released, token, self.state.now, &by);
        Ok(())
    }

    fn release_session(&mut self, id: SessionId) -> Answer {
        self.refuse_waits_of(
            id,
            &Refusal::RequestFinished { ended: Ended::Cancelled, token: None, force: None },
        );
        let (released, cancelled) = self.end_tickets_of(id, Ended::Released, Told::default());
        Answer::Released(Released {
            released: released > 0,
            cancelled: cancelled > 0,
            depth: 0,
            held_for: Duration::ZERO,
            locks: vec![],
        })
    }

    /// Gives up a request, in whatever state it is: no later answer of it can be a grant.
    pub(super) fn cancel(&mut self, cancel: &Cancel) -> Decided<Answer> {
        if let Some(handle) = &cancel.session {
            self.check_session(handle)?;
        }
        if let Some(id) = self.ticket_made(&cancel.request) {
            return Ok(Answer::Released(self.cancel_entry(id, None)));
        }
        if let Some((id, upgrade_id)) = self.upgrade_made(&cancel.request) {
            return Ok(Answer::Released(self.cancel_upgrade(id, upgrade_id)));
        }
        if cancel.names.is_empty() && !self.is_numbered(cancel) {
            return Err(super::invalid(
                "name",
                "is needed to find a request that the client named",
            ));
        }
        let session = cancel.session.map(|handle| handle.id);
        let key = request_key(&cancel.caller.key, session, cancel.names.iter(), &cancel.request);
        match self.state.requests.get(&key).map(|seen| seen.state) {
            Some(RequestState::Ticket(id)) => {
                Ok(Answer::Released(self.cancel_entry(id, Some(key))))
            }
            Some(RequestState::Ended(ended, token)) => self.cancel_again(ended, token, cancel),
            Some(RequestState::Session(_)) => refuse(Refusal::RequestIdReused),
            None => self.cancel_unseen(key, session, cancel),
        }
    }

    fn is_numbered(&self, cancel: &Cancel) -> bool {
        cancel.session.is_some() && cancel.request.sequence().is_some()
    }

    /// Giving up a re-entrant request takes off the level it put on; any other gives up its ticket.
    fn cancel_entry(&mut self, id: TicketId, key: Option<RequestKey>) -> Released {
        let now = self.state.now;
        let ticket = self.ticket_mut(id);
        if ticket.depth <= 1 {
            return self.cancel_ticket(id);
        }
        ticket.depth -= 1;
        let (depth, held_for) = (ticket.depth, ticket.held_for(now));
        if let Some(key) = key {
            ticket.extra().requests.retain(|request| *request != key);
            let by = ticket.key.clone();
            self.state.requests.end(key, Ended::Cancelled, None, now, &by);
        }
        Released { released: false, cancelled: true, depth, held_for, locks: vec![] }
    }

    fn cancel_ticket(&mut self, id: TicketId) -> Released {
        let now = self.state.now;
        let ticket = self.ticket(id);
        let (granted, held_for, locks) =
            (ticket.is_granted(), ticket.held_for(now), granted_locks(ticket));
        self.abandon(id);
        Released {
            released: granted,
            cancelled: true,
            depth: 0,
            held_for,
            locks: if granted { locks } else { vec![] },
        }
    }

    fn abandon(&mut self, id: TicketId) {
        if !self.ticket(id).is_granted() {
            let finished =
                Refusal::RequestFinished { ended: Ended::Cancelled, token: None, force: None };
            self.settle(id, Settled::Refused(Box::new(finished)));
        }
        self.end_and_pump(id, Ended::Cancelled, Told::default());
    }

    fn cancel_again(
        &self,
        ended: Ended,
        token: Option<crate::Token>,
        cancel: &Cancel,
    ) -> Decided<Answer> {
        match ended {
            Ended::Released | Ended::Cancelled | Ended::TimedOut => {
                Ok(Answer::Released(Released {
                    released: token.is_some(),
                    cancelled: true,
                    depth: 0,
                    held_for: Duration::ZERO,
                    locks: vec![],
                }))
            }
            _ => refuse(self.finished(ended, token, &cancel.names)),
        }
    }

    /// The cancel overtook its request, or there never was one: refused when it comes.
    fn cancel_unseen(
        &mut self,
        key: RequestKey,
        session: Option<SessionId>,
        cancel: &Cancel,
    ) -> Decided<Answer> {
        let number = session.zip(cancel.request.sequence());
        if number.is_some() {
            self.use_number(number);
        } else if let Some(full) = self.state.requests.full_for(&cancel.caller.key) {
            return refuse(full);
        } else {
            let (now, by) = (self.state.now, &cancel.caller.key);
            self.state.requests.insert_ended(key, Ended::Cancelled, None, now, by);
        }
        self.cancel_again(Ended::Cancelled, None, cancel)
    }

    /// The answer a ticket was to have ended without the grant in it.
    pub(super) fn detach(&mut self, detach: Detach) -> Answer {
        let id = detach.ticket;
        let upgrade = self.state.upgrades.contains_key(&id);
        if !upgrade && !self.state.tickets.contains_key(&id) {
            return Answer::Done;
        }
        if !detach.returning {
            self.leave(id);
            return Answer::Done;
        }
        let in_session = !upgrade && self.ticket(id).session().is_some();
        // In a session the session's liveness decides.
        if !in_session {
            self.set_leaves_at(id, Some(self.state.now + limits::WAITER_GRACE));
        }
        Answer::Done
    }

    /// Nobody's answer is open any more: who cannot be told by its session must ask again within the grace.
    pub(super) fn resume(&mut self) -> Answer {
        let at = self.state.now + limits::WAITER_GRACE;
        let waiting: Vec<TicketId> = self.index.waiting.iter().copied().collect();
        for id in waiting {
            let ticket = self.ticket(id);
            let named = ticket.extra.as_ref().is_some_and(|extra| extra.named);
            if ticket.session().is_none() || !named {
                self.set_leaves_at(id, Some(at));
            }
        }
        let upgrades: Vec<TicketId> = self.state.upgrades.keys().copied().collect();
        for id in upgrades {
            self.set_leaves_at(id, Some(at));
        }
        Answer::Done
    }
}
