//! The three routes: each reads its query in DoubleDutch's order, asks the machine, and answers in its words.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use tenure_core::{Answer as Decided, Command, Lease, LockName, Machine, Release, Role, Target};

use super::answer::{Answer, Held, Route};
use super::owner;
use super::query::Query;
use super::request::{GetLock, lock_name};
use super::taking::{failed, take};
use crate::app::App;
use crate::identity::{Identity, NotIdentified, Peer, Unauthenticated};
use crate::metrics::Answered;

/// The three routes, to be merged with others. The server's name and whether tokens are shown are in the settings.
pub fn router(app: App) -> Router {
    Router::new()
        .route(Route::GetLock.path(), any(on_getlock))
        .route(Route::ReleaseLock.path(), any(on_releaselock))
        .route(Route::Status.path(), any(on_status))
        .with_state(app)
}

async fn on_getlock(State(app): State<App>, request: Request) -> Response {
    serve(&app, Route::GetLock, request).await
}

async fn on_releaselock(State(app): State<App>, request: Request) -> Response {
    serve(&app, Route::ReleaseLock, request).await
}

async fn on_status(State(app): State<App>, request: Request) -> Response {
    serve(&app, Route::Status, request).await
}

async fn serve(app: &App, route: Route, request: Request) -> Response {
    app.metrics.doubledutch(route.as_str());
    let (parts, _) = request.into_parts();
    let is_allowed = route.methods().split(", ").any(|method| parts.method == method);
    let answer = match is_allowed {
        true => answer(app, route, &parts).await.unwrap_or_else(|refused| refused),
        false => route.wrong_method(),
    };
    let mut response = answer.signed(&app.settings.name);
    response.extensions_mut().insert(Answered { route: route.path(), code: "" });
    response
}

async fn answer(app: &App, route: Route, parts: &Parts) -> Result<Answer, Answer> {
    match route {
        Route::GetLock => getlock(app, parts).await,
        Route::ReleaseLock => releaselock(app, parts).await,
        Route::Status => status(app, parts).await,
    }
}

async fn getlock(app: &App, parts: &Parts) -> Result<Answer, Answer> {
    let (route, query) = (Route::GetLock, Query::of(&parts.uri));
    let Some(name) = query.one("lockname").map_err(|e| route.bad(e))? else {
        return Err(route.incomplete());
    };
    let caller = identify(app, route, parts)?;
    let wanted = GetLock::parse(&name, &query).map_err(|e| route.bad(e))?;
    may(route, &caller, Role::Lock, Some(&wanted.name))?;
    Ok(take(app, &caller, &wanted).await)
}

async fn releaselock(app: &App, parts: &Parts) -> Result<Answer, Answer> {
    let (route, query) = (Route::ReleaseLock, Query::of(&parts.uri));
    let name = query.one("lockname").map_err(|e| route.bad(e))?;
    let token = query.one("token").map_err(|e| route.bad(e))?;
    let (Some(name), Some(token)) = (name, token) else { return Err(route.incomplete()) };
    let caller = identify(app, route, parts)?;
    let name = lock_name(&name).map_err(|e| route.bad(e))?;
    may(route, &caller, Role::Lock, Some(&name))?;
    let released = match token.parse::<Lease>() {
        Ok(token) => release(app, &caller, &name, &token).await?,
        Err(_) => false,
    };
    Ok(Answer::released(name.as_str(), released))
}

/// Gives the lock back; false if the token does not hold it. The rules answer a repeated release like the first one;
/// DoubleDutch did not, so only the release that ended the grant counts.
async fn release(
    app: &App,
    caller: &Identity,
    name: &LockName,
    token: &Lease,
) -> Result<bool, Answer> {
    let release = Release {
        caller: caller.caller(),
        name: Some(name.clone()),
        target: Target::Lease(token.hash()),
        names: Vec::new(),
        request: None,
    };
    let reply = app.log.submit(Command::Release(Box::new(release))).await;
    match reply.map_err(|error| failed(Route::ReleaseLock, error))?.answer {
        Decided::Released(released) if !released.locks.is_empty() => Ok(true),
        Decided::Refused(_) => {
            app.metrics.release_lost();
            Ok(false)
        }
        _ => Ok(false),
    }
}

async fn status(app: &App, parts: &Parts) -> Result<Answer, Answer> {
    let route = Route::Status;
    let caller = identify(app, route, parts)?;
    may(route, &caller, Role::Read, None)?;
    let shows_tokens = app.settings.doubledutch.status_tokens;
    let locks = app.log.read(|machine| held(machine, &caller, shows_tokens)).await;
    Ok(Answer::status(locks.map_err(|error| failed(route, error))?))
}

/// The key behind a request: its `auth`, else its `Authorization` header or client certificate.
fn identify(app: &App, route: Route, parts: &Parts) -> Result<Arc<Identity>, Answer> {
    let auth = Query::of(&parts.uri).one("auth").map_err(|e| route.bad(e))?;
    let found = match &auth {
        Some(key) => {
            let unknown = Peer::default();
            let peer = parts.extensions.get::<Peer>().unwrap_or(&unknown);
            app.keys.identify_secret(key.as_bytes(), peer)
        }
        None => app.identify(parts),
    };
    found.map_err(|error| match error {
        NotIdentified::Unauthenticated(Unauthenticated::Missing) => route.no_key(),
        NotIdentified::Unauthenticated(_) => route.wrong_key(),
        NotIdentified::Limited(limit) => route.limited(limit, limit.retry_after),
    })
}

fn may(route: Route, caller: &Identity, role: Role, name: Option<&LockName>) -> Result<(), Answer> {
    caller.require(role).map_err(|e| route.forbidden(e))?;
    name.map_or(Ok(()), |name| caller.may_touch(name)).map_err(|e| route.forbidden(e))
}

/// The locks that were taken by these routes and are under the caller's prefixes, in order of grant. A session token
/// is shown only to the key it was given to, and never to one that may only read.
fn held(machine: &Machine, caller: &Identity, shows_tokens: bool) -> Vec<Held> {
    let shows_tokens = shows_tokens && caller.may(Role::Lock);
    let grants = machine.grants().into_iter();
    grants
        .filter(|grant| caller.covers(grant.name.as_str()) && owner::is_ours(grant))
        .map(|grant| Held {
            lockname: grant.name.as_str().to_owned(),
            sessiontoken: match grant.lease {
                Some(token) if shows_tokens && grant.key == caller.name => {
                    token.as_str().to_owned()
                }
                _ => String::new(),
            },
            remaining: grant.expires_in.as_secs_f64(),
        })
        .collect()
}
