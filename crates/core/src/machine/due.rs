//! What ends by time: sessions, grants, waits, places nobody listens at, delays, keys.

use std::collections::BTreeSet;

use super::packed::PackedMap;
use super::{Machine, Told};
use crate::answer::{Ended, Refusal, SessionEnd};
use crate::change::Settled;
use crate::id::{SessionId, TicketId};
use crate::limits;
use crate::text::{KeyName, LockName};
use crate::time::Time;

/// Idle locks looked at after one batch: forgetting many takes several batches, so that none is held up.
const FORGOTTEN_PER_BATCH_MAX: usize = 1_000;

/// Everything with a deadline, in the order it ends. At one instant liveness and delays end before waits do, so that a
/// waiter whose time is up as the lock becomes free still gets it.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    numbered: PackedMap<(Time, PackedDue), ()>,
    /// Apart from the others, so that these stay small.
    named: BTreeSet<(Time, NamedDue)>,
}

/// What ends, by its number. At one instant the kinds come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Session(SessionId),
    Grant(TicketId),
    /// Nobody listens: leaves the queue, or gives back what it was granted meanwhile.
    Leave(TicketId),
    Wait(TicketId),
}

/// [`Due`] in one word, since every grant has one: the kind in the upper two bits, which no number reaches, so that
/// words are in the order of what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PackedDue(u64);

impl PackedDue {
    const KIND_SHIFT: u32 = 62;

    fn new(due: Due) -> Self {
        let (kind, number) = match due {
            Due::Session(id) => (0, id.0),
            Due::Grant(id) => (1, id.0),
            Due::Leave(id) => (2, id.0),
            Due::Wait(id) => (3, id.0),
        };
        assert!(number >> Self::KIND_SHIFT == 0, "numbers stay below 2^62: they rise by one");
        PackedDue((kind << Self::KIND_SHIFT) | number)
    }

    fn due(self) -> Due {
        let number = self.0 & ((1 << Self::KIND_SHIFT) - 1);
        match self.0 >> Self::KIND_SHIFT {
            0 => Due::Session(SessionId(number)),
            1 => Due::Grant(TicketId(number)),
            2 => Due::Leave(TicketId(number)),
            _ => Due::Wait(TicketId(number)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NamedDue {
    Opens(LockName),
    Key(KeyName),
}

impl Deadlines {
    pub(super) fn add(&mut self, at: Time, due: Due) {
        self.numbered.insert((at, PackedDue::new(due)), ());
    }

    pub(super) fn remove(&mut self, at: Time, due: Due) {
        self.numbered.remove(&(at, PackedDue::new(due)));
    }

    pub(super) fn add_named(&mut self, at: Time, due: NamedDue) {
        self.named.insert((at, due));
    }

    pub(super) fn remove_named(&mut self, at: Time, due: NamedDue) {
        self.named.remove(&(at, due));
    }

    pub(super) fn next(&self) -> Option<Time> {
        let numbered = self.numbered.first().map(|((at, _), ())| *at);
        let named = self.named.first().map(|(at, _)| *at);
        numbered.into_iter().chain(named).min()
    }

    fn pop_numbered(&mut self, now: Time) -> Option<Due> {
        let (&(at, packed), ()) = self.numbered.first()?;
        let due = packed.due();
        let is_wait = matches!(due, Due::Wait(_));
        let named_first =
            self.named.first().is_some_and(|(named, _)| *named < at || (*named == at && is_wait));
        if at > now || named_first {
            return None;
        }
        self.numbered.remove(&(at, packed));
        Some(due)
    }

    fn pop_named(&mut self, now: Time) -> Option<NamedDue> {
        let (at, _) = self.named.first()?;
        if *at > now {
            return None;
        }
        self.named.pop_first().map(|(_, due)| due)
    }
}

impl Machine {
    /// Ends everything whose time has come, in order of deadline.
    pub(super) fn end_what_is_due(&mut self) {
        let now = self.state.now;
        loop {
            if let Some(due) = self.index.deadlines.pop_numbered(now) {
                self.end_due(due);
            } else if let Some(due) = self.index.deadlines.pop_named(now) {
                self.end_named_due(due);
            } else {
                return;
            }
        }
    }

    fn end_due(&mut self, due: Due) {
        match due {
            Due::Session(id) => {
                self.close_session(id, &SessionEnd::Expired);
            }
            Due::Grant(id) => self.end_and_pump(id, Ended::Expired, Told::default()),
            Due::Leave(id) => self.leave(id),
            Due::Wait(id) => self.time_out(id),
        }
    }

    fn end_named_due(&mut self, due: NamedDue) {
        match due {
            NamedDue::Opens(name) => self.pump([name]),
            NamedDue::Key(name) => self.expire_key(&name),
        }
    }

    fn time_out(&mut self, id: TicketId) {
        if let Some(upgrade) = self.state.upgrades.get(&id) {
            let name = upgrade.name.clone();
            let (waited, ticket) = (self.state.now.since(upgrade.arrived_at), upgrade.ticket);
            self.drop_upgrade(id);
            let mut held = self.held_by_others(ticket, &name);
            held.waited = waited;
            self.settle(id, Settled::Refused(Box::new(Refusal::TimedOut(held))));
            return self.pump([name]);
        }
        let held = self.blockers_of(id);
        self.settle(id, Settled::Refused(Box::new(Refusal::TimedOut(held))));
        self.end_and_pump(id, Ended::TimedOut, Told::default());
    }

    /// Lets go of what has been kept long enough: request ids, idle locks.
    pub(super) fn forget_what_is_old(&mut self) {
        self.state.requests.forget(self.state.now);
        for _ in 0..FORGOTTEN_PER_BATCH_MAX {
            let Some((since, _)) = self.state.idle.front() else { return };
            let old = self.state.now.since(*since) >= limits::IDLE_LOCK_KEPT;
            if !old && self.index.idle_locks <= limits::IDLE_LOCKS_MAX {
                return;
            }
            let (since, name) = self.state.idle.pop_front().expect("there is a first one");
            self.forget_idle(since, name);
        }
    }

    fn forget_idle(&mut self, since: Time, name: LockName) {
        let now = self.state.now;
        let lock = self.lock_mut(&name);
        match lock.idle_since() {
            // Idle all the time since it was put in line: nobody misses it. A delay that still runs is not forgotten.
            Some(idle_since) if idle_since == since && lock.opens_at() <= now => {
                self.state.locks.remove(&name);
                self.index.idle_locks -= 1;
            }
            Some(idle_since) => {
                let again = if idle_since == since { now } else { idle_since };
                self.requeue_idle(again, name);
            }
            None => lock.unlist(),
        }
    }

    fn requeue_idle(&mut self, since: Time, name: LockName) {
        self.lock_mut(&name).idle_from(since);
        self.state.idle.push_back((since, name));
    }
}
