//! The feed of changes: a stream, or with `Accept: application/json` a long poll.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use tenure_api::{BadReason, ChangeEvent, Changes, ChangesQuery, ChangesSeen, Problem};
use tenure_core::{Change, Role, limits};
use tenure_log::{Cursor, Event, Reason, Subscription};
use tokio::time::{Instant, timeout_at};

use super::call::{self, Call, HOLD_MAX};
use super::locks::prefixes;
use super::reply::Format;
use crate::error::Refused;
use crate::identity::{Identity, NotIdentified, Unauthenticated};
use crate::stream::{self, Events, Teller};

const LAST_EVENT_ID: &str = "last-event-id";

/// Changes of locks in commit order: a stream, or a long poll.
#[utoipa::path(
    get, path = "/v1/changes", tag = "changes", params(ChangesQuery),
    responses(
        (status = 200, description = "A stream of `change`, `resync` and `end`; with `Accept: application/json` a poll",
            body = Changes),
        (status = "default", body = Problem))
)]
pub(super) async fn changes(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Read)?;
    let query: ChangesQuery = call.query()?;
    let wants_locks = kinds(query.kind.as_deref())?;
    let prefix = query.prefix.as_ref().map_or("", |prefix| prefix.as_str());
    prefixes(&caller, prefix)?;
    let hold = call::within("hold", query.hold, Duration::ZERO, HOLD_MAX)?;
    let after = place(&call, query.after.as_deref())?;
    let from = after.unwrap_or_else(|| call.app.log.cursor());
    let changes = call.app.log.changes(Some(from));
    let teller = LockTeller { caller: caller.clone(), prefix: prefix.to_owned(), wants_locks };
    if matches!(call.format, Format::Json | Format::Text) {
        let hold = hold.unwrap_or(call.app.settings.hold);
        return poll(&call, changes, from, &teller, hold).await;
    }
    if hold.is_some() {
        let detail = "`hold` belongs to the long poll: send `Accept: application/json`";
        return Err(Refused::field("hold", BadReason::Unknown, detail));
    }
    Ok(stream::response(call.app, caller, changes, from, teller))
}

/// Whether changes of locks are wanted. Kinds that are not built yet have no changes and are refused.
fn kinds(kinds: Option<&str>) -> Result<bool, Refused> {
    let Some(kinds) = kinds else { return Ok(true) };
    match kinds.split(',').find(|kind| *kind != "lock") {
        None => Ok(true),
        Some(_) => Err(Refused::field(
            "kind",
            BadReason::Range,
            "`kind` is `lock`: there are no others yet",
        )),
    }
}

/// Where to begin: `?after=`, or the header that a browser sends when it connects again, which is the later place.
pub(super) fn place(call: &Call, after: Option<&str>) -> Result<Option<Cursor>, Refused> {
    let (field, text) = match call::header(&call.parts.headers, LAST_EVENT_ID)? {
        Some(id) => (LAST_EVENT_ID, id),
        None => match after {
            Some(after) => ("after", after),
            None => return Ok(None),
        },
    };
    let cursor = text.parse::<Cursor>();
    cursor.map(Some).map_err(|why| Refused::field(field, BadReason::Syntax, why.to_string()))
}

/// Tells the changes of locks that the caller may see and wants.
struct LockTeller {
    caller: Arc<Identity>,
    prefix: String,
    wants_locks: bool,
}

impl LockTeller {
    fn worded(&self, change: &Change) -> Option<ChangeEvent> {
        let Change::Lock(change) = change else { return None };
        let name = change.name.as_str();
        let seen = self.wants_locks && name.starts_with(&self.prefix) && self.caller.covers(name);
        seen.then(|| ChangeEvent::from(change))
    }
}

impl Teller for LockTeller {
    const HEARS_ALL: bool = true;

    async fn tell(&mut self, at: Cursor, change: &Change, into: &mut Events) -> bool {
        if let Some(event) = self.worded(change) {
            into.push("change", at, &event);
        }
        true
    }
}

/// Answers as soon as there is something to tell, or with nothing after `hold`.
async fn poll(
    call: &Call,
    mut changes: Subscription,
    from: Cursor,
    teller: &LockTeller,
    hold: Duration,
) -> Result<Response, Refused> {
    let until = Instant::now() + hold;
    let mut answer = Changes { changes: Vec::new(), cursor: from.to_string(), resync: false };
    while answer.changes.is_empty() && !answer.resync {
        let event = tokio::select! {
            biased;
            () = call.app.keys.revoked(&teller.caller) => {
                return Err(NotIdentified::from(Unauthenticated::Wrong).into());
            }
            event = timeout_at(until, changes.next()) => event,
            () = call.app.drain.begun() => return Err(Refused::draining(None)),
        };
        let Ok(event) = event else { break };
        match event {
            Event::Changes(batch) => take(batch, teller, &mut answer),
            Event::Resync(at) => {
                call.app.metrics.feed_resync();
                (answer.cursor, answer.resync) = (at.to_string(), true);
            }
            // What was read is answered; the next poll goes on behind it.
            Event::Slow => break,
            Event::Stopping => return Err(Refused::unavailable(Reason::Stopping)),
        }
    }
    call.ok(&answer)
}

/// Takes up to a page of changes; the cursor is behind the last one looked at.
fn take(batch: Vec<(Cursor, Change)>, teller: &LockTeller, answer: &mut Changes) {
    for (at, change) in batch {
        let cursor = at.to_string();
        if let Some(change) = teller.worded(&change) {
            answer.changes.push(ChangesSeen { cursor: cursor.clone(), change });
        }
        answer.cursor = cursor;
        if answer.changes.len() == limits::PAGE_MAX {
            return;
        }
    }
}
