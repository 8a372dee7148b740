//! Answers in DoubleDutch's words. This file alone knows the field names and status codes of that dialect.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tenure_core::Lease;

/// One answer, before the server's name is put on it.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Body,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Lock { lockname: String, sessiontoken: String, lockacquired: bool },
    Release { lockname: String, lockreleased: bool },
    Locks { status: &'static str, locks: Vec<Held> },
    Status { status: String },
    Error { error: String },
}

/// A lock in `/status`.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Held {
    pub(super) lockname: String,
    /// Empty if it is not shown.
    pub(super) sessiontoken: String,
    /// Seconds.
    pub(super) remaining: f64,
}

#[derive(Serialize)]
struct Signed<'a> {
    servername: &'a str,
    #[serde(flatten)]
    body: &'a Body,
}

impl Answer {
    pub(super) fn acquired(lockname: &str, token: &Lease) -> Self {
        let (lockname, sessiontoken) = (lockname.to_owned(), token.as_str().to_owned());
        Answer::new(StatusCode::OK, Body::Lock { lockname, sessiontoken, lockacquired: true })
    }

    /// A refusal is an answer like any other: its status is 200 too.
    pub(super) fn not_acquired(lockname: &str) -> Self {
        let (lockname, sessiontoken) = (lockname.to_owned(), String::new());
        Answer::new(StatusCode::OK, Body::Lock { lockname, sessiontoken, lockacquired: false })
    }

    pub(super) fn released(lockname: &str, lockreleased: bool) -> Self {
        let status = if lockreleased { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        Answer::new(status, Body::Release { lockname: lockname.to_owned(), lockreleased })
    }

    pub(super) fn status(locks: Vec<Held>) -> Self {
        Answer::new(StatusCode::OK, Body::Locks { status: "ok", locks })
    }

    fn new(status: StatusCode, body: Body) -> Self {
        Answer { status, body, retry_after: None, allow: None }
    }

    /// The answer with a name on it, in its body and in its `Server` header.
    pub(super) fn signed(&self, servername: &str) -> Response {
        let mut response =
            (self.status, Json(Signed { servername, body: &self.body })).into_response();
        let headers = response.headers_mut();
        name(servername, headers);
        // A GET here changes things and answers secrets.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

/// Puts the server's name into the `Server` header, as the original did with every answer, also to what it had no route
/// for. A name that no header can hold is in the bodies only.
pub(crate) fn name(servername: &str, headers: &mut HeaderMap) {
    if let Ok(name) = HeaderValue::from_str(servername) {
        headers.insert(header::SERVER, name);
    }
}

/// Which route an error is told by: `/status` has its errors in `status`, the others in `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    GetLock,
    ReleaseLock,
    Status,
}

impl Route {
    fn error(self, status: StatusCode, text: impl Into<String>) -> Answer {
        let text = text.into();
        let body = match self {
            Route::Status => Body::Status { status: text },
            Route::GetLock | Route::ReleaseLock => Body::Error { error: text },
        };
        Answer::new(status, body)
    }

    /// There is a parameter too few.
    pub(super) fn incomplete(self) -> Answer {
        let text = match self {
            Route::GetLock => "no lockname supplied",
            Route::ReleaseLock => "invalid params",
            Route::Status => "no api key",
        };
        self.error(StatusCode::BAD_REQUEST, text)
    }

    /// No API key came with the request. The three routes never agreed on how to say that.
    pub(super) fn no_key(self) -> Answer {
        match self {
            Route::GetLock => self.error(StatusCode::UNAUTHORIZED, "no api key supplied"),
            Route::ReleaseLock | Route::Status => self.incomplete(),
        }
    }

    /// The API key is not known, or may not do this.
    pub(super) fn wrong_key(self) -> Answer {
        let text = match self {
            Route::GetLock => "invalid api key",
            Route::ReleaseLock | Route::Status => "invalid key",
        };
        self.error(StatusCode::UNAUTHORIZED, text)
    }

    /// The key is good, but not for this.
    pub(super) fn forbidden(self, why: impl ToString) -> Answer {
        self.error(StatusCode::FORBIDDEN, why.to_string())
    }

    /// A parameter is not what it should be.
    pub(super) fn bad(self, why: impl ToString) -> Answer {
        self.error(StatusCode::BAD_REQUEST, why.to_string())
    }

    /// The lock is of another kind, taken through `/v1`.
    pub(super) fn mismatch(self) -> Answer {
        self.error(StatusCode::CONFLICT, "lockname is in use as a semaphore")
    }

    /// A limit is reached.
    pub(super) fn limited(self, why: impl ToString, retry_after: Duration) -> Answer {
        let mut answer = self.error(StatusCode::TOO_MANY_REQUESTS, why.to_string());
        answer.retry_after = Some(retry_after);
        answer
    }

    /// It did not happen: the server cannot at the moment.
    pub(super) fn unavailable(self, reason: &str) -> Answer {
        let text = format!("unavailable: {reason}");
        let mut answer = self.error(StatusCode::SERVICE_UNAVAILABLE, text);
        answer.retry_after = Some(Duration::from_secs(1));
        answer
    }

    /// It may have happened.
    pub(super) fn unknown(self) -> Answer {
        self.error(StatusCode::GATEWAY_TIMEOUT, "unknown: it may have happened")
    }

    /// The machine refused for a reason that no request to these routes can give.
    pub(super) fn bug(self) -> Answer {
        self.error(StatusCode::INTERNAL_SERVER_ERROR, "bug")
    }

    /// The method is not one of this route's.
    pub(super) fn wrong_method(self) -> Answer {
        let mut answer = self.error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        answer.allow = Some(self.methods());
        answer
    }

    /// Its methods. A HEAD of `/getlock` would take the lock and lose its token, so it is none of them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Route::GetLock => "GET",
            Route::ReleaseLock => "DELETE",
            Route::Status => "GET, HEAD",
        }
    }

    /// Its path.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Route::GetLock => "/getlock",
            Route::ReleaseLock => "/releaselock",
            Route::Status => "/status",
        }
    }

    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Route::GetLock => "getlock",
            Route::ReleaseLock => "releaselock",
            Route::Status => "status",
        }
    }
}
