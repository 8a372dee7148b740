//! The stable codes of refusals: what programs decide by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! names {
    ($(#[$meta:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        pub enum $enum {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
            /// A name this program does not know yet.
            #[serde(other, rename = "other")]
            Other,
        }

        impl $enum {
            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($enum::$variant => $text,)+
                    $enum::Other => "other",
                }
            }

            /// The one of this name on the wire.
            pub fn named(name: &str) -> Self {
                match name {
                    $($text => $enum::$variant,)+
                    _ => $enum::Other,
                }
            }
        }

        impl ::std::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use names;

names! {
    /// Why a request was refused.
    Code {
        /// The request itself is wrong; `field` and `reason` say where and how.
        BadRequest = "bad_request",
        /// No or a wrong key.
        Unauthenticated = "unauthenticated",
        /// The key may not do that; `needs` says what would be needed.
        Forbidden = "forbidden",
        /// No such route, session, member or key.
        NotFound = "not_found",
        /// The route has other methods.
        MethodNotAllowed = "method_not_allowed",
        /// The body is neither JSON nor a form.
        UnsupportedMediaType = "unsupported_media_type",
        /// Body, URL or header fields are too large.
        TooLarge = "too_large",
        /// Somebody else has it and the request does not wait.
        Held = "held",
        /// The wait passed.
        TimedOut = "timed_out",
        /// Still queued: ask again with the same request id.
        Waiting = "waiting",
        /// Waiting would close a cycle.
        Deadlock = "deadlock",
        /// This owner has it already.
        AlreadyHeld = "already_held",
        /// The busy lock has another kind or size.
        CapacityMismatch = "capacity_mismatch",
        /// The request's grant or place has ended.
        RequestFinished = "request_finished",
        /// The resource is owned by another.
        Owned = "owned",
        /// The resource's status does not allow it.
        WrongState = "wrong_state",
        /// It was yours and is not.
        Lost = "lost",
        /// The session is over.
        SessionEnded = "session_ended",
        /// The row is there already.
        Exists = "exists",
        /// The row is not there.
        Absent = "absent",
        /// The row has another revision.
        Conflict = "conflict",
        /// The id was used with another body.
        RequestIdReused = "request_id_reused",
        /// A write needs a condition.
        ConditionRequired = "condition_required",
        /// A limit is reached.
        Limit = "limit",
        /// A bug of the server.
        Bug = "bug",
        /// The backend cannot promise it.
        NotSupported = "not_supported",
        /// It did not happen.
        Unavailable = "unavailable",
        /// It may have happened.
        Unknown = "unknown",
    }
}

names! {
    /// What is wrong with a field of a `bad_request`.
    BadReason {
        /// It is needed and not there.
        Missing = "missing",
        /// It has the wrong type.
        Type = "type",
        /// It is too small, too large, too long, or none of the values allowed.
        Range = "range",
        /// There is no such field.
        Unknown = "unknown",
        /// It is there twice, or beside another that excludes it.
        Duplicate = "duplicate",
        /// It cannot be parsed.
        Syntax = "syntax",
        /// It is not UTF-8, or wrongly percent-encoded.
        Encoding = "encoding",
    }
}
