//! What the machine says, in the words of a script.

use std::time::Duration;

use tenure_core::*;

use super::world::{World, seconds};

impl World {
    pub(super) fn told_answer(&self, answer: &Answer) -> String {
        match answer {
            Answer::Done => "done".into(),
            Answer::Granted(granted) => self.told_granted(granted),
            Answer::Queued(queued) => format!(
                "queued {} of {}, waited {}, {} left",
                queued.position,
                queued.queue_length,
                seconds(queued.waited),
                seconds(queued.wait_left)
            ),
            Answer::Renewed(renewed) => {
                let recall = renewed.recall.as_ref().map(told_recall).unwrap_or_default();
                format!(
                    "renewed{}, ttl {}, {} left{recall}",
                    told_locks(&renewed.locks),
                    seconds(renewed.ttl),
                    seconds(renewed.expires_in)
                )
            }
            Answer::Released(released) => told_released(released),
            Answer::Opened(opened) => {
                format!("open, ttl {}, {} left", seconds(opened.ttl), seconds(opened.expires_in))
            }
            Answer::KeptAlive(kept) => told_kept_alive(kept),
            Answer::SessionEnded(ended) => {
                format!("ended: {} released, {} cancelled", ended.released, ended.cancelled)
            }
            Answer::Recalled { asked } => format!("recalled: {asked} asked"),
            Answer::Broken { broken, next_granted } => {
                format!("broken: {broken}, next granted: {next_granted}")
            }
            Answer::Resized { permits, granted } => {
                format!("resized to {}: {granted} granted", permits.get())
            }
            Answer::Refused(refusal) => self.told_refusal(refusal),
        }
    }

    pub(super) fn told_granted(&self, granted: &Granted) -> String {
        let mut told = format!("granted{}", told_locks(&granted.locks));
        told.push_str(&format!(", {} left", seconds(granted.expires_in())));
        if !granted.waited.is_zero() {
            told.push_str(&format!(", waited {}", seconds(granted.waited)));
        }
        if granted.depth != 1 {
            told.push_str(&format!(", depth {}", granted.depth));
        }
        if !granted.request.as_str().starts_with("srv-") {
            told.push_str(&format!(", id {}", granted.request));
        }
        if granted.lease.is_none() {
            told.push_str(", lease hidden");
        }
        told
    }

    pub(super) fn told_refusal(&self, refusal: &Refusal) -> String {
        let told = match refusal {
            Refusal::Held(held) => format!("held{}", self.told_held(held)),
            Refusal::TimedOut(held) => {
                format!("timed out after {}{}", seconds(held.waited), self.told_held(held))
            }
            Refusal::Deadlock(cycle) => format!("deadlock: {}", self.told_cycle(cycle)),
            Refusal::AlreadyHeld { token } => format!("already held #{token}"),
            Refusal::CapacityMismatch { name, permits } => match permits {
                Some(permits) => format!("capacity mismatch: {name} has {} permits", permits.get()),
                None => format!("capacity mismatch: {name} is a plain lock"),
            },
            Refusal::RequestFinished { ended, token, force } => {
                let token = token.map(|token| format!(" #{token}")).unwrap_or_default();
                let force = force.as_ref().map(told_force).unwrap_or_default();
                format!("request finished: {}{token}{force}", told_ended(*ended))
            }
            Refusal::RequestIdReused => "request id reused".into(),
            Refusal::Superseded => "superseded".into(),
            Refusal::Lost(lost) => {
                let token = lost.token.map(|token| format!(" #{token}")).unwrap_or_default();
                format!(
                    "lost{token} {} ago: {}",
                    seconds(lost.ended_ago),
                    told_reason(&lost.reason)
                )
            }
            Refusal::SessionEnded(end) => format!("session ended: {}", told_end(end)),
            Refusal::OutOfReach => "out of reach".into(),
            Refusal::NotFound { what } => format!("no such {what}"),
            Refusal::Limit(denied) => format!("limit: {} {}", denied.limit, denied.max),
            Refusal::DuplicateName(name) => format!("named twice: {name}"),
            Refusal::Invalid { field, why } => format!("invalid {field}: {why}"),
        };
        format!("refused: {told}")
    }

    fn told_held(&self, held: &HeldBy) -> String {
        let mut told = String::new();
        for holder in &held.holders {
            told.push_str(&format!(
                "{} {} #{}{}",
                if told.is_empty() { " by" } else { "," },
                self.owner(&holder.owner),
                holder.token,
                told_claim(holder.claim)
            ));
            if let Some(note) = &holder.note {
                told.push_str(&format!(" \"{note}\""));
            }
        }
        let blocked: Vec<&str> = held.blocked_by.iter().map(LockName::as_str).collect();
        told.push_str(&format!("; blocked by {}", blocked.join(", ")));
        if held.queue_length > 0 {
            told.push_str(&format!("; {} wait", held.queue_length));
        }
        if !held.opens_in.is_zero() {
            told.push_str(&format!("; opens in {}", seconds(held.opens_in)));
        }
        told.push_str(&format!("; retry in {}", seconds(held.retry_after)));
        told
    }

    fn told_cycle(&self, cycle: &Cycle) -> String {
        let member = |member: &CycleMember| {
            let note = member.note.as_ref().map(|note| format!(" \"{note}\"")).unwrap_or_default();
            let owner = self.owner(&member.owner);
            format!("{owner}{note} has {} wants {}", member.name, member.waits_for)
        };
        cycle.members.iter().map(member).collect::<Vec<_>>().join(" > ")
    }

    pub(super) fn told_change(&self, change: &Change) -> String {
        match change {
            Change::SessionEnded { id, reason, .. } => {
                format!("session {} ended: {}", self.session_label(*id), told_end(reason))
            }
            Change::Lock(change) => {
                let mut told = format!("{} {}", change.name, told_action(change.action));
                if let Some(token) = change.token {
                    told.push_str(&format!(" #{token}"));
                }
                if let Some(by) = &change.by {
                    told.push_str(&format!(" by {by}"));
                }
                if let Some(reason) = &change.reason {
                    told.push_str(&format!(" \"{reason}\""));
                }
                told
            }
        }
    }

    pub(super) fn told_lock(&self, lock: &LockView) -> Vec<String> {
        let state = if lock.state == LockState::Held { "held" } else { "free" };
        let kind = match lock.kind {
            LockKind::Plain => "plain".to_owned(),
            LockKind::Semaphore => format!("{} permits", lock.permits.get()),
        };
        let latest = lock.latest_token.map_or("none".into(), |token| format!("#{token}"));
        let mut lines = vec![format!("{}: {state}, {kind}, latest {latest}", lock.name)];
        if !lock.opens_in.is_zero() {
            lines.push(format!("  opens in {}", seconds(lock.opens_in)));
        }
        for HolderView { holder, key, recall } in &lock.holders {
            let note = holder.note.as_ref().map(|note| format!(" \"{note}\"")).unwrap_or_default();
            lines.push(format!(
                "  holds: {} #{}{}{note}, key {key}, held {}, {} left{}",
                self.owner(&holder.owner),
                holder.token,
                told_claim(holder.claim),
                seconds(holder.held_for),
                seconds(holder.expires_in),
                recall.as_ref().map(told_recall).unwrap_or_default()
            ));
        }
        for waiter in &lock.queue {
            let note = waiter.note.as_ref().map(|note| format!(" \"{note}\"")).unwrap_or_default();
            lines.push(format!(
                "  waits: {} {}{}{note}, waited {}, {} left",
                waiter.position,
                self.owner(&waiter.owner),
                told_claim(waiter.claim),
                seconds(waiter.waited),
                seconds(waiter.wait_left)
            ));
        }
        lines
    }

    pub(super) fn told_history(&self, lock: &LockView) -> Vec<String> {
        let mut lines = vec![format!("{}: {} in history", lock.name, lock.history.len())];
        for entry in lock.history.iter().take(5) {
            let token = entry.token.map(|token| format!("#{token} ")).unwrap_or_default();
            let note = entry.note.as_ref().map(|note| format!(" \"{note}\"")).unwrap_or_default();
            let by = entry.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why = entry.why.as_ref().map(|why| format!(" \"{why}\"")).unwrap_or_default();
            lines.push(format!(
                "  {token}{}{note}: waited {}, held {}, {}{by}{why} {} ago",
                self.owner(&entry.owner),
                seconds(entry.waited),
                seconds(entry.held),
                told_ended(entry.ended),
                seconds(entry.ended_ago)
            ));
        }
        lines
    }

    pub(super) fn told_session(&self, session: Option<&SessionView>) -> String {
        let Some(session) = session else { return "no such session".into() };
        let grants: Vec<String> =
            session.grants.iter().map(|(name, token)| format!("{name} #{token}")).collect();
        let waits: Vec<&str> = session.waits.iter().map(LockName::as_str).collect();
        format!(
            "{}: idle {}, {} left, holds [{}], waits [{}]",
            self.session_label(session.id),
            seconds(session.idle_for),
            seconds(session.expires_in),
            grants.join(", "),
            waits.join(", ")
        )
    }
}

fn told_locks(locks: &[GrantedLock]) -> String {
    let told: Vec<String> = locks
        .iter()
        .map(|lock| format!(" {} #{}{}", lock.name, lock.token, told_claim(lock.claim)))
        .collect();
    told.join(",")
}

fn told_claim(claim: Claim) -> String {
    match claim {
        Claim::Exclusive => String::new(),
        Claim::Shared => " shared".into(),
        Claim::Permits { permits, weight } => format!(" {} of {}", weight.get(), permits.get()),
    }
}

fn told_recall(recall: &Recall) -> String {
    format!(", recalled within {} by {} \"{}\"", seconds(recall.within), recall.by, recall.reason)
}

fn told_released(released: &Released) -> String {
    let mut told = match (released.released, released.cancelled) {
        (true, true) => "released and cancelled".to_owned(),
        (true, false) => "released".to_owned(),
        (false, true) => "cancelled".to_owned(),
        (false, false) => "nothing released".to_owned(),
    };
    told.push_str(&told_locks(&released.locks));
    if released.held_for > Duration::ZERO {
        told.push_str(&format!(", held {}", seconds(released.held_for)));
    }
    if released.depth > 0 {
        told.push_str(&format!(", depth {}", released.depth));
    }
    told
}

fn told_kept_alive(kept: &KeptAlive) -> String {
    let mut told = format!("kept alive, ttl {}", seconds(kept.ttl));
    for lost in &kept.lost {
        told.push_str(&format!(
            "; lost {} #{} {}",
            lost.name,
            lost.token,
            told_reason(&lost.reason)
        ));
    }
    for recalled in &kept.recalled {
        let recall = told_recall(&recalled.recall);
        told.push_str(&format!("; {} #{}{recall}", recalled.name, recalled.token));
    }
    told
}

fn told_reason(reason: &LostReason) -> String {
    match reason {
        LostReason::Expired => "expired".into(),
        LostReason::SessionEnded(None) => "session ended".into(),
        LostReason::SessionEnded(Some(force)) => format!("session ended{}", told_force(force)),
        LostReason::Broken(force) => format!("broken{}", told_force(force)),
        LostReason::HandedOver => "handed over".into(),
        LostReason::Unknown => "unknown".into(),
    }
}

fn told_force(force: &Force) -> String {
    format!(" by {} \"{}\"", force.by, force.reason)
}

fn told_ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Released => "released",
        Ended::Cancelled => "cancelled",
        Ended::TimedOut => "timed out",
        Ended::Expired => "expired",
        Ended::SessionEnded => "session ended",
        Ended::Broken => "broken",
        Ended::HandedOver => "handed over",
        Ended::Over => "over",
    }
}

fn told_end(end: &SessionEnd) -> String {
    match end {
        SessionEnd::Expired => "expired".into(),
        SessionEnd::Closed => "closed".into(),
        SessionEnd::Broken(force) => format!("broken{}", told_force(force)),
        SessionEnd::Unknown => "unknown".into(),
    }
}

fn told_action(action: Action) -> &'static str {
    match action {
        Action::Granted => "granted",
        Action::Queued => "queued",
        Action::Left => "left",
        Action::Released => "released",
        Action::Expired => "expired",
        Action::SessionEnded => "session ended",
        Action::Broken => "broken",
        Action::Recalled => "recalled",
        Action::HandedOver => "handed over",
        Action::Converted => "converted",
        Action::Resized => "resized",
        Action::Opened => "opened",
    }
}
