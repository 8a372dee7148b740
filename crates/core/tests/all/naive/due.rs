//! What ends by time.

use super::acquire::wants_of;
use super::*;

/// In the order things end at one instant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session(SessionId),
    Grant(TicketId),
    Leave(TicketId),
    Opens(LockName),
    Wait(TicketId),
}

impl Naive {
    pub(super) fn end_what_is_due(&mut self) {
        while let Some((at, due)) = self.all_due().into_iter().min() {
            if at > self.now {
                return;
            }
            self.end_due(due);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.all_due().into_iter().min().map(|(at, _)| at)
    }

    fn all_due(&self) -> Vec<(Time, Due)> {
        let mut due: Vec<(Time, Due)> =
            self.sessions.iter().map(|session| (session.until, Due::Session(session.id))).collect();
        for ticket in &self.tickets {
            if let (Some(_), Lives::Own { until, .. }) = (ticket.granted, ticket.life) {
                due.push((until, Due::Grant(ticket.id)));
            }
            if ticket.granted.is_none() {
                due.push((ticket.wait_until, Due::Wait(ticket.id)));
            }
            due.extend(ticket.leaves.map(|at| (at, Due::Leave(ticket.id))));
        }
        for upgrade in &self.upgrades {
            due.push((upgrade.wait_until, Due::Wait(upgrade.id)));
            due.extend(upgrade.leaves.map(|at| (at, Due::Leave(upgrade.id))));
        }
        let opening = self.locks.iter().filter(|lock| lock.opening);
        due.extend(opening.map(|lock| (lock.opens, Due::Opens(lock.name.clone()))));
        due
    }

    fn end_due(&mut self, due: Due) {
        match due {
            Due::Session(id) => {
                self.close(id, SessionEnd::Expired);
            }
            Due::Grant(id) => self.end_and_pump(id, Ended::Expired),
            Due::Leave(id) => self.leave(id),
            Due::Wait(id) => self.time_out(id),
            Due::Opens(name) => {
                let lock = self.locks.iter_mut().find(|lock| lock.name == name);
                lock.expect("it opens").opening = false;
                self.pump(&[name]);
            }
        }
    }

    fn time_out(&mut self, id: TicketId) {
        if let Some(place) = self.upgrades.iter().position(|upgrade| upgrade.id == id) {
            let upgrade = self.upgrades.remove(place);
            let others = self.others(upgrade.ticket, &upgrade.name);
            let waited = self.now.since(upgrade.arrived).as_micros();
            self.settled.push((id, format!("refused: timed out {waited} {others}")));
            return self.pump(&[upgrade.name]);
        }
        let blocked = self.blocked(&wants_of(self.ticket(id)), Some(id), 1);
        let waited = self.now.since(self.ticket(id).arrived).as_micros();
        self.settled.push((id, format!("refused: timed out {waited} {blocked}")));
        self.end_and_pump(id, Ended::TimedOut);
    }
}
