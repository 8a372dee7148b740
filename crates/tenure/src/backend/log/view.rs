//! What readers of an embedded log see, in the words of the wire.

use tenure_api::{
    LockView, Locks, LocksQuery, Rates, SessionView, Sessions, SessionsQuery, StateFilter, Stats,
};
use tenure_core::{Machine, Page, Sort, limits};
use tenure_log::Cursor;

use crate::error::Cycle;

/// Entries of a page for which nobody said how many.
const LIMIT_DEFAULT: usize = 100;
/// Locks shown in the counts.
const TOP_MAX: usize = 10;

pub(super) fn cycle(cycle: tenure_core::Cycle) -> Cycle {
    Cycle { members: cycle.members.into_iter().map(Into::into).collect() }
}

pub(super) fn locks(machine: &Machine, query: &LocksQuery, cursor: Cursor) -> Locks {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, limits::PAGE_MAX);
    let sort = Sort::from(query.sort.unwrap_or_default());
    let page = Page {
        prefix: query.prefix.as_ref().map_or("", |prefix| prefix.as_str()),
        after: query.after.as_ref().map_or("", |after| after.as_str()),
        limit,
        held: query.state == Some(StateFilter::Held),
        waited: query.state == Some(StateFilter::Waited),
        sort,
    };
    let locks: Vec<LockView> = machine.locks(&page).into_iter().map(LockView::from).collect();
    let is_full = locks.len() == limit && sort == Sort::Name;
    let next = locks.last().filter(|_| is_full).map(|lock| lock.name.clone());
    Locks { locks, next, cursor: cursor.to_string() }
}

pub(super) fn sessions(
    machine: &Machine,
    node: u64,
    query: &SessionsQuery,
    cursor: Cursor,
) -> Sessions {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, limits::PAGE_MAX);
    let views = machine.sessions(query.after, limit);
    let sessions: Vec<_> = views.into_iter().map(|view| SessionView::of(view, node)).collect();
    let next = sessions.last().filter(|_| sessions.len() == limit).map(|last| last.id);
    Sessions { sessions, next, cursor: cursor.to_string() }
}

/// The counts. An embedded log does not measure rates.
pub(super) fn stats(machine: &Machine) -> Stats {
    let page = Page {
        prefix: "",
        after: "",
        limit: TOP_MAX,
        held: false,
        waited: true,
        sort: Sort::Waiters,
    };
    Stats::of(&machine.stats(), Rates::default(), machine.locks(&page))
}
