//! Reading locks: one, or lists of them. No answer has a lease, a handle or a request id in it.

use std::cmp::Reverse;
use std::time::Duration;

use axum::response::Response;
use tenure_api::{BadReason, LockView, Locks, LocksQuery, Problem, SortName, StateFilter};
use tenure_core::{Machine, Page, Role, Sort, limits};

use super::call::Call;
use crate::error::Refused;
use crate::identity::{Forbidden, Identity, Needs};

/// Entries of a page if the request says nothing.
const LIMIT_DEFAULT: usize = 100;

/// One lock; an unused one is free.
#[utoipa::path(
    get, path = "/v1/locks/{name}", tag = "locks", params(("name" = String, Path, description = "The lock")),
    responses((status = 200, body = LockView), (status = "default", body = Problem))
)]
pub(super) async fn one(call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (_, name) = call.caller_at(Role::Read, name)?;
    call.no_query()?;
    // Taken before the read: a stream from here may repeat what the view shows, but misses nothing.
    let cursor = call.app.log.cursor();
    let lock = call.app.log.read(|machine| machine.lock(&name)).await?;
    call.ok(&LockView { cursor: Some(cursor.to_string()), ..LockView::from(lock) })
}

/// A page of locks under the caller's prefixes.
#[utoipa::path(
    get, path = "/v1/locks", tag = "locks", params(LocksQuery),
    responses((status = 200, body = Locks), (status = "default", body = Problem))
)]
pub(super) async fn list(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Read)?;
    let query: LocksQuery = call.query()?;
    let limit = limit(query.limit)?;
    let prefixes = prefixes(&caller, query.prefix.as_ref().map_or("", |prefix| prefix.as_str()))?;
    let sort = query.sort.unwrap_or_default();
    let after = query.after.as_ref().map_or("", |name| name.as_str());
    if sort != SortName::Name && query.after.is_some() {
        return Err(Refused::beside("after", "sort"));
    }
    let page = Page {
        prefix: "",
        after,
        limit,
        held: query.state == Some(StateFilter::Held),
        waited: query.state == Some(StateFilter::Waited),
        sort: sort.into(),
    };
    let cursor = call.app.log.cursor();
    let locks = call.app.log.read(|machine| pages(machine, &page, &prefixes)).await?;
    let more = sort == SortName::Name && locks.len() == limit;
    let next = locks.last().map(|lock| lock.name.clone()).filter(|_| more);
    let locks = locks.into_iter().map(LockView::from).collect();
    call.ok(&Locks { locks, next, cursor: cursor.to_string() })
}

/// Entries of a page, within the bounds.
pub(super) fn limit(given: Option<usize>) -> Result<usize, Refused> {
    let limit = given.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > limits::PAGE_MAX {
        let detail = format!("`limit` is a number from 1 to {}", limits::PAGE_MAX);
        return Err(Refused::field("limit", BadReason::Range, detail));
    }
    Ok(limit)
}

/// The prefixes to list: what was asked for, as far as the key sees it.
pub(super) fn prefixes(caller: &Identity, asked: &str) -> Result<Vec<String>, Refused> {
    if caller.prefixes.is_empty() {
        return Ok(vec![asked.to_owned()]);
    }
    let both = caller.prefixes.iter().filter_map(|own| {
        let own = own.as_str();
        if asked.starts_with(own) {
            return Some(asked);
        }
        own.starts_with(asked).then_some(own)
    });
    let mut both: Vec<String> = both.map(str::to_owned).collect();
    if both.is_empty() {
        return Err(Forbidden { needs: Needs::Prefix }.into());
    }
    both.sort();
    // One that begins with another is covered by it.
    both.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
    Ok(both)
}

/// The page over several prefixes, in the page's order.
pub(super) fn pages(
    machine: &Machine,
    page: &Page<'_>,
    prefixes: &[String],
) -> Vec<tenure_core::LockView> {
    let of = |prefix: &String| machine.locks(&Page { prefix, ..page.clone() });
    let mut locks: Vec<_> = prefixes.iter().flat_map(of).collect();
    if prefixes.len() > 1 {
        match page.sort {
            Sort::Name => {}
            Sort::Waiters => locks.sort_by_key(|lock| Reverse(lock.queue_length)),
            Sort::HeldFor => locks.sort_by_key(|lock| Reverse(oldest_hold(lock))),
        }
        locks.truncate(page.limit);
    }
    locks
}

fn oldest_hold(lock: &tenure_core::LockView) -> Duration {
    lock.holders.iter().map(|held| held.holder.held_for).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tenure_core::{KeyName, Prefix};

    use super::*;

    fn key(prefixes: &[&str]) -> Identity {
        Identity {
            name: KeyName::new("k").unwrap(),
            roles: vec![Role::Read],
            prefixes: prefixes.iter().map(|p| Prefix::new(p).unwrap()).collect(),
            ttl_max: None,
            quota: None,
            sha256: None,
            operators_elsewhere: false,
        }
    }

    #[test]
    fn a_list_shows_what_was_asked_for_and_may_be_seen() {
        let cases = [
            ("", "", Some("")),
            ("", "a", Some("a")),
            ("ci/", "", Some("ci/")),
            ("ci/", "ci/build/", Some("ci/build/")),
            ("ci/ ci/x/ tmp/", "", Some("ci/ tmp/")),
            ("ci/ cx/", "c", Some("ci/ cx/")),
            ("ci/", "prod/", None),
        ];
        for (own, asked, expected) in cases {
            let own: Vec<&str> = own.split_whitespace().collect();
            let listed = prefixes(&key(&own), asked).ok().map(|listed| listed.join(" "));
            assert_eq!(listed.as_deref(), expected, "{own:?} {asked}");
        }
    }
}
