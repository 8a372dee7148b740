//! Refusals: `application/problem+json` (RFC 9457) with a stable code and what the caller needs to go on.

use serde::{Deserialize, Serialize};
use tenure_core::{LockName, Permits, RequestId, Token};
use utoipa::ToSchema;

use crate::code::{BadReason, Code};
use crate::lock::{EndedName, Holder};
use crate::seconds::Seconds;
use crate::wire;

/// A refusal. Only `type`, `title`, `status` and `code` are always there; which others are is said with each code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:tenure:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: Code,
    /// What happened here, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field, parameter or header that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong with the field; why a grant or session is over; why the server cannot serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Always false, and there in every refusal of an acquire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquired: Option<bool>,
    /// The request's id: ask again with it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub request_id: Option<RequestId>,
    /// Who has the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<Vec<Holder>>,
    /// Place in the queue, 1 = next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Requests that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<usize>,
    /// How long the request waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Seconds>,
    /// How long it may still wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_left: Option<Seconds>,
    /// When to ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Seconds>,
    /// How long nobody gets the lock, whoever holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_in: Option<Seconds>,
    /// The locks of a request for many that do not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub blocked_by: Option<Vec<LockName>>,
    /// The cycle that waiting would close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<Vec<CycleMember>>,
    /// The token of the grant in question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
    /// The busy lock's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<LockName>,
    /// The busy semaphore's permits; absent for a plain lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub permits: Option<Permits>,
    /// How the request's grant or place ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedName>,
    /// How long ago the grant ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ago: Option<Seconds>,
    /// The key of the operator who ended the grant or the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason he gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The role or prefix that would be needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// The limit that is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Its bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The backend that cannot do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// What it cannot do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Names a bug in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// One owner of a cycle. What lies outside the reader's prefixes is called `hidden`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CycleMember {
    /// What it has.
    pub name: String,
    /// Who.
    pub owner: String,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it waits for.
    pub waits_for: String,
}

impl Problem {
    /// A problem with nothing but its code.
    pub fn new(code: Code, status: u16, title: &str) -> Self {
        Problem {
            kind: format!("urn:tenure:{code}"),
            title: title.to_owned(),
            status,
            code,
            detail: None,
            field: None,
            reason: None,
            acquired: None,
            request_id: None,
            holders: None,
            position: None,
            queue_length: None,
            waited: None,
            wait_left: None,
            retry_after: None,
            opens_in: None,
            blocked_by: None,
            cycle: None,
            token: None,
            name: None,
            permits: None,
            ended: None,
            ended_ago: None,
            by: None,
            why: None,
            needs: None,
            limit: None,
            max: None,
            backend: None,
            capability: None,
            incident: None,
        }
    }

    /// What is wrong with the field of a `bad_request`.
    pub fn bad_reason(&self) -> Option<BadReason> {
        let reason = self.reason.as_deref().filter(|_| self.code == Code::BadRequest)?;
        serde_json::from_value(serde_json::Value::String(reason.to_owned())).ok()
    }
}
