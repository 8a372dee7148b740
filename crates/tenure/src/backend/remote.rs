//! The remote backend: the same calls over HTTP to a Tenure server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_api::ChangesQuery;
use tenure_core::{Prefix, SessionHandle};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Failure, SessionEvent, Told};
use crate::backend::call::Asks;
use crate::config::ApiKey;

mod events;
mod problem;
mod routes;
mod tls;

pub(crate) use routes::ByHttp;
pub(crate) use tls::Credentials;

/// How long an answer may take beyond what it was allowed to be held back.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Most calls under way at once; with those below less than a server allows one address by default (256).
const CALLS_MAX: usize = 64;
/// Most answers held back at once: whoever waits beyond asks again every now and then.
const HELD_MAX: usize = 96;
/// Most keep-alives under way at once.
const PULSES_MAX: usize = 32;
/// Largest answer read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a connection that carries many calls is asked whether it is alive.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Longest life of an unused connection; below the server's 75 s, so that the client is first to close it.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Servers that stand for the same locks.
#[derive(Clone)]
pub(crate) struct Remote {
    servers: Arc<[String]>,
    /// The server that answered last.
    current: Arc<AtomicUsize>,
    api_key: Option<ApiKey>,
    calls: Lane,
    /// Answers that are held back.
    holds: Lane,
    /// Keep-alives alone: nothing else may delay one.
    pulses: Lane,
}

/// Connections for one kind of call, so that no kind is kept waiting by another.
#[derive(Clone)]
struct Lane {
    client: Client,
    places: Arc<Semaphore>,
}

impl Lane {
    /// Waits for a place among the connections.
    async fn enter(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("places are never closed")
    }
}

/// One call as HTTP.
pub(crate) struct HttpCall {
    method: Method,
    /// Begins with a slash; every segment is encoded.
    path: String,
    body: Option<Vec<u8>>,
}

impl HttpCall {
    fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        HttpCall { method: Method::GET, path, body: None }
    }

    fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("the types of the wire are JSON");
        HttpCall { method: Method::POST, body: Some(body), ..HttpCall::get(path) }
    }

    fn delete(path: impl Into<String>) -> Self {
        HttpCall { method: Method::DELETE, ..HttpCall::get(path) }
    }
}

impl Remote {
    /// `connect_max` bounds making one connection.
    pub(crate) fn new(
        servers: Vec<String>,
        api_key: Option<ApiKey>,
        credentials: &Credentials,
        connect_max: Duration,
    ) -> Result<Self, String> {
        let client = || -> Result<Client, String> {
            let builder = Client::builder()
                .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(connect_max)
                .tcp_nodelay(true)
                .pool_idle_timeout(IDLE_MAX)
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(PING_EVERY);
            let client = credentials.apply(builder)?.build();
            client.map_err(|error| with_sources(&error))
        };
        let current = Arc::new(AtomicUsize::new(0));
        let lane = |places| -> Result<Lane, String> {
            Ok(Lane { client: client()?, places: Arc::new(Semaphore::new(places)) })
        };
        Ok(Remote {
            servers: servers.into(),
            current,
            api_key,
            calls: lane(CALLS_MAX)?,
            holds: lane(HELD_MAX)?,
            pulses: lane(PULSES_MAX)?,
        })
    }

    /// Sends a call to the server that answered last, and to the others in turn where it cannot have arrived.
    pub(crate) async fn call<C: ByHttp>(&self, call: &C) -> Result<<C as Asks>::Answer, Failure> {
        // Where all places for held answers are taken, the answer comes at once: the place in the queue is kept.
        let held = (!call.hold().is_zero()).then(|| self.holds.places.try_acquire());
        let mut call = call.clone();
        let (lane, _place) = match held {
            Some(Ok(place)) => (&self.holds, place),
            Some(Err(_)) => {
                call.answer_at_once();
                (&self.calls, self.calls.enter().await)
            }
            None if C::IS_PULSE => (&self.pulses, self.pulses.enter().await),
            None => (&self.calls, self.calls.enter().await),
        };
        let body = self.call_each(&lane.client, &call.to_http(), call.hold()).await?;
        C::from_http(&body)
    }

    async fn call_each(
        &self,
        client: &Client,
        call: &HttpCall,
        hold: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = Failure::Unavailable { retry_after: Duration::ZERO, why: String::new() };
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            match self.call_one(client, index, call, hold).await {
                Ok(body) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(body);
                }
                Err(unavailable @ Failure::Unavailable { .. }) => failure = unavailable,
                Err(other) => return Err(other),
            }
        }
        Err(failure)
    }

    async fn call_one(
        &self,
        client: &Client,
        index: usize,
        call: &HttpCall,
        hold: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{}", self.servers[index], call.path);
        let mut request = self.signed(client.request(call.method.clone(), url));
        request = request.timeout(hold + ANSWER_MAX);
        if let Some(body) = &call.body {
            request = request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let response = request.send().await.map_err(|error| not_sent(&error))?;
        let status = response.status().as_u16();
        let is_success = response.status().is_success();
        let retry_after = problem::retry_after(response.headers());
        match read_bounded(response).await {
            Ok(body) if is_success => Ok(body),
            Ok(body) => Err(problem::failure(status, retry_after, &body)),
            // The status alone says whether it may have happened.
            Err(_) if !is_success => Err(problem::failure(status, retry_after, b"")),
            Err(why) => Err(Failure::Unknown(why)),
        }
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.api_key {
            Some(key) => request.bearer_auth(key.secret()),
            None => request,
        }
    }

    /// Opens a stream at the server that answered last.
    async fn open_stream(
        &self,
        path: String,
        session: Option<SessionHandle>,
    ) -> Result<Response, Failure> {
        let index = self.current.load(Ordering::Relaxed);
        let url = format!("{}{path}", self.servers[index]);
        let mut request = self.signed(self.calls.client.get(url));
        request = request.header(reqwest::header::ACCEPT, "text/event-stream");
        if let Some(session) = session {
            request = request.header("Tenure-Session", session.to_string());
        }
        let response = match tokio::time::timeout(ANSWER_MAX, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                self.current.store((index + 1) % self.servers.len(), Ordering::Relaxed);
                return Err(not_sent(&error));
            }
            Err(_) => return Err(unanswered()),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = problem::retry_after(response.headers());
        let body = match tokio::time::timeout(ANSWER_MAX, read_bounded(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        Err(problem::failure(status, retry_after, &body))
    }

    /// The events of a session until the connection breaks.
    pub(crate) fn session_events(
        &self,
        session: SessionHandle,
    ) -> BoxStream<'static, SessionEvent> {
        let path = format!("/v1/sessions/{}/events", session.id);
        events::session(self.clone(), path, session)
    }

    /// Changes until the connection breaks.
    pub(crate) fn changes(
        &self,
        prefix: &Prefix,
        after: Option<String>,
    ) -> BoxStream<'static, Result<Told, Failure>> {
        let prefix = Some(prefix.clone()).filter(|prefix| !prefix.as_str().is_empty());
        let query = ChangesQuery { kind: Some("lock".into()), prefix, after, hold: None };
        events::changes(self.clone(), format!("/v1/changes{}", routes::query(&query)))
    }
}

fn unanswered() -> Failure {
    Failure::Unavailable {
        retry_after: Duration::ZERO,
        why: format!("no answer within {} s", ANSWER_MAX.as_secs()),
    }
}

/// What a missing answer means: without a connection nothing happened, after that anything may have.
fn not_sent(error: &reqwest::Error) -> Failure {
    let why = with_sources(error);
    if error.is_connect() || error.is_builder() {
        return Failure::Unavailable { retry_after: Duration::ZERO, why };
    }
    Failure::Unknown(why)
}

/// The error with its causes: the outermost one alone says only that a request failed.
fn with_sources(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let one = error.to_string();
        if !text.contains(&one) {
            let colon = if text.is_empty() { "" } else { ": " };
            text.push_str(colon);
            text.push_str(&one);
        }
        cause = error.source();
    }
    text
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => {
                return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(with_sources(&error)),
        }
    }
}

/// Reads an answer; one that is not JSON of the right form did not come from a Tenure server.
fn read_answer<A: DeserializeOwned>(body: &[u8]) -> Result<A, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::NotUnderstood(error.to_string()))
}
