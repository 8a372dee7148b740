//! Sessions: a client's liveness, and the stream that tells it at once what it lost.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, header};
use tenure_api::{
    BadReason, EndSessionRequest, EndedEvent, KeepAliveRequest, KeptAlive, LostEvent,
    OpenSessionRequest, Problem, RecalledEvent, SessionEnded, SessionEventsQuery, SessionOpened,
    SessionView, Sessions, SessionsQuery,
};
use tenure_core::{
    Action, Answer, Change, Command, EndSession, EndedBy, LockChange, OpenSession, RecalledGrant,
    Refusal, Role, SessionHandle, SessionId, SessionSecret,
};
use tenure_log::{Cursor, Log, Reason, Reply};

use super::call::{self, Call};
use super::changes::place;
use super::locks::limit;
use crate::error::Refused;
use crate::identity::{Forbidden, Identity, Limited, Needs};
use crate::stream::{self, Events, Teller};

/// A session's time to live if the request says nothing.
const SESSION_TTL_DEFAULT: Duration = Duration::from_secs(15);

/// Begins a session.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", request_body = OpenSessionRequest,
    responses((status = 201, body = SessionOpened), (status = "default", body = Problem))
)]
pub(super) async fn open(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let request: OpenSessionRequest = call.read().await?;
    if call.app.drain.is_draining() {
        return Err(Refused::unavailable(Reason::Stopping));
    }
    refuse_too_many(&call).await?;
    let default = caller.ttl_max.map_or(SESSION_TTL_DEFAULT, |max| max.min(SESSION_TTL_DEFAULT));
    let named = call.request_id(request.request_id)?;
    let open = OpenSession {
        caller: caller.caller(),
        ttl: call::ttl(request.ttl, &caller)?.unwrap_or(default),
        note: request.note,
        request: call::request_name(&named),
        secret: SessionSecret::from_random(call::dice()?),
    };
    let submitted = call.submit(Command::OpenSession(Box::new(open))).await;
    match submitted.map_err(|refused| refused.of_request(named.clone()))?.answer {
        Answer::Opened(opened) => {
            let answer = SessionOpened::from(opened);
            let mut response = call.created(&answer);
            let location = format!("/v1/sessions/{}", answer.id);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        Answer::Refused(refusal) => {
            if let Refusal::Limit(denied) = &*refusal {
                call.app.metrics.limit_hit(denied.limit);
            }
            Err(Refused::of(*refusal, &caller).of_request(named))
        }
        other => Err(Refused::bug(&format!("a session's begin was answered with {other:?}"))),
    }
}

/// Refuses one more session than the configuration allows.
async fn refuse_too_many(call: &Call) -> Result<(), Refused> {
    let max = call.app.settings.sessions_max;
    if call.app.log.read(|machine| machine.session_count()).await? < max {
        return Ok(());
    }
    call.app.metrics.limit_hit("sessions");
    let retry_after = SESSION_TTL_DEFAULT;
    Err(Limited { limit: "sessions", max: max as u64, retry_after }.into())
}

/// Keeps a session alive.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/keepalive", tag = "sessions",
    params(("id" = String, Path, description = "The session")), request_body = KeepAliveRequest,
    responses((status = 200, body = KeptAlive), (status = "default", body = Problem))
)]
pub(super) async fn keep_alive(mut call: Box<Call>, id: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let id = session_id(id)?;
    let request: KeepAliveRequest = call.read().await?;
    let session = own_session(&call, id, request.session)?;
    let Reply { answer, .. } = call.submit(Command::KeepAlive { session }).await?;
    match answer {
        Answer::KeptAlive(kept) => {
            call.app.metrics.renewed(false);
            call.ok(&KeptAlive::from(kept))
        }
        Answer::Refused(refusal) => {
            call.app.metrics.renewed(true);
            Err(Refused::of(*refusal, &caller))
        }
        other => Err(Refused::bug(&format!("a keep-alive was answered with {other:?}"))),
    }
}

/// Ends a session: its own client, or an operator with a reason.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/end", tag = "sessions", params(("id" = String, Path, description = "The session")),
    request_body = EndSessionRequest, responses((status = 200, body = SessionEnded), (status = "default", body = Problem))
)]
pub(super) async fn end(mut call: Box<Call>, id: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let id = session_id(id)?;
    let request: EndSessionRequest = call.read().await?;
    let session = call.session(request.session)?;
    let by = match (session, request.reason) {
        (Some(_), Some(_)) => return Err(Refused::beside("reason", "session")),
        (Some(_), None) => EndedBy::Itself(own_session(&call, id, session)?.secret),
        (None, Some(reason)) => {
            caller.require(Role::Operator)?;
            EndedBy::Operator { reason, reach: caller.reach() }
        }
        (None, None) => return Err(Refused::missing("session")),
    };
    let end = EndSession { caller: caller.caller(), id, by };
    let Reply { answer, .. } = call.submit(Command::EndSession(Box::new(end))).await?;
    match answer {
        Answer::SessionEnded(ended) => call.ok(&SessionEnded::from(ended)),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, &caller)),
        other => Err(Refused::bug(&format!("a session's end was answered with {other:?}"))),
    }
}

/// Sessions by id: all, or for a key with prefixes its own and those that hold or wait for what it sees.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", params(SessionsQuery),
    responses((status = 200, body = Sessions), (status = "default", body = Problem))
)]
pub(super) async fn list(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Read)?;
    let query: SessionsQuery = call.query()?;
    let limit = limit(query.limit)?;
    let cursor = call.app.log.cursor();
    let page = call.app.log.read(|machine| machine.sessions(query.after, limit)).await?;
    // The page is counted before what is hidden is left out, so that `next` always leads on.
    let next = page.last().map(|session| session.id).filter(|_| page.len() == limit);
    let node = call.app.log.status().node;
    let seen = page.into_iter().filter(|session| sees(&caller, session));
    let sessions = seen.map(|session| view(session, &caller, node)).collect();
    call.ok(&Sessions { sessions, next, cursor: cursor.to_string() })
}

/// One session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, body = SessionView), (status = "default", body = Problem))
)]
pub(super) async fn one(call: Box<Call>, id: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Read)?;
    let id = session_id(id)?;
    call.no_query()?;
    let session = may_see(&call, &caller, id).await?;
    let session = session.ok_or_else(|| Refused::not_found("session"))?;
    call.ok(&view(session, &caller, call.app.log.status().node))
}

/// The session, if there is one; forbidden if the caller's prefixes do not show it, whether there is one or not.
async fn may_see(
    call: &Call,
    caller: &Identity,
    id: SessionId,
) -> Result<Option<tenure_core::SessionView>, Refused> {
    let session = call.app.log.read(|machine| machine.session(id)).await?;
    let seen = match &session {
        Some(session) => sees(caller, session),
        None => caller.prefixes.is_empty(),
    };
    if seen { Ok(session) } else { Err(Forbidden { needs: Needs::Prefix }.into()) }
}

fn sees(caller: &Identity, session: &tenure_core::SessionView) -> bool {
    let touched = || session.grants.iter().map(|(name, _)| name).chain(&session.waits);
    session.key == caller.name
        || caller.prefixes.is_empty()
        || touched().any(|name| caller.covers(name.as_str()))
}

fn view(session: tenure_core::SessionView, caller: &Identity, node: u64) -> SessionView {
    let mut view = SessionView::of(session, node);
    view.grants.retain(|grant| caller.covers(grant.name.as_str()));
    view.waits.retain(|name| caller.covers(name.as_str()));
    view
}

/// What happens to a session's grants, told to its client at once.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/events", tag = "sessions",
    params(("id" = String, Path, description = "The session"),
        ("Tenure-Session" = String, Header, description = "Its handle"), SessionEventsQuery),
    responses((status = 200, description = "A stream of `lost`, `recalled` and `ended`", body = LostEvent),
        (status = "default", body = Problem))
)]
pub(super) async fn events(call: Box<Call>, id: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let id = session_id(id)?;
    let query: SessionEventsQuery = call.query()?;
    let session = own_session(&call, id, None)?;
    let after = place(&call, query.after.as_deref())?;
    // Subscribed before the session is looked at, so that its end cannot fall between the two.
    let from = after.unwrap_or_else(|| call.app.log.cursor());
    let changes = call.app.log.session_changes(id, from);
    let known = call.app.log.read(|machine| machine.knows(&session)).await?;
    known.map_err(|end| Refused::of(Refusal::SessionEnded(end), &caller))?;
    let log = call.app.log.clone();
    Ok(stream::response(call.app, caller, changes, from, SessionTeller { log, id }))
}

/// Tells a session's client what it loses.
struct SessionTeller {
    log: Log,
    id: SessionId,
}

impl Teller for SessionTeller {
    const HEARS_ALL: bool = false;

    async fn tell(&mut self, at: Cursor, change: &Change, into: &mut Events) -> bool {
        match change {
            Change::SessionEnded { id, reason, .. } if *id == self.id => {
                into.push("ended", at, &EndedEvent::from(reason));
                false
            }
            Change::Lock(change) if change.session == Some(self.id) => {
                self.tell_lock(at, change, into).await;
                true
            }
            _ => true,
        }
    }
}

impl SessionTeller {
    async fn tell_lock(&self, at: Cursor, change: &LockChange, into: &mut Events) {
        if change.action == Action::Recalled {
            let recalled = self.recalled(change).await;
            return into.push_some("recalled", at, recalled);
        }
        into.push_some("lost", at, LostEvent::of(change));
    }

    /// The recall as it stands: how soon counts from now, not from when it was asked.
    async fn recalled(&self, change: &LockChange) -> Option<RecalledEvent> {
        let token = change.token?;
        let lock = self.log.read(|machine| machine.lock(&change.name)).await.ok()?;
        let held = lock.holders.into_iter().find(|held| held.holder.token == token)?;
        let recall = held.recall?;
        Some(RecalledGrant { name: change.name.clone(), token, recall }.into())
    }
}

fn session_id(raw: &str) -> Result<SessionId, Refused> {
    let text = call::segment("id", raw)?;
    text.parse().map_err(|_| {
        Refused::field("id", BadReason::Syntax, "a session's id is `s-` and letters or digits")
    })
}

/// The handle of the session in the path.
fn own_session(
    call: &Call,
    id: SessionId,
    field: Option<SessionHandle>,
) -> Result<SessionHandle, Refused> {
    let session = call.session(field)?.ok_or_else(|| Refused::missing("session"))?;
    if session.id == id {
        return Ok(session);
    }
    Err(Refused::field(
        "session",
        BadReason::Range,
        "the handle is of another session than the path",
    ))
}
