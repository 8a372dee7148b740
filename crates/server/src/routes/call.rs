//! One request on its way to its answer: who asks, for what, on whose behalf.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_api::{BadReason, Seconds};
use tenure_core::{
    BadText, Command, Lease, LockName, RequestId, RequestName, Role, SessionHandle, limits,
};
use tenure_log::Reply;

use super::reply::{self, Format};
use crate::app::App;
use crate::body;
use crate::error::Refused;
use crate::identity::Identity;

/// Longest time that one answer is held back.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(600);
/// A grant's time to live if the request says nothing.
pub(super) const TTL_DEFAULT: Duration = Duration::from_secs(30);

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const TENURE_SESSION: &str = "tenure-session";

/// A request that found its route.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) parts: Parts,
    /// In a mutex so that a call can be shared between threads, which a body cannot; it is never locked.
    pub(super) body: Mutex<Body>,
    pub(super) format: Format,
}

impl Call {
    /// The key behind the request, if it has this role.
    pub(super) fn caller(&self, role: Role) -> Result<Arc<Identity>, Refused> {
        let identity = self.app.identify(&self.parts)?;
        identity.require(role)?;
        Ok(identity)
    }

    /// The key behind the request and the lock it names in the path, if it may touch it.
    pub(super) fn caller_at(
        &self,
        role: Role,
        raw: &str,
    ) -> Result<(Arc<Identity>, LockName), Refused> {
        let caller = self.caller(role)?;
        let name = lock_name(raw)?;
        caller.may_touch(&name)?;
        Ok((caller, name))
    }

    /// The body.
    pub(super) async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Refused> {
        body::no_query(self.parts.uri.query())?;
        body::read(&self.parts.headers, std::mem::take(self.body.get_mut())).await
    }

    /// The query string.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        body::query(self.parts.uri.query())
    }

    /// Refuses a query string.
    pub(super) fn no_query(&self) -> Result<(), Refused> {
        body::no_query(self.parts.uri.query())
    }

    /// Carries a command through the log.
    pub(super) async fn submit(&self, command: Command) -> Result<Reply, Refused> {
        Ok(self.app.log.submit(command).await?)
    }

    /// The session the request acts for: the field of its body or the header, which must not contradict each other.
    pub(super) fn session(
        &self,
        field: Option<SessionHandle>,
    ) -> Result<Option<SessionHandle>, Refused> {
        let Some(text) = header(&self.parts.headers, TENURE_SESSION)? else { return Ok(field) };
        let handle: SessionHandle = text.parse().map_err(|_| {
            Refused::field(TENURE_SESSION, BadReason::Syntax, "this is no session's handle")
        })?;
        match field {
            Some(field) if field != handle => Err(Refused::beside("session", TENURE_SESSION)),
            _ => Ok(Some(handle)),
        }
    }

    /// The request's id: the field of its body or the header `Idempotency-Key`, quoted or bare.
    pub(super) fn request_id(
        &self,
        field: Option<RequestId>,
    ) -> Result<Option<RequestId>, Refused> {
        let Some(text) = header(&self.parts.headers, IDEMPOTENCY_KEY)? else { return Ok(field) };
        let bare = match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').filter(|bare| !bare.contains(['"', '\\'])),
            None => Some(text),
        };
        let bare = bare.ok_or_else(|| {
            Refused::field(IDEMPOTENCY_KEY, BadReason::Syntax, "the quotes do not fit")
        })?;
        let id = RequestId::new(bare).map_err(|why| bad_text(IDEMPOTENCY_KEY, &why))?;
        match field {
            Some(field) if field != id => Err(Refused::beside("request_id", IDEMPOTENCY_KEY)),
            _ => Ok(Some(id)),
        }
    }

    /// An answer of 200.
    pub(super) fn ok<T: Serialize>(&self, body: &T) -> Result<Response, Refused> {
        Ok(reply::answer(StatusCode::OK, self.format, body))
    }

    /// An answer of 201, for something that is new.
    pub(super) fn created<T: Serialize>(&self, body: &T) -> Response {
        reply::answer(StatusCode::CREATED, self.format, body)
    }
}

/// The one value of a header field.
pub(super) fn header<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::field(name, BadReason::Duplicate, "the header is there twice"));
    }
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| Refused::field(name, BadReason::Encoding, "it is not UTF-8"))
}

/// The name of a client's request, for the rules.
pub(super) fn request_name(id: &Option<RequestId>) -> RequestName {
    id.clone().map_or(RequestName::Unnamed, RequestName::Client)
}

/// The lock's name in a path.
pub(super) fn lock_name(raw: &str) -> Result<LockName, Refused> {
    let clear = segment("name", raw)?;
    LockName::new(clear).map_err(|why| bad_text("name", &why))
}

/// A segment of a path in clear.
pub(super) fn segment(field: &str, raw: &str) -> Result<String, Refused> {
    body::decoded(raw, false).map_err(|why| Refused::field(field, BadReason::Encoding, why))
}

/// A text against its rule.
pub(super) fn bad_text(field: &str, why: &BadText) -> Refused {
    let reason = match why {
        BadText::TooShort { .. } | BadText::TooLong { .. } => BadReason::Range,
        BadText::Forbidden(_) => BadReason::Syntax,
    };
    Refused::field(field, reason, format!("`{field}` {why}"))
}

/// A duration within its bounds.
pub(super) fn within(
    field: &str,
    given: Option<Seconds>,
    min: Duration,
    max: Duration,
) -> Result<Option<Duration>, Refused> {
    let Some(given) = given.map(Seconds::get) else { return Ok(None) };
    if given < min || given > max {
        let (min, max) = (Seconds(min), Seconds(max));
        let detail = format!("`{field}` is a duration from {min} s to {max} s");
        return Err(Refused::field(field, BadReason::Range, detail));
    }
    Ok(Some(given))
}

/// A time to live within the bounds of all and of the key.
pub(super) fn ttl(given: Option<Seconds>, caller: &Identity) -> Result<Option<Duration>, Refused> {
    let max = caller.ttl_max.map_or(limits::TTL_MAX, |max| max.min(limits::TTL_MAX));
    within("ttl", given, limits::TTL_MIN.min(max), max)
}

/// Random bytes for a lease or a session's secret.
pub(super) fn dice() -> Result<[u8; 32], Refused> {
    let mut dice = [0; 32];
    getrandom::fill(&mut dice)
        .map_err(|error| Refused::bug(&format!("no random bits: {error}")))?;
    Ok(dice)
}

/// A fresh lease.
pub(super) fn fresh_lease() -> Result<Lease, Refused> {
    dice().map(Lease::from_random)
}
