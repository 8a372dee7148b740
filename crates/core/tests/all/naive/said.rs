//! What the machine answers in the words of the model.

use super::end::told_released;
use super::*;

impl Naive {
    pub(super) fn told_granted(&self, id: TicketId) -> String {
        self.told_granted_as(id, None)
    }

    /// A grant, under the id of who asks now.
    pub(super) fn told_granted_as(&self, id: TicketId, text: Option<&RequestId>) -> String {
        let ticket = self.ticket(id);
        let text = text.or(ticket.text.as_ref());
        let waited = ticket.granted.expect("it is granted").since(ticket.arrived);
        told_granted(
            id,
            &parts(&ticket.parts),
            self.until(id).since(self.now),
            waited,
            ticket.depth,
            text,
        )
    }

    pub(super) fn told_queued(&self, id: TicketId) -> String {
        let ticket = self.ticket(id);
        let places = ticket.parts.iter().map(|part| {
            let ahead = self.queue(&part.name).iter().filter(|(other, _)| *other < id).count();
            let upgrade = usize::from(self.upgrade_at(&part.name).is_some());
            (ahead + upgrade + 1, self.queue_length(&part.name))
        });
        let (place, length) = places.max().expect("a ticket has locks");
        let waited = self.now.since(ticket.arrived).as_micros();
        let left = ticket.wait_until.since(self.now).as_micros();
        format!("queued {} {place} of {length} waited {waited} left {left}", id.0)
    }
}

fn told_granted(
    id: TicketId,
    parts: &str,
    left: Duration,
    waited: Duration,
    depth: u32,
    text: Option<&RequestId>,
) -> String {
    let text = text.map_or("made", RequestId::as_str);
    let (left, waited) = (left.as_micros(), waited.as_micros());
    format!("granted {} {parts} left {left} waited {waited} depth {depth} id {text}", id.0)
}

pub(super) fn parts(parts: &[Part]) -> String {
    let part = |part: &Part| format!("{} {:?} {}", part.name, part.claim, part.token);
    format!("{:?}", parts.iter().map(part).collect::<Vec<_>>())
}

fn locks(locks: &[GrantedLock]) -> Vec<Part> {
    let part =
        |lock: &GrantedLock| Part { name: lock.name.clone(), claim: lock.claim, token: lock.token };
    locks.iter().map(part).collect()
}

pub(crate) fn said(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done".into(),
        Answer::Granted(granted) => said_granted(granted),
        Answer::Queued(queued) => format!(
            "queued {} {} of {} waited {} left {}",
            queued.ticket.0,
            queued.position,
            queued.queue_length,
            queued.waited.as_micros(),
            queued.wait_left.as_micros()
        ),
        Answer::Renewed(renewed) => format!(
            "renewed {} {} {}",
            parts(&locks(&renewed.locks)),
            renewed.ttl.as_micros(),
            renewed.expires_in.as_micros()
        ),
        Answer::Released(Released { released, cancelled, depth, held_for, locks: ended }) => {
            told_released(*released, *cancelled, *depth, *held_for, &locks(ended))
        }
        Answer::Opened(opened) => format!(
            "opened {} {} {}",
            opened.session.id,
            opened.ttl.as_micros(),
            opened.expires_in.as_micros()
        ),
        Answer::KeptAlive(kept) => {
            let lost = kept.lost.iter().map(|lost| {
                let force = told_force(lost.reason.force());
                format!("{} {}{force}", lost.name, lost.token)
            });
            let lost: Vec<String> = lost.collect();
            format!("kept alive {} lost {lost:?}", kept.ttl.as_micros())
        }
        Answer::SessionEnded(ended) => {
            format!("session ended {} {}", ended.released, ended.cancelled)
        }
        Answer::Recalled { asked } => format!("recalled {asked}"),
        Answer::Broken { broken, next_granted } => format!("broken {broken} next {next_granted}"),
        Answer::Resized { permits, granted } => {
            format!("resized {} granted {granted}", permits.get())
        }
        Answer::Refused(refusal) => format!("refused: {}", said_refusal(refusal)),
    }
}

pub(crate) fn said_settled(settled: &Settled) -> String {
    match settled {
        Settled::Granted(granted) => said_granted(granted),
        Settled::Refused(refusal) => format!("refused: {}", said_refusal(refusal)),
    }
}

fn said_granted(granted: &Granted) -> String {
    let made = granted.request.as_str().starts_with("srv-");
    told_granted(
        granted.ticket,
        &parts(&locks(&granted.locks)),
        granted.expires_in(),
        granted.waited,
        granted.depth,
        Some(&granted.request).filter(|_| !made),
    )
}

fn said_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Held(held) => format!("held {}", said_held(held)),
        Refusal::TimedOut(held) => {
            format!("timed out {} {}", held.waited.as_micros(), said_held(held))
        }
        Refusal::Deadlock(cycle) => {
            let next = |place: usize| &cycle.members[(place + 1) % cycle.members.len()].name;
            let closed = |(place, member): (usize, &CycleMember)| member.waits_for == *next(place);
            assert!(cycle.members.iter().enumerate().all(closed), "a cycle is closed: {cycle:?}");
            "deadlock".into()
        }
        Refusal::AlreadyHeld { token } => format!("already held {token}"),
        Refusal::CapacityMismatch { name, permits } => {
            super::acquire::mismatch(name, permits.map(Permits::get))
        }
        Refusal::RequestFinished { ended, token, .. } => super::acquire::finished(*ended, *token),
        Refusal::RequestIdReused => "request id reused".into(),
        Refusal::Superseded => "superseded".into(),
        Refusal::Lost(lost) => {
            let reason = match &lost.reason {
                LostReason::Expired => "Expired",
                LostReason::SessionEnded(_) => "SessionEnded",
                LostReason::HandedOver => "HandedOver",
                LostReason::Broken(_) => "Broken",
                LostReason::Unknown => "Unknown",
            };
            let force = told_force(lost.reason.force());
            format!("lost {reason}{force} {:?} {}", lost.token, lost.ended_ago.as_micros())
        }
        Refusal::SessionEnded(end) => format!("session ended {end:?}"),
        Refusal::OutOfReach => "out of reach".into(),
        Refusal::NotFound { what } => format!("not found {what}"),
        Refusal::Limit(denied) => format!("limit {} {}", denied.limit, denied.max),
        Refusal::DuplicateName(name) => format!("named twice {name}"),
        Refusal::Invalid { field, .. } => format!("invalid {field}"),
    }
}

pub(super) fn told_force(force: Option<&Force>) -> String {
    force.map(|force| format!(" by {} {:?}", force.by, force.reason)).unwrap_or_default()
}

fn said_held(held: &HeldBy) -> String {
    let tokens: Vec<Token> = held.holders.iter().map(|holder| holder.token).collect();
    told_held(&tokens, &held.blocked_by, held.queue_length, held.opens_in)
}

/// Who is in the way; which lock does not matter where nobody is.
pub(super) fn told_held(
    tokens: &[Token],
    blocked: &[LockName],
    queue: usize,
    opens: Duration,
) -> String {
    if tokens.is_empty() && queue == 0 && opens.is_zero() {
        return "by nobody".into();
    }
    format!("by {tokens:?} {blocked:?} queue {queue} opens {}", opens.as_micros())
}
