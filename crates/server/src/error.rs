//! Refusals on the wire. The only place that knows status codes.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tenure_api::{BadReason, Code, CycleMember, Problem, Seconds, SessionEndName};
use tenure_core::{
    Cycle, Ended, Force, HeldBy, Holder, Lost, LostReason, Queued, Refusal, RequestId, Token,
};
use tenure_log::{Reason, SubmitError};

use crate::identity::{Forbidden, Identity, Limited, Needs, NotIdentified, role_name};

/// Stands where the caller may not look.
const HIDDEN: &str = "hidden";
/// When to ask a server again that cannot serve at the moment.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// Longest piece of a request that is repeated in a refusal, in bytes.
const REPEATED_BYTES_MAX: usize = 256;

/// Why a request is not carried out, as its client is told.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The body of the answer.
    pub(crate) problem: Box<Problem>,
    /// The methods of the route, if it was asked with another.
    allow: Option<&'static str>,
}

impl Refused {
    fn new(code: Code) -> Self {
        let (status, title) = status_and_title(code);
        Refused { problem: Box::new(Problem::new(code, status.as_u16(), title)), allow: None }
    }

    fn with(code: Code, detail: impl Into<String>) -> Self {
        let mut refused = Self::new(code);
        refused.problem.detail = Some(detail.into());
        refused
    }

    /// A field, parameter or header that is wrong.
    pub(crate) fn field(field: &str, reason: BadReason, detail: impl Into<String>) -> Self {
        let mut refused = Self::with(Code::BadRequest, cut(detail.into()));
        refused.problem.field = Some(cut(field.to_owned()));
        refused.problem.reason = Some(reason.as_str().to_owned());
        refused
    }

    /// A field that is needed and not there.
    pub(crate) fn missing(field: &str) -> Self {
        Self::field(field, BadReason::Missing, format!("`{field}` is missing"))
    }

    /// A field beside another that excludes it.
    pub(crate) fn beside(field: &str, other: &str) -> Self {
        let detail = format!("`{field}` and `{other}` exclude each other");
        Self::field(field, BadReason::Duplicate, detail)
    }

    /// No such route, or no such `what`.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::with(Code::NotFound, format!("there is no such {what}"))
    }

    /// The route has other methods.
    pub(crate) fn method(allow: &'static str) -> Self {
        let mut refused = Self::with(Code::MethodNotAllowed, format!("this route has {allow}"));
        refused.allow = Some(allow);
        refused
    }

    /// The body is neither JSON nor a form.
    pub(crate) fn media_type() -> Self {
        Self::with(
            Code::UnsupportedMediaType,
            "send `Content-Type: application/json`, or a form for a body without lists",
        )
    }

    /// The body has more than `max` bytes.
    pub(crate) fn body_too_large(max: usize) -> Self {
        let mut refused = Self::with(Code::TooLarge, format!("the body has more than {max} bytes"));
        refused.problem.max = Some(max as u64);
        refused
    }

    /// The path and query have more than `max` bytes.
    pub(crate) fn uri_too_long(max: usize) -> Self {
        let mut refused = Self::with(Code::TooLarge, format!("the URL has more than {max} bytes"));
        refused.problem.status = StatusCode::URI_TOO_LONG.as_u16();
        refused.problem.max = Some(max as u64);
        refused
    }

    /// The head of the request is longer than a head may be.
    pub(crate) fn head_too_large(bytes_max: usize, fields_max: usize) -> Self {
        let detail = format!(
            "the head of the request has more than {bytes_max} bytes or {fields_max} fields"
        );
        let mut refused = Self::with(Code::TooLarge, detail);
        refused.problem.status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16();
        refused.problem.max = Some(bytes_max as u64);
        refused
    }

    /// The backend cannot do it, so it is refused and not done by halves.
    pub(crate) fn not_supported(capability: &str) -> Self {
        let mut refused = Self::with(Code::NotSupported, "this server cannot do that");
        refused.problem.backend = Some("log".to_owned());
        refused.problem.capability = Some(capability.to_owned());
        refused
    }

    /// There is a key of that name.
    pub(crate) fn exists(what: &str) -> Self {
        Self::with(Code::Exists, format!("there is such a {what} already"))
    }

    /// It did not happen, and may if it is asked again.
    pub(crate) fn unavailable(reason: Reason) -> Self {
        let detail = match reason {
            Reason::Starting => "the server reads its log",
            Reason::NoQuorum => "the server cannot write its log",
            Reason::StorageFull => "there is no room for more on the server's disk",
            Reason::Overloaded => "the server has more to do than it can queue",
            Reason::Stopping => "the server is on its way out",
        };
        let mut refused = Self::with(Code::Unavailable, detail);
        refused.problem.reason = Some(reason.as_str().to_owned());
        refused.problem.retry_after = Some(Seconds(RETRY_UNAVAILABLE));
        refused
    }

    /// The server is on its way out; a waiter keeps its place and asks again with its request id.
    pub(crate) fn draining(place: Option<RequestId>) -> Self {
        let mut refused = Self::unavailable(Reason::Stopping);
        refused.problem.request_id = place;
        refused
    }

    /// The end of a request that stood in the queue for so long. A client tells by it that a place was lost with its
    /// session, not just the session.
    pub(crate) fn of_wait(mut self, waited: Option<Duration>) -> Self {
        self.problem.waited = self.problem.waited.or(waited.map(Seconds));
        self
    }

    /// Still queued: the client asks again with the same request id.
    pub(crate) fn waiting(place: &Queued) -> Self {
        let mut refused = Self::with(Code::Waiting, "the request is queued; send it again");
        let problem = &mut refused.problem;
        problem.request_id = Some(place.request.clone());
        problem.position = Some(place.position);
        problem.queue_length = Some(place.queue_length);
        problem.waited = Some(Seconds(place.waited));
        problem.wait_left = Some(Seconds(place.wait_left));
        problem.retry_after = Some(Seconds::ZERO);
        refused
    }

    /// A newer connection asks for the same request and gets the answer.
    pub(crate) fn superseded(place: Option<RequestId>) -> Self {
        let detail = "a newer request with this id gets the answer";
        let mut refused = Self::with(Code::Waiting, detail);
        refused.problem.request_id = place;
        refused.problem.retry_after = Some(Seconds::ZERO);
        refused
    }

    /// A bug of ours. What happened is in the log under the incident's name, not here.
    pub(crate) fn bug(what: &str) -> Self {
        let incident = incident();
        tracing::error!(event = "bug", incident, what);
        let mut refused = Self::new(Code::Bug);
        refused.problem.incident = Some(incident);
        refused
    }

    /// What the rules said, as this caller may see it.
    pub(crate) fn of(refusal: Refusal, caller: &Identity) -> Self {
        if refusal == Refusal::OutOfReach {
            return Forbidden { needs: Needs::Prefix }.into();
        }
        let detail = refusal.to_string();
        let mut refused = Self::with(code_of(&refusal), detail);
        let problem = &mut *refused.problem;
        match refusal {
            Refusal::Held(by) => {
                problem.detail = Some(who_has_it(&by));
                held(problem, by);
            }
            Refusal::TimedOut(by) => {
                let (who, waited) = (who_has_it(&by), Seconds(by.waited));
                problem.detail = Some(format!("{who}; waited {waited} s"));
                problem.waited = Some(waited);
                held(problem, by);
            }
            Refusal::Deadlock(cycle) => problem.cycle = Some(visible(&cycle, caller)),
            Refusal::AlreadyHeld { token } => problem.token = Some(token),
            Refusal::CapacityMismatch { name, permits } => {
                problem.name = Some(name);
                problem.permits = permits;
            }
            Refusal::RequestFinished { ended, token, force } => {
                problem.ended = Some(ended.into());
                problem.token = token;
                fill_force(problem, force.as_ref(), what_was_done(ended == Ended::Broken));
            }
            Refusal::Lost(lost) => fill_lost(problem, &lost),
            Refusal::SessionEnded(end) => {
                problem.reason = Some(SessionEndName::from(&end).as_str().to_owned());
                fill_force(problem, end.force(), "ended it");
            }
            Refusal::Limit(denied) => {
                problem.limit = Some(denied.limit.to_owned());
                problem.max = Some(denied.max);
                problem.retry_after = Some(Seconds(RETRY_UNAVAILABLE));
            }
            Refusal::DuplicateName(_) => {
                problem.field = Some("locks".to_owned());
                problem.reason = Some(BadReason::Duplicate.as_str().to_owned());
            }
            Refusal::Invalid { field, .. } => {
                problem.field = Some(field.to_owned());
                problem.reason = Some(BadReason::Range.as_str().to_owned());
            }
            Refusal::RequestIdReused
            | Refusal::Superseded
            | Refusal::OutOfReach
            | Refusal::NotFound { .. } => {}
        }
        refused
    }

    /// Every refusal of an acquire says so, but for one that may have been granted.
    pub(crate) fn of_acquire(mut self) -> Self {
        if !matches!(self.problem.code, Code::Unknown | Code::Bug) {
            self.problem.acquired = Some(false);
        }
        self
    }

    /// Of a break with a token the detail says first that it is no holder's.
    pub(crate) fn of_break(mut self, token: Option<Token>) -> Self {
        let detail = self.problem.detail.take();
        self.problem.detail = match (token, detail) {
            (Some(token), Some(who)) if self.problem.code == Code::Held => {
                Some(format!("token {token} is not a holder's: {who}"))
            }
            (_, detail) => detail,
        };
        self
    }

    /// Of a request for one lock it is plain which lock stands in the way.
    pub(crate) fn of_one_lock(mut self) -> Self {
        self.problem.blocked_by = None;
        self
    }

    /// The request's id, for a refusal after which the client may ask again.
    pub(crate) fn of_request(mut self, id: Option<RequestId>) -> Self {
        if self.problem.request_id.is_none() {
            self.problem.request_id = id;
        }
        self
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The header fields that belong to it.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.problem.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let asks_again = matches!(self.problem.code, Code::Unavailable | Code::Limit);
        if let Some(after) = self.problem.retry_after.filter(|_| asks_again) {
            let seconds = after.get().as_secs() + u64::from(after.get().subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl From<SubmitError> for Refused {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Unavailable(reason) => Refused::unavailable(reason),
            SubmitError::Unknown => {
                Refused::with(Code::Unknown, "it may have happened: ask again with the same id")
            }
        }
    }
}

impl From<Forbidden> for Refused {
    fn from(forbidden: Forbidden) -> Self {
        let mut refused = Refused::with(Code::Forbidden, forbidden.to_string());
        refused.problem.needs = Some(match forbidden.needs {
            Needs::Role(role) => role_name(role).to_owned(),
            other => other.to_string(),
        });
        refused
    }
}

impl From<NotIdentified> for Refused {
    fn from(why: NotIdentified) -> Self {
        match why {
            NotIdentified::Unauthenticated(why) => {
                Refused::with(Code::Unauthenticated, why.to_string())
            }
            NotIdentified::Limited(limited) => limited.into(),
        }
    }
}

impl From<Limited> for Refused {
    fn from(limited: Limited) -> Self {
        let mut refused = Refused::with(Code::Limit, limited.to_string());
        refused.problem.limit = Some(limited.limit.to_owned());
        refused.problem.max = Some(limited.max);
        refused.problem.retry_after = Some(Seconds(limited.retry_after));
        refused
    }
}

fn status_and_title(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::BadRequest => (StatusCode::BAD_REQUEST, "The request is wrong"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "Who asks is not known"),
        Code::Forbidden => (StatusCode::FORBIDDEN, "The key may not do that"),
        Code::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
        Code::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "The route has other methods"),
        Code::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has another type than JSON or a form")
        }
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
        Code::Held => (StatusCode::CONFLICT, "The lock is held"),
        Code::TimedOut => (StatusCode::CONFLICT, "The wait passed"),
        Code::Waiting => (StatusCode::CONFLICT, "The request still waits"),
        Code::Deadlock => (StatusCode::CONFLICT, "Waiting would never end"),
        Code::AlreadyHeld => (StatusCode::CONFLICT, "The owner holds the lock already"),
        Code::CapacityMismatch => (StatusCode::CONFLICT, "The lock has another kind or size"),
        Code::RequestFinished => (StatusCode::CONFLICT, "The request is over"),
        Code::Owned => (StatusCode::CONFLICT, "The resource is owned"),
        Code::WrongState => (StatusCode::CONFLICT, "The resource's status does not allow it"),
        Code::Lost => (StatusCode::GONE, "The grant is lost"),
        Code::SessionEnded => (StatusCode::GONE, "The session is over"),
        Code::Exists => (StatusCode::PRECONDITION_FAILED, "It exists"),
        Code::Absent => (StatusCode::PRECONDITION_FAILED, "It does not exist"),
        Code::Conflict => (StatusCode::PRECONDITION_FAILED, "It has another revision"),
        Code::RequestIdReused => {
            (StatusCode::UNPROCESSABLE_ENTITY, "The request id was used for another request")
        }
        Code::ConditionRequired => (StatusCode::PRECONDITION_REQUIRED, "A condition is needed"),
        Code::Limit => (StatusCode::TOO_MANY_REQUESTS, "A limit is reached"),
        Code::NotSupported => (StatusCode::NOT_IMPLEMENTED, "The backend cannot do that"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "It did not happen"),
        Code::Unknown => (StatusCode::GATEWAY_TIMEOUT, "It may have happened"),
        Code::Bug | Code::Other => (StatusCode::INTERNAL_SERVER_ERROR, "A bug of the server"),
    }
}

/// The code of a refusal of the rules.
pub(crate) fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Held(_) => Code::Held,
        Refusal::TimedOut(_) => Code::TimedOut,
        Refusal::Deadlock(_) => Code::Deadlock,
        Refusal::AlreadyHeld { .. } => Code::AlreadyHeld,
        Refusal::CapacityMismatch { .. } => Code::CapacityMismatch,
        Refusal::RequestFinished { .. } => Code::RequestFinished,
        Refusal::RequestIdReused => Code::RequestIdReused,
        Refusal::Superseded => Code::Waiting,
        Refusal::Lost(_) => Code::Lost,
        Refusal::SessionEnded(_) => Code::SessionEnded,
        Refusal::NotFound { .. } => Code::NotFound,
        Refusal::OutOfReach => Code::Forbidden,
        Refusal::Limit(_) => Code::Limit,
        Refusal::DuplicateName(_) | Refusal::Invalid { .. } => Code::BadRequest,
    }
}

/// Who stands in the way, in words.
fn who_has_it(by: &HeldBy) -> String {
    let name = by.blocked_by.first().map_or("the lock", |name| name.as_str());
    match by.holders.first() {
        Some(Holder { note: Some(note), .. }) => format!("{name} is held by {note}"),
        Some(holder) => format!("{name} is held by {}", holder.owner),
        None if !by.opens_in.is_zero() => format!("{name} opens in {} s", Seconds(by.opens_in)),
        None if by.queue_length > 0 => format!("others wait for {name}"),
        None => format!("nobody holds {name}"),
    }
}

fn held(problem: &mut Problem, by: HeldBy) {
    problem.holders = Some(by.holders.into_iter().map(tenure_api::Holder::from).collect());
    problem.queue_length = Some(by.queue_length);
    problem.retry_after = Some(Seconds(by.retry_after));
    problem.opens_in = Some(Seconds(by.opens_in)).filter(|opens| *opens > Seconds::ZERO);
    problem.blocked_by = Some(by.blocked_by).filter(|names| !names.is_empty());
}

fn fill_lost(problem: &mut Problem, lost: &Lost) {
    problem.reason = Some(tenure_api::LostName::from(&lost.reason).as_str().to_owned());
    problem.ended_ago = Some(Seconds(lost.ended_ago));
    problem.token = lost.token;
    let did = what_was_done(matches!(lost.reason, LostReason::Broken(_)));
    fill_force(problem, lost.reason.force(), did);
}

/// What an operator did to a grant, in words.
fn what_was_done(broken: bool) -> &'static str {
    if broken { "broke it" } else { "ended its session" }
}

/// The operator behind an end, and what he `did` in words.
fn fill_force(problem: &mut Problem, force: Option<&Force>, did: &str) {
    let Some(Force { by, reason }) = force else { return };
    problem.by = Some(by.to_string());
    problem.why = Some(reason.to_string());
    problem.detail = Some(format!("{by} {did}: {reason}"));
}

/// The cycle without what lies outside the caller's prefixes.
fn visible(cycle: &Cycle, caller: &Identity) -> Vec<CycleMember> {
    let name = |name: &str| if caller.covers(name) { name } else { HIDDEN }.to_owned();
    let members = cycle.members.iter().map(|member| {
        let seen = caller.covers(member.name.as_str());
        CycleMember {
            name: name(member.name.as_str()),
            owner: if seen { member.owner.to_string() } else { HIDDEN.to_owned() },
            session: member.session.filter(|_| seen).map(|id| id.to_string()),
            note: member.note.as_ref().filter(|_| seen).map(ToString::to_string),
            waits_for: name(member.waits_for.as_str()),
        }
    });
    members.collect()
}

/// At most [`REPEATED_BYTES_MAX`] bytes of a text that may come from the client.
fn cut(mut text: String) -> String {
    if text.len() > REPEATED_BYTES_MAX {
        let end = (0..=REPEATED_BYTES_MAX).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A short name by which the log's line about a bug is found.
fn incident() -> String {
    let mut dice = [0; 8];
    // Without random bits the name is only less unique; the bug is told all the same.
    let _ = getrandom::fill(&mut dice);
    format!("{:016x}", u64::from_le_bytes(dice))
}

#[cfg(test)]
mod tests;
