//! What the rules answer, in the words of the wire: the only way from one to the other, for the server and for a log
//! in the caller's own process.

use std::time::Duration;

use tenure_core::{
    Action, Claim, Force, Granted, GrantedLock, KeyName, LockChange, LostGrant, Permits, Reason,
    Recall, RecalledGrant, SessionEnd,
};

use crate::change::{ChangeEvent, EndedEvent, LostEvent, RecalledEvent};
use crate::lock::{Grant, GrantedName, LostName, Mode, RecallView, Released, Renewed};
use crate::seconds::Seconds;
use crate::session::{KeptAlive, SessionEnded, SessionOpened};

/// What may be relied on of a time that is left, in hundredths: the rest is for clocks that run apart.
const SURE_PERCENT: u32 = 99;

/// What a client may rely on of a time that is left.
fn sure(expires_in: Duration) -> Seconds {
    Seconds(expires_in * SURE_PERCENT / 100)
}

/// How a claim stands in JSON: a mode, or permits and weight.
pub(crate) fn claim_fields(claim: &Claim) -> (Option<Mode>, Option<Permits>, Option<u32>) {
    match claim {
        Claim::Exclusive | Claim::Shared => (Mode::of(claim), None, None),
        Claim::Permits { permits, weight } => (None, Some(*permits), Some(weight.get())),
    }
}

impl From<GrantedLock> for GrantedName {
    fn from(lock: GrantedLock) -> Self {
        let (mode, permits, weight) = claim_fields(&lock.claim);
        GrantedName { name: lock.name, mode, permits, weight, token: lock.token }
    }
}

impl Grant {
    /// A grant of a list of locks. `since_request`: how long the answer was held back before the grant was made.
    pub fn of_many(granted: Granted, since_request: Duration) -> Self {
        let expires_in = granted.expires_in();
        Grant {
            name: None,
            acquired: true,
            token: None,
            lease: granted.lease,
            mode: None,
            permits: None,
            weight: None,
            locks: Some(granted.locks.into_iter().map(GrantedName::from).collect()),
            owner: granted.owner,
            session: granted.session,
            request_id: granted.request,
            ttl: Seconds(granted.ttl),
            valid_for: sure(expires_in),
            expires_in: Seconds(expires_in),
            waited: Seconds(granted.waited),
            since_request: Seconds(since_request),
            depth: Some(granted.depth).filter(|depth| *depth > 1),
        }
    }

    /// A grant that was asked for by the name of one lock; if it has more, they are a list all the same.
    pub fn of_one(granted: Granted, since_request: Duration) -> Self {
        let mut grant = Grant::of_many(granted, since_request);
        let Some(lock) = grant.locks.take_if(|locks| locks.len() == 1).and_then(|mut l| l.pop())
        else {
            return grant;
        };
        (grant.name, grant.token) = (Some(lock.name), Some(lock.token));
        (grant.mode, grant.permits, grant.weight) = (lock.mode, lock.permits, lock.weight);
        grant
    }
}

impl From<tenure_core::Renewed> for Renewed {
    fn from(renewed: tenure_core::Renewed) -> Self {
        let mut answer = Renewed {
            name: None,
            token: None,
            locks: None,
            ttl: Seconds(renewed.ttl),
            valid_for: sure(renewed.expires_in),
            expires_in: Seconds(renewed.expires_in),
            recall: renewed.recall.map(RecallView::from),
        };
        let mut locks = renewed.locks;
        match locks.len() {
            0 => {}
            1 => {
                let lock = locks.swap_remove(0);
                (answer.name, answer.token) = (Some(lock.name), Some(lock.token));
            }
            _ => answer.locks = Some(locks.into_iter().map(GrantedName::from).collect()),
        }
        answer
    }
}

impl From<tenure_core::Released> for Released {
    fn from(released: tenure_core::Released) -> Self {
        Released {
            released: released.released,
            cancelled: released.cancelled,
            depth: Some(released.depth).filter(|depth| *depth > 0),
            held_for: Seconds(released.held_for),
        }
    }
}

impl From<Recall> for RecallView {
    fn from(recall: Recall) -> Self {
        RecallView { within: Seconds(recall.within), reason: recall.reason, by: Some(recall.by) }
    }
}

impl From<tenure_core::SessionOpened> for SessionOpened {
    fn from(opened: tenure_core::SessionOpened) -> Self {
        SessionOpened {
            id: opened.session.id,
            session: opened.session,
            ttl: Seconds(opened.ttl),
            valid_for: sure(opened.expires_in),
            expires_in: Seconds(opened.expires_in),
        }
    }
}

impl From<tenure_core::KeptAlive> for KeptAlive {
    fn from(kept: tenure_core::KeptAlive) -> Self {
        KeptAlive {
            ttl: Seconds(kept.ttl),
            valid_for: sure(kept.ttl),
            expires_in: Seconds(kept.ttl),
            lost: kept.lost.into_iter().map(LostEvent::from).collect(),
            recalled: kept.recalled.into_iter().map(RecalledEvent::from).collect(),
        }
    }
}

impl From<tenure_core::SessionEnded> for SessionEnded {
    fn from(ended: tenure_core::SessionEnded) -> Self {
        SessionEnded { released: ended.released, cancelled: ended.cancelled, rows: 0 }
    }
}

impl From<LostGrant> for LostEvent {
    fn from(lost: LostGrant) -> Self {
        let reason = LostName::from(&lost.reason);
        let (by, why) = force(lost.reason.force());
        LostEvent { name: lost.name, token: lost.token, reason, by, why }
    }
}

/// An operator and his reason.
fn force(force: Option<&Force>) -> (Option<KeyName>, Option<Reason>) {
    force.map(|force| (force.by.clone(), force.reason.clone())).unzip()
}

impl From<&SessionEnd> for EndedEvent {
    fn from(end: &SessionEnd) -> Self {
        let (by, why) = force(end.force());
        EndedEvent { reason: end.into(), by, why }
    }
}

impl From<RecalledGrant> for RecalledEvent {
    fn from(recalled: RecalledGrant) -> Self {
        RecalledEvent {
            name: recalled.name,
            token: recalled.token,
            within: Seconds(recalled.recall.within),
            reason: recalled.recall.reason,
            by: Some(recalled.recall.by),
        }
    }
}

impl LostEvent {
    /// What the session of a change lost by it; `None` if it lost nothing, or by its own doing.
    pub fn of(change: &LockChange) -> Option<Self> {
        let reason = match change.action {
            Action::Expired => LostName::Expired,
            Action::SessionEnded => LostName::SessionEnded,
            Action::Broken => LostName::Broken,
            Action::HandedOver => LostName::HandedOver,
            Action::Granted
            | Action::Queued
            | Action::Left
            | Action::Released
            | Action::Recalled
            | Action::Converted
            | Action::Resized
            | Action::Opened => return None,
        };
        // Who hands a grant over is no operator, and gives no reason.
        let (by, why) = change.by.clone().zip(change.reason.clone()).unzip();
        Some(LostEvent { name: change.name.clone(), token: change.token?, reason, by, why })
    }
}

impl From<&LockChange> for ChangeEvent {
    fn from(change: &LockChange) -> Self {
        let span = Some(Seconds(Duration::from_micros(change.micros)));
        let (waited, held) = match change.action {
            Action::Granted | Action::Left => (span, None),
            Action::Released
            | Action::Expired
            | Action::SessionEnded
            | Action::Broken
            | Action::HandedOver => (None, span),
            Action::Queued
            | Action::Recalled
            | Action::Converted
            | Action::Resized
            | Action::Opened => (None, None),
        };
        ChangeEvent::Lock {
            name: change.name.clone(),
            action: change.action.into(),
            revision: change.revision.0,
            token: change.token,
            owner: change.owner.clone(),
            session: change.session,
            note: change.note.clone(),
            by: change.by.clone(),
            reason: change.reason.clone(),
            waited,
            held,
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::{Acquire, Answer, Batch, Command, LockName, Machine, Time, Want};

    use super::*;

    fn granted(names: &[&str]) -> Granted {
        let want = |name: &&str| Want {
            name: LockName::new(name).expect("is a name"),
            claim: Claim::Exclusive,
        };
        let wants = names.iter().map(want).collect();
        let acquire = Acquire { wants, ..Acquire::exclusive("a", Duration::from_secs(10)) };
        let batch = Batch::at(Time::ZERO, vec![Command::Acquire(Box::new(acquire))]);
        match Machine::new().apply(&batch).answers.remove(0) {
            Answer::Granted(granted) => *granted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_lock_of_a_grant_is_told_whatever_was_asked_by_one_name() {
        let one = Grant::of_one(granted(&["a"]), Duration::ZERO);
        assert_eq!((one.name.is_some(), one.locks), (true, None));
        let many = Grant::of_one(granted(&["a", "b"]), Duration::ZERO);
        assert_eq!((many.name.clone(), many.tokens().len()), (None, 2));
        assert_eq!(Grant::of_many(granted(&["a"]), Duration::ZERO).tokens().len(), 1);
    }

    #[test]
    fn a_hundredth_of_the_time_is_not_relied_on() {
        let grant = Grant::of_one(granted(&["a"]), Duration::ZERO);
        assert_eq!(grant.expires_in, Seconds::from_secs(10));
        assert_eq!(grant.valid_for, Seconds(Duration::from_millis(9900)));
    }
}
