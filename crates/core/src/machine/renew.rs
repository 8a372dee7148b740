//! Having a grant longer. Never shortens.

use super::acquire::check_ttl;
use super::due::Due;
use super::end::granted_locks;
use super::record::{RecallRecord, TicketLife, Ttl};
use super::{Decided, Machine, invalid};
use crate::answer::{Answer, Force, Recall, Refusal, Renewed};
use crate::command::{Renew, Target};
use crate::id::{SessionId, TicketId};
use crate::text::LockName;

impl Machine {
    pub(super) fn renew(&mut self, renew: &Renew) -> Decided<Answer> {
        if let Some(ttl) = renew.ttl {
            check_ttl(ttl)?;
        }
        match &renew.target {
            Target::Session(handle) => {
                self.check_session(handle)?;
                no_ttl_of_its_own(renew)?;
                let (ttl, expires_in) = self.hear_of(handle.id);
                Ok(Answer::Renewed(Renewed { locks: vec![], ttl, expires_in, recall: None }))
            }
            Target::Lease(hash) => {
                let id = self.held_by_lease(hash, renew.name.as_ref())?;
                self.renew_ticket(id, renew)
            }
        }
    }

    /// The granted ticket of a lease; lost if there is none, or if it does not hold the lock that was named.
    pub(super) fn held_by_lease(
        &self,
        hash: &[u8; 32],
        name: Option<&LockName>,
    ) -> Decided<TicketId> {
        let held = self.ticket_of_lease(hash).filter(|id| {
            let ticket = self.ticket(*id);
            ticket.is_granted() && name.is_none_or(|name| ticket.part(name).is_some())
        });
        held.ok_or_else(|| Box::new(Refusal::Lost(self.lost_at(hash, name))))
    }

    fn renew_ticket(&mut self, id: TicketId, renew: &Renew) -> Decided<Answer> {
        let (ttl, expires_in) = match self.ticket(id).life {
            TicketLife::Session(session) => {
                no_ttl_of_its_own(renew)?;
                self.hear_of(session)
            }
            TicketLife::Own { ttl, .. } => self.extend(id, renew.ttl.unwrap_or(ttl.get())),
        };
        // Whoever renews has the answer: a grant that nobody collected so far is collected.
        self.set_leaves_at(id, None);
        if let Some(note) = &renew.note {
            self.ticket_mut(id).note = Some(note.clone());
        }
        let recall = self.recall_of(id);
        Ok(Answer::Renewed(Renewed {
            locks: granted_locks(self.ticket(id)),
            ttl,
            expires_in,
            recall,
        }))
    }

    fn extend(
        &mut self,
        id: TicketId,
        new_ttl: std::time::Duration,
    ) -> (std::time::Duration, std::time::Duration) {
        let now = self.state.now;
        let TicketLife::Own { ttl, expires_at } = &mut self.ticket_mut(id).life else {
            unreachable!("the caller looked: it lives by itself")
        };
        let before = *expires_at;
        *ttl = Ttl::new(new_ttl);
        *expires_at = before.max(now + new_ttl);
        let after = *expires_at;
        self.index.deadlines.remove(before, Due::Grant(id));
        self.index.deadlines.add(after, Due::Grant(id));
        (new_ttl, after.since(now))
    }

    /// A session was heard of: it lives its whole time again.
    pub(super) fn hear_of(&mut self, id: SessionId) -> (std::time::Duration, std::time::Duration) {
        let now = self.state.now;
        let session = self.state.sessions.get_mut(&id).expect("a checked session is alive");
        let before = session.expires_at;
        session.heard_at = now;
        session.expires_at = before.max(now + session.ttl);
        let (after, ttl) = (session.expires_at, session.ttl);
        self.index.deadlines.remove(before, Due::Session(id));
        self.index.deadlines.add(after, Due::Session(id));
        (ttl, after.since(now))
    }

    /// The most urgent recall of any of its locks.
    fn recall_of(&self, id: TicketId) -> Option<Recall> {
        let recalls = &self.ticket(id).extra.as_ref()?.recalls;
        Some(self.told_recall(recalls.iter().min_by_key(|recall| recall.until)?))
    }

    /// The recall of one of its locks.
    pub(super) fn recall_at(&self, id: TicketId, name: &LockName) -> Option<Recall> {
        let recalls = &self.ticket(id).extra.as_ref()?.recalls;
        Some(self.told_recall(recalls.iter().find(|recall| recall.name == *name)?))
    }

    fn told_recall(&self, recall: &RecallRecord) -> Recall {
        let Force { by, reason } = recall.force.clone();
        Recall { within: recall.until.since(self.state.now), reason, by }
    }
}

fn no_ttl_of_its_own(renew: &Renew) -> Decided<()> {
    match renew.ttl {
        Some(_) => Err(invalid("ttl", "is the session's own for what a session holds")),
        None => Ok(()),
    }
}
