//! The routes under `/v1`, the two health checks and the OpenAPI document.
//!
//! Requests are dispatched by hand: a lock's name may have slashes in it, and taking, renewing and releasing should
//! cost little more than reading and writing the bytes. What a route does is in the file of its subject.

pub(crate) mod acquire;
mod call;
pub(crate) mod changes;
pub(crate) mod holding;
pub(crate) mod keys;
pub(crate) mod locks;
pub(crate) mod operator;
mod path;
mod reply;
pub(crate) mod service;
pub(crate) mod sessions;

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, header};
use parking_lot::Mutex;
use tower::Service;

use crate::app::App;
use crate::error::Refused;
use crate::metrics::Answered;

use call::Call;
use path::{LockVerb, ManyVerb, Route};
use reply::Format;

/// Longest path and query in bytes.
const URI_BYTES_MAX: usize = 8 * 1024;
/// What an answer is counted under whose route is not known.
const NO_ROUTE: &str = "none";

/// All routes of this file, as a router to be merged with others.
pub fn router(app: App) -> axum::Router {
    axum::Router::new().fallback_service(Api(app))
}

/// The routes as a service: every request gets an answer, and none of them is an error.
#[derive(Clone)]
struct Api(App);

impl Service<Request<Body>> for Api {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let app = self.0.clone();
        Box::pin(async move { Ok(answer(app, request).await) })
    }
}

/// Whether a path is one of these routes.
pub(crate) fn serves(path: &str) -> bool {
    Route::find(path).is_some()
}

/// Answers one request.
pub(crate) async fn answer(app: App, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.clone();
    let format = Format::wanted(&parts.headers);
    let is_head = parts.method == Method::HEAD;
    let found = Route::find(uri.path());
    let route = found.map_or(NO_ROUTE, |(route, _)| route.template());
    let answered = match found {
        _ if uri_bytes(&uri) > URI_BYTES_MAX => Err(Refused::uri_too_long(URI_BYTES_MAX)),
        None => Err(Refused::not_found("route")),
        Some((route, name)) => {
            let call = Box::new(Call { app, parts, body: Mutex::new(body), format });
            let answered = serve(call, route, name).await;
            if route.is_acquire() { answered.map_err(Refused::of_acquire) } else { answered }
        }
    };
    let (mut response, code) = match answered {
        Ok(response) => (response, ""),
        Err(refused) => (reply::refused(&refused, format), refused.problem.code.as_str()),
    };
    response.extensions_mut().insert(Answered { route, code });
    if is_head {
        leave_out_body(&mut response);
    }
    response
}

/// The head of an answer says how long its body would be.
fn leave_out_body(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if let Some(bytes) = body.size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
}

fn uri_bytes(uri: &http::Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

async fn serve(call: Box<Call>, route: Route, name: &str) -> Result<Response, Refused> {
    let method = call.parts.method.clone();
    if method == Method::OPTIONS {
        return Ok(reply::options(route.allow()));
    }
    if !route.has(&method) {
        return Err(Refused::method(route.allow()));
    }
    match route {
        Route::Lock(LockVerb::Acquire) => acquire::lock(call, name).await,
        Route::Lock(LockVerb::Release) => holding::release_lock(call, name).await,
        Route::Lock(LockVerb::Renew) => holding::renew_lock(call, name).await,
        Route::Many(ManyVerb::Acquire) => acquire::many(call).await,
        Route::Many(ManyVerb::Release) => holding::release_many(call).await,
        Route::Many(ManyVerb::Renew) => holding::renew_many(call).await,
        Route::KeepAlive => sessions::keep_alive(call, name).await,
        // Boxed, so that those above do not carry the memory of all these.
        other => Box::pin(serve_rarely(call, other, name)).await,
    }
}

async fn serve_rarely(call: Box<Call>, route: Route, name: &str) -> Result<Response, Refused> {
    let writes = call.parts.method == Method::POST;
    match route {
        Route::Lock(LockVerb::Convert) => holding::convert(call, name).await,
        Route::Lock(LockVerb::Check) => holding::check(call, name).await,
        Route::Lock(LockVerb::HandOver) => holding::hand_over(call, name).await,
        Route::Lock(LockVerb::Recall) => operator::recall(call, name).await,
        Route::Lock(LockVerb::Break) => operator::break_grant(call, name).await,
        Route::Lock(LockVerb::Resize) => operator::resize(call, name).await,
        Route::LockView => locks::one(call, name).await,
        Route::Locks => locks::list(call).await,
        Route::Sessions if writes => sessions::open(call).await,
        Route::Sessions => sessions::list(call).await,
        Route::Session => sessions::one(call, name).await,
        Route::SessionEvents => sessions::events(call, name).await,
        Route::EndSession => sessions::end(call, name).await,
        Route::Changes => changes::changes(call).await,
        Route::Info => service::info(call).await,
        Route::Stats => service::stats(call).await,
        Route::Keys if writes => keys::make(call).await,
        Route::Keys => keys::list(call).await,
        Route::Key => keys::remove(call, name).await,
        Route::RotateKey => keys::rotate(call, name).await,
        Route::Cluster => service::cluster(call).await,
        Route::Members => service::add_member(call).await,
        Route::Member => service::remove_member(call).await,
        Route::Transfer => service::transfer(call).await,
        Route::Backup => service::backup(call).await,
        Route::Drain => service::drain(call).await,
        Route::Health => service::health(call).await,
        Route::Ready => service::ready(call).await,
        Route::OpenApi => service::open_api(call).await,
        Route::Lock(_) | Route::Many(_) | Route::KeepAlive => Err(Refused::not_found("route")),
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CONTENT_TYPE: header::HeaderName = header::CONTENT_TYPE;
