//! From a request to its answer: what holds for every route.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::Service;
use tenure_api::BadReason;
use tenure_log::Reason;
use tokio::time::timeout;
use tower::Service as _;

use super::House;
use super::body::Counted;
use super::cors;
use super::crowd::{Full, Vitals};
use super::rest::Left;
use crate::app::App;
use crate::doubledutch::{self, redact};
use crate::error::Refused;
use crate::identity::Peer;
use crate::metrics::{self, Answered, Tally};
use crate::routes;

/// How long an answer to a connection in the reserve may take.
const RESERVE_ANSWER_MAX: Duration = Duration::from_secs(5);
/// What a handler that said nothing is counted as.
const UNSAID: Answered = Answered { route: "other", code: "" };

/// Answers the requests of one connection.
pub(super) struct Answering(Arc<Conversation>);

struct Conversation {
    app: App,
    router: Router,
    peer: Peer,
    vitals: Arc<Vitals>,
    tally: Tally,
    left: Left,
}

impl Answering {
    pub(super) fn new(house: &House, peer: Peer, vitals: Arc<Vitals>) -> Self {
        let (app, router) = (house.app.clone(), house.router.clone());
        let tally = Tally::new(app.metrics.clone());
        let left = Left::default();
        Answering(Arc::new(Conversation { app, router, peer, vitals, tally, left }))
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Counted>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Counted>>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_progress = self.0.vitals.begin(request.version() == Version::HTTP_2);
        let this = self.0.clone();
        Box::pin(async move {
            let mut response = this.answer(this.left.keep(request)).await?;
            let is_last = response.headers().contains_key(header::CONNECTION);
            // Boxed, so that a request whose body was read does not carry the memory of this.
            if let Some(rest) = this.left.take()
                && !is_last
                && !Box::pin(rest.read_off()).await
            {
                close(&mut response);
            }
            Ok(response.map(|body| Counted::new(body, in_progress)))
        })
    }
}

impl Conversation {
    /// The answer; an error closes the connection without one.
    async fn answer(&self, mut request: Request<Body>) -> io::Result<Response<Body>> {
        let began = Instant::now();
        if self.vitals.is_distrusted() {
            return Ok(two_lengths());
        }
        if let Err(refused) = head(&request) {
            return Ok(last(&refused));
        }
        let (method, version) = (request.method().clone(), request.version());
        let path = self.app.settings.access_log.then(|| redact(request.uri()).to_owned());
        let origin = cors::allowed(&self.app.settings.cors_origins, request.headers());
        if let Some(origin) = &origin
            && cors::is_preflight(&request)
        {
            return Ok(cors::preflight(origin));
        }
        request.extensions_mut().insert(self.peer.clone());
        let mut response = self.route(request).await?;
        if let Some(origin) = origin {
            cors::allow(origin, response.headers_mut());
        }
        if self.app.settings.doubledutch.enabled {
            doubledutch::name(&self.app.settings.name, response.headers_mut());
        }
        let is_last = self.vitals.reserve || self.app.drain.is_draining();
        if is_last && version != Version::HTTP_2 {
            close(&mut response);
        }
        self.note(&method, path, &response, began.elapsed());
        Ok(response)
    }

    async fn route(&self, request: Request<Body>) -> io::Result<Response<Body>> {
        if request.uri().path() == metrics::PATH {
            let (parts, _) = request.into_parts();
            let scraped = metrics::scrape(&self.app, &parts).await;
            return Ok(scraped.unwrap_or_else(|refused| problem(&refused)));
        }
        let answering = AssertUnwindSafe(self.dispatch(request)).catch_unwind();
        let answered = match self.vitals.reserve {
            false => answering.await,
            true => timeout(RESERVE_ANSWER_MAX, answering).await.map_err(|_| {
                // What becomes of the request is not known, and a broken connection says just that.
                io::Error::from(io::ErrorKind::TimedOut)
            })?,
        };
        Ok(answered.unwrap_or_else(|_| problem(&Refused::bug("a handler panicked"))))
    }

    /// The routes of the interface are found without the router, which makes several allocations for each request.
    async fn dispatch(&self, request: Request<Body>) -> Response<Body> {
        if routes::serves(request.uri().path()) {
            return routes::answer(self.app.clone(), request).await;
        }
        let Ok(response) = self.router.clone().call(request).await;
        response
    }

    fn note(&self, method: &Method, path: Option<String>, answer: &Response<Body>, took: Duration) {
        let answered = answer.extensions().get::<Answered>().copied().unwrap_or(UNSAID);
        let status = answer.status();
        self.tally.count(answered, method, status, took);
        let (route, code) = (answered.route, answered.code);
        if took > self.app.settings.slow && !may_wait(route) {
            let took = took.as_secs_f64();
            tracing::warn!(event = "slow_request", route, status = status.as_u16(), code, took);
        }
        if let Some(path) = path {
            // The path without its query: compatibility routes have secrets there.
            let (method, took) = (method.as_str(), took.as_secs_f64());
            tracing::info!(event = "access", method, path, status = status.as_u16(), code, took);
        }
    }
}

/// Whether taking long is what the route is for.
fn may_wait(route: &str) -> bool {
    ["acquire", "convert", "changes", "events", "getlock", "begin", "other"]
        .iter()
        .any(|waits| route.ends_with(waits))
}

/// A request whose body has two lengths.
fn two_lengths() -> Response<Body> {
    let detail = "`transfer-encoding` and `content-length` exclude each other";
    last(&Refused::field("content-length", BadReason::Duplicate, detail))
}

/// What every head must have (RFC 9112 §3.2, §6.1): in HTTP/1.1 one `Host`, and no transfer coding but `chunked`, so that
/// nobody on the way reads another request than this server.
fn head(request: &Request<Body>) -> Result<(), Refused> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if first.is_none() && request.version() == Version::HTTP_11 {
        return Err(Refused::missing("host"));
    }
    if second.is_some() {
        return Err(Refused::field("host", BadReason::Duplicate, "the header is there twice"));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let (first, second) = (codings.next(), codings.next());
    if first.is_none_or(is_chunked) && second.is_none() {
        return Ok(());
    }
    let detail = "`transfer-encoding` is `chunked` or is not there";
    Err(Refused::field("transfer-encoding", BadReason::Syntax, detail))
}

/// A refusal after which the connection ends.
fn last(refused: &Refused) -> Response<Body> {
    let mut response = problem(refused);
    close(&mut response);
    response
}

/// Tells the client that its connection ends after this answer.
fn close(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// A refusal that no route made.
fn problem(refused: &Refused) -> Response<Body> {
    let body = serde_json::to_vec(&*refused.problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refused.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    refused.write_headers(headers);
    let code = refused.problem.code.as_str();
    response.extensions_mut().insert(Answered { route: "other", code });
    response
}

/// A whole HTTP/1.1 answer for a connection that there is no room for.
pub(super) fn no_room(full: Full) -> Vec<u8> {
    let mut refused = Refused::unavailable(Reason::Overloaded);
    refused.problem.limit = Some(full.limit().to_owned());
    refused.problem.max = Some(full.max());
    whole(&refused)
}

/// A whole HTTP/1.1 answer, after which the connection ends, as bytes.
pub(super) fn whole(refused: &Refused) -> Vec<u8> {
    let body = serde_json::to_vec(&*refused.problem).unwrap_or_default();
    let mut headers = http::HeaderMap::new();
    refused.write_headers(&mut headers);
    let mut answer = format!("HTTP/1.1 {}\r\n", refused.status());
    for (name, value) in &headers {
        answer += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    answer += &format!(
        "content-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         date: {date}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [answer.into_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_a_whole_answer() {
        let answer = String::from_utf8(no_room(Full::House(7))).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"),
            "{head}"
        );
        assert!(head.contains(&format!("content-length: {}", body.len())));
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&problem["code"], &problem["limit"]),
            (&"unavailable".into(), &"connections".into())
        );
    }
}
