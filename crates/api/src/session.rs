//! Sessions.

use serde::{Deserialize, Serialize};
use tenure_core::{
    KeyName, LockName, Note, Reason, RequestId, SessionEnd, SessionHandle, SessionId, Token,
};
use utoipa::{IntoParams, ToSchema};

use crate::change::{LostEvent, RecalledEvent};
use crate::code::names;
use crate::seconds::Seconds;
use crate::wire;

/// `POST /v1/sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSessionRequest {
    /// How long it lives without a keep-alive, 100 ms to 366 days; 15 s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
    /// Free text, shown to others.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub note: Option<Note>,
    /// Names the request for its retry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128)]
    pub request_id: Option<RequestId>,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionOpened {
    /// Its public id.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, example = "s-Hk2v9")]
    pub id: SessionId,
    /// Its secret handle: whoever has it acts for the session.
    #[serde(with = "wire::text")]
    #[schema(value_type = String)]
    pub session: SessionHandle,
    /// How long it lives without a keep-alive.
    pub ttl: Seconds,
    /// How long a client may rely on it, counted from when it sent the request.
    pub valid_for: Seconds,
    /// What is left.
    pub expires_in: Seconds,
}

/// `POST /v1/sessions/{id}/keepalive`; the handle may come in the header `Tenure-Session` instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepAliveRequest {
    /// The session's handle.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
}

/// A session that lives longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptAlive {
    /// How long it lives without another keep-alive.
    pub ttl: Seconds,
    /// How long a client may rely on it, counted from when it sent the request.
    pub valid_for: Seconds,
    /// What is left.
    pub expires_in: Seconds,
    /// Grants it lost lately; told again for two lifetimes.
    pub lost: Vec<LostEvent>,
    /// Grants somebody asked for.
    pub recalled: Vec<RecalledEvent>,
}

/// `POST /v1/sessions/{id}/end`: by the session itself, or by an operator with a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndSessionRequest {
    /// The session's own handle.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
    /// An operator's reason.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub reason: Option<Reason>,
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionEnded {
    /// Grants freed.
    pub released: usize,
    /// Places in queues given up.
    pub cancelled: usize,
    /// Rows deleted with it.
    pub rows: usize,
}

/// A session as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, example = "s-Hk2v9")]
    pub id: SessionId,
    /// Its note.
    #[schema(value_type = Option<String>)]
    pub note: Option<Note>,
    /// The key it came with.
    #[schema(value_type = String)]
    pub key: KeyName,
    /// The node it talks to.
    pub node: u64,
    /// How long it lives without a keep-alive.
    pub ttl: Seconds,
    /// How long since it was heard of.
    pub idle_for: Seconds,
    /// What is left.
    pub expires_in: Seconds,
    /// What it holds.
    pub grants: Vec<HeldGrant>,
    /// What it waits for.
    #[schema(value_type = Vec<String>)]
    pub waits: Vec<LockName>,
    /// Rows bound to it.
    pub rows: usize,
}

/// One grant of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldGrant {
    /// The lock.
    #[schema(value_type = String)]
    pub name: LockName,
    /// Its token.
    #[schema(value_type = u64)]
    pub token: Token,
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// The sessions, by id.
    pub sessions: Vec<SessionView>,
    /// Goes into `after` for the next page; null on the last.
    #[serde(default, with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub next: Option<SessionId>,
    /// Goes into a stream: from here nothing is missed that this page did not show.
    pub cursor: String,
}

/// `GET /v1/sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Only sessions after this one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[param(value_type = Option<String>)]
    pub after: Option<SessionId>,
    /// At most so many, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

names! {
    /// Why a session is over.
    SessionEndName {
        /// Not kept alive.
        Expired = "expired",
        /// Closed by its client.
        Closed = "closed",
        /// Ended by an operator.
        Broken = "broken",
        /// Its node is dead.
        NodeDead = "node_dead",
        /// Never known, or its end is forgotten.
        Unknown = "unknown",
    }
}

impl From<&SessionEnd> for SessionEndName {
    fn from(end: &SessionEnd) -> Self {
        match end {
            SessionEnd::Expired => SessionEndName::Expired,
            SessionEnd::Closed => SessionEndName::Closed,
            SessionEnd::Broken(_) => SessionEndName::Broken,
            SessionEnd::Unknown => SessionEndName::Unknown,
        }
    }
}
