//! What is asked about locks. Strict: what is not a field here is an error.

use super::*;

/// `POST /v1/locks/{name}/acquire` (the name stands in the path) and `POST /v1/acquire` (`name` or `locks`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcquireRequest {
    /// The lock, unless it stands in the path or there are `locks`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 512)]
    pub name: Option<LockName>,
    /// Several locks, all or nothing: 1 to 256.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::objects::deserialize"
    )]
    #[schema(max_items = 256)]
    pub locks: Option<Vec<Wanted>>,
    /// The session's handle, if the grant hangs on a session. Excludes `ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
    /// How long the grant lives from the grant or the last renewal, 100 ms to 366 days; 30 s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
    /// How long to stand in the queue at most, up to 24 hours; 0 or absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Seconds>,
    /// How long this answer may be held back, up to 10 minutes; the server's own bound (25 s) if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Seconds>,
    /// How to hold a plain lock; exclusive if absent. Excludes `permits` and `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The size of a semaphore, 1 to 2³¹.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// How much of the semaphore; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The flow of control; the session itself if absent, a fresh one without a session.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub owner: Option<Owner>,
    /// Whether an owner that has the lock already gets the same grant once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reentrant: Option<bool>,
    /// How long nobody gets the lock after this grant expired or its session ended, up to 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_delay: Option<Seconds>,
    /// How long after the grant nobody gets the lock again, however the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Seconds>,
    /// Who, why, where; shown to others.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub note: Option<Note>,
    /// Names the request, so that a retry is the same request. The header `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128)]
    pub request_id: Option<RequestId>,
}

/// One lock of a request for many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Which.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, min_length = 1, max_length = 512)]
    pub name: LockName,
    /// How to hold a plain lock; exclusive if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The size of a semaphore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// How much of it; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// `POST …/renew`: `lease`; without a lock in the path also `leases` or `session`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The lock, to be sure that the lease is of it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub name: Option<LockName>,
    /// The grant's lease.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub lease: Option<Lease>,
    /// Many leases, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "wire::text_list")]
    #[schema(value_type = Vec<String>)]
    pub leases: Vec<Lease>,
    /// A session: all it has.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
    /// A new time to live; never shortens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
    /// A new note.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub note: Option<Note>,
}

/// `POST …/release`: `lease`, or `request_id` to give up a request in whatever state it is; without a lock in the path
/// also `leases` or `session`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The lock: to be sure that the lease is of it, or the one the request was for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub name: Option<LockName>,
    /// With a lease: only these locks of a grant of many. With a request id: the names the request was for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "wire::text_list")]
    #[schema(value_type = Vec<String>)]
    pub names: Vec<LockName>,
    /// The grant's lease.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub lease: Option<Lease>,
    /// Many leases, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "wire::text_list")]
    #[schema(value_type = Vec<String>)]
    pub leases: Vec<Lease>,
    /// A session: all it has; with a request id, the session the request was made in.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
    /// Without a lease: the request to give up. With a lease: names this release for its retry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128)]
    pub request_id: Option<RequestId>,
}

/// `POST …/convert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvertRequest {
    /// The grant's lease.
    #[serde(with = "wire::text")]
    #[schema(value_type = String)]
    pub lease: Lease,
    /// The new mode.
    pub mode: Mode,
    /// How long an upgrade may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Seconds>,
    /// How long this answer may be held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Seconds>,
}

/// `POST …/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The token to judge.
    #[schema(value_type = u64)]
    pub token: Token,
}

/// `POST …/hand_over`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOverRequest {
    /// The old lease.
    #[serde(with = "wire::text")]
    #[schema(value_type = String)]
    pub lease: Lease,
    /// The session the grant hangs on from now. Excludes `ttl`; neither: as before.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionHandle>,
    /// The time to live from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
    /// Names the request for its retry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128)]
    pub request_id: Option<RequestId>,
}

/// `POST …/recall`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallRequest {
    /// How soon.
    pub within: Seconds,
    /// Why.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, max_length = 1024)]
    pub reason: Reason,
    /// Only the holder with this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
}

/// `POST …/break`: `token`, or `any` for whoever holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakRequest {
    /// Why.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, max_length = 1024)]
    pub reason: Reason,
    /// The holder's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub token: Option<Token>,
    /// Whoever holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
}

/// `POST …/resize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeRequest {
    /// The new size, 1 to 2³¹.
    pub permits: u32,
}

/// `GET /v1/locks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LocksQuery {
    /// Only names that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[param(value_type = Option<String>)]
    pub prefix: Option<Prefix>,
    /// Only names after this one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::text_option")]
    #[param(value_type = Option<String>)]
    pub after: Option<LockName>,
    /// At most so many, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only these; all that are known if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateFilter>,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<SortName>,
}
