//! The change feed and the events of a session.

use serde::{Deserialize, Serialize};
use tenure_core::{Action, KeyName, LockName, Note, Owner, Prefix, Reason, SessionId, Token};
use utoipa::{IntoParams, ToSchema};

use crate::code::names;
use crate::lock::LostName;
use crate::seconds::Seconds;
use crate::session::SessionEndName;
use crate::wire;

/// One change, as in the data of an `event: change`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeEvent {
    /// A lock's.
    Lock {
        /// The lock.
        #[schema(value_type = String)]
        name: LockName,
        /// What happened.
        action: ActionName,
        /// Its place in the order of changes.
        revision: u64,
        /// The token granted or ended.
        #[schema(value_type = Option<u64>)]
        token: Option<Token>,
        /// The flow of control.
        #[schema(value_type = Option<String>)]
        owner: Option<Owner>,
        /// Its session.
        #[serde(default, with = "wire::text_option")]
        #[schema(value_type = Option<String>)]
        session: Option<SessionId>,
        /// Its note.
        #[schema(value_type = Option<String>)]
        note: Option<Note>,
        /// The key that did it, where that is not the holder itself.
        #[schema(value_type = Option<String>)]
        by: Option<KeyName>,
        /// The operator's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        reason: Option<Reason>,
        /// How long it was waited for (`granted`, `left`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited: Option<Seconds>,
        /// How long it was held (all that end a grant).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Seconds>,
    },
}

/// A change with its place, for the long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangesSeen {
    /// Goes into `after` to go on behind this change.
    pub cursor: String,
    /// The change.
    #[serde(flatten)]
    pub change: ChangeEvent,
}

/// The answer of a long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// In commit order; empty when nothing came in time.
    pub changes: Vec<ChangesSeen>,
    /// Goes into `after` of the next poll.
    pub cursor: String,
    /// Whether history was gone: list again, then go on from the cursor.
    pub resync: bool,
}

/// `GET /v1/changes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Kinds of change, with commas between; now only `lock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only names that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[param(value_type = Option<String>)]
    pub prefix: Option<Prefix>,
    /// A cursor; absent: from now on, `0`: from the oldest change kept. The header `Last-Event-ID` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// With `Accept: application/json`: how long an empty answer may wait, at most 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Seconds>,
}

/// `GET /v1/sessions/{id}/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionEventsQuery {
    /// A cursor; absent: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// `event: lost`: a grant the session does not have any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostEvent {
    /// The lock.
    #[schema(value_type = String)]
    pub name: LockName,
    /// The token that is worth nothing now.
    #[schema(value_type = u64)]
    pub token: Token,
    /// Why.
    pub reason: LostName,
    /// The key of the operator who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
    /// The reason he gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why: Option<Reason>,
}

/// `event: recalled`: somebody asks for a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecalledEvent {
    /// The lock.
    #[schema(value_type = String)]
    pub name: LockName,
    /// Its token.
    #[schema(value_type = u64)]
    pub token: Token,
    /// How soon. In a stream this is what is left when the event is sent.
    pub within: Seconds,
    /// Why.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// The key of the operator who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
}

/// `event: ended`: the session is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedEvent {
    /// Why.
    pub reason: SessionEndName,
    /// The key of the operator who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyName>,
    /// The reason he gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why: Option<Reason>,
}

/// `event: resync`: list again, then go on from this event's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResyncEvent {
    /// `compacted`: the changes between are not kept any more.
    pub reason: String,
}

/// `event: end`: the server ends the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndEvent {
    /// Why.
    pub reason: EndReason,
}

names! {
    /// Why a stream ends.
    EndReason {
        /// The reader does not keep up; it may go on from its last cursor.
        Slow = "slow",
        /// The server stops; another, or the same one later, goes on from the last cursor.
        Draining = "draining",
        /// The key behind the stream was removed, rotated out or has run out, or it may less than before.
        Unauthenticated = "unauthenticated",
    }
}

names! {
    /// What happened to a lock.
    ActionName {
        /// A request got it.
        Granted = "granted",
        /// A request stands in its queue.
        Queued = "queued",
        /// A request left its queue without it.
        Left = "left",
        /// Its holder gave it back.
        Released = "released",
        /// A grant ran out.
        Expired = "expired",
        /// A grant's session ended.
        SessionEnded = "session_ended",
        /// An operator ended a grant.
        Broken = "broken",
        /// An operator asked for it.
        Recalled = "recalled",
        /// Another process has the grant.
        HandedOver = "handed_over",
        /// The mode of a grant changed.
        Converted = "converted",
        /// An operator changed its permits.
        Resized = "resized",
        /// An operator ended the delay that kept it shut.
        Opened = "opened",
    }
}

impl From<Action> for ActionName {
    fn from(action: Action) -> Self {
        match action {
            Action::Granted => ActionName::Granted,
            Action::Queued => ActionName::Queued,
            Action::Left => ActionName::Left,
            Action::Released => ActionName::Released,
            Action::Expired => ActionName::Expired,
            Action::SessionEnded => ActionName::SessionEnded,
            Action::Broken => ActionName::Broken,
            Action::Recalled => ActionName::Recalled,
            Action::HandedOver => ActionName::HandedOver,
            Action::Converted => ActionName::Converted,
            Action::Resized => ActionName::Resized,
            Action::Opened => ActionName::Opened,
        }
    }
}
