//! What readers of an embedded log see, in the words of the wire.

use tenure_api::{
    CycleMember, HeldGrant, HistoryView, Holder, KindName, LockCounts, LockHolder, LockState,
    LockView, Locks, LocksQuery, Mode, Rates, RecallView, Seconds, SessionView, Sessions,
    SessionsQuery, SortName, StateFilter, Stats, TopLock, Waiter,
};
use tenure_core::{Claim, LockKind, LockName, Machine, Page, Permits, Sort, WallTime, limits};

use crate::error::Cycle;

/// Entries of a page for which nobody said how many.
const LIMIT_DEFAULT: usize = 100;
/// Locks shown in the counts.
const TOP_MAX: usize = 10;

fn size(claim: &Claim) -> (Option<Permits>, Option<u32>) {
    match claim {
        Claim::Permits { permits, weight } => (Some(*permits), Some(weight.get())),
        Claim::Exclusive | Claim::Shared => (None, None),
    }
}

pub(super) fn holder(holder: tenure_core::Holder) -> Holder {
    let (permits, weight) = size(&holder.claim);
    Holder {
        token: holder.token,
        mode: Mode::of(&holder.claim),
        permits,
        weight,
        owner: holder.owner,
        session: holder.session,
        note: holder.note,
        held_for: Seconds(holder.held_for),
        expires_in: Seconds(holder.expires_in),
    }
}

pub(super) fn cycle(cycle: tenure_core::Cycle) -> Cycle {
    let member = |member: tenure_core::CycleMember| CycleMember {
        name: member.name.as_str().to_owned(),
        owner: member.owner.as_str().to_owned(),
        session: member.session.map(|session| session.to_string()),
        note: member.note.map(|note| note.as_str().to_owned()),
        waits_for: member.waits_for.as_str().to_owned(),
    };
    Cycle { members: cycle.members.into_iter().map(member).collect() }
}

fn lock(view: tenure_core::LockView) -> LockView {
    LockView {
        name: view.name,
        state: match view.state {
            tenure_core::LockState::Free => LockState::Free,
            tenure_core::LockState::Held => LockState::Held,
        },
        kind: match view.kind {
            LockKind::Plain => KindName::Plain,
            LockKind::Semaphore => KindName::Semaphore,
        },
        permits: view.permits,
        latest_token: view.latest_token,
        opens_in: Seconds(view.opens_in),
        holders: view.holders.into_iter().map(lock_holder).collect(),
        queue_length: view.queue_length,
        queue: view.queue.into_iter().map(waiter).collect(),
        history: view.history.into_iter().map(history).collect(),
        cursor: None,
    }
}

fn lock_holder(view: tenure_core::HolderView) -> LockHolder {
    let recall = view
        .recall
        .map(|recall| RecallView { within: Seconds(recall.within), reason: recall.reason });
    LockHolder { holder: holder(view.holder), key: view.key, recall }
}

fn waiter(view: tenure_core::WaiterView) -> Waiter {
    let (permits, weight) = size(&view.claim);
    Waiter {
        position: view.position,
        mode: Mode::of(&view.claim),
        permits,
        weight,
        owner: view.owner,
        session: view.session,
        note: view.note,
        waited: Seconds(view.waited),
        wait_left: Seconds(view.wait_left),
        expected_in: view.expected_in.map(Seconds),
    }
}

fn history(entry: tenure_core::HistoryEntry) -> HistoryView {
    HistoryView {
        token: entry.token,
        owner: entry.owner,
        note: entry.note,
        waited: Seconds(entry.waited),
        held: Seconds(entry.held),
        ended: entry.ended.into(),
        ended_ago: Seconds(entry.ended_ago),
        at: rfc3339(entry.at),
        by: entry.by,
    }
}

/// The place of this view in the feed, spelled as the feed spells it: the beginning is `0`.
fn cursor(machine: &Machine) -> String {
    match (machine.epoch(), machine.revision().0) {
        (0, 0) => "0".to_owned(),
        (epoch, revision) => format!("{epoch}-{revision}"),
    }
}

pub(super) fn lock_with_cursor(machine: &Machine, name: &LockName) -> LockView {
    LockView { cursor: Some(cursor(machine)), ..lock(machine.lock(name)) }
}

pub(super) fn locks(machine: &Machine, query: &LocksQuery) -> Locks {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, limits::PAGE_MAX);
    let sort = match query.sort.unwrap_or_default() {
        SortName::Name => Sort::Name,
        SortName::Waiters => Sort::Waiters,
        SortName::HeldFor => Sort::HeldFor,
    };
    let page = Page {
        prefix: query.prefix.as_ref().map_or("", |prefix| prefix.as_str()),
        after: query.after.as_ref().map_or("", |after| after.as_str()),
        limit,
        held: query.state == Some(StateFilter::Held),
        waited: query.state == Some(StateFilter::Waited),
        sort,
    };
    let locks: Vec<LockView> = machine.locks(&page).into_iter().map(lock).collect();
    let is_full = locks.len() == limit && sort == Sort::Name;
    let next = locks.last().filter(|_| is_full).map(|lock| lock.name.clone());
    Locks { locks, next, cursor: cursor(machine) }
}

pub(super) fn session(view: tenure_core::SessionView, node: u64) -> SessionView {
    let grant = |(name, token)| HeldGrant { name, token };
    SessionView {
        id: view.id,
        note: view.note,
        key: view.key,
        node,
        ttl: Seconds(view.ttl),
        idle_for: Seconds(view.idle_for),
        expires_in: Seconds(view.expires_in),
        grants: view.grants.into_iter().map(grant).collect(),
        waits: view.waits,
        rows: 0,
    }
}

pub(super) fn sessions(machine: &Machine, node: u64, query: &SessionsQuery) -> Sessions {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, limits::PAGE_MAX);
    let views = machine.sessions(query.after, limit);
    let sessions: Vec<_> = views.into_iter().map(|view| session(view, node)).collect();
    let next = sessions.last().filter(|_| sessions.len() == limit).map(|last| last.id);
    Sessions { sessions, next, cursor: cursor(machine) }
}

/// The counts. An embedded log does not measure rates.
pub(super) fn stats(machine: &Machine) -> Stats {
    let stats = machine.stats();
    let page = Page {
        prefix: "",
        after: "",
        limit: TOP_MAX,
        held: false,
        waited: true,
        sort: Sort::Waiters,
    };
    let top = machine.locks(&page).into_iter();
    Stats {
        locks: LockCounts { held: stats.held, waited: stats.waited, idle: stats.idle },
        waiters: stats.waiters,
        sessions: stats.sessions,
        rows: 0,
        rates: Rates::default(),
        oldest_wait: Seconds(stats.oldest_wait),
        top: top.map(|lock| TopLock { name: lock.name, waiters: lock.queue_length }).collect(),
    }
}

/// A wall clock as RFC 3339 in UTC, seconds.
fn rfc3339(at: WallTime) -> String {
    let seconds = at.0 / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, counted in years from March (H. Hinnant, "chrono-compatible
    // low-level date algorithms", 2013).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_is_a_date() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_192_802, "2026-11-20T16:40:02Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(WallTime(seconds * 1000)), text);
        }
    }
}
