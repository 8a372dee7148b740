//! The service about itself: who you are, what it is doing, keys, cluster, drain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenure_core::{KeyName, LockName, Prefix, Role};
use utoipa::ToSchema;

use crate::seconds::Seconds;
use crate::wire;

/// `GET /v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// The key of this request.
    pub key: InfoKey,
    /// The server's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Which node answers.
    pub node: u64,
    /// What carries out requests: `log`.
    pub backend: String,
    /// The database behind it, if there is one.
    pub store: Option<String>,
    /// `disk` or `memory`.
    pub durability: String,
    /// What this server can do beyond the first version, by name.
    pub features: Vec<String>,
    /// What the backend does by itself.
    pub capabilities: BTreeMap<String, bool>,
    /// Bounds by name, in seconds, bytes or pieces.
    pub limits: BTreeMap<String, u64>,
}

/// A key as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InfoKey {
    /// Its name.
    #[schema(value_type = String)]
    pub name: KeyName,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// The names it may see and touch; empty: all.
    #[schema(value_type = Vec<String>)]
    pub prefixes: Vec<Prefix>,
}

/// What a key may do. Each role stands for itself and for `read`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// GETs, streams, check.
    Read,
    /// Sessions and locks.
    Lock,
    /// Tables, topics, resources.
    Write,
    /// Break, resize, recall, end sessions, keys, cluster, drain.
    Operator,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Read => RoleName::Read,
            Role::Lock => RoleName::Lock,
            Role::Write => RoleName::Write,
            Role::Operator => RoleName::Operator,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Read => Role::Read,
            RoleName::Lock => Role::Lock,
            RoleName::Write => Role::Write,
            RoleName::Operator => Role::Operator,
        }
    }
}

/// `GET /v1/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Locks by state.
    pub locks: LockCounts,
    /// Requests in queues.
    pub waiters: usize,
    /// Sessions open.
    pub sessions: usize,
    /// Rows in tables.
    pub rows: usize,
    /// Per second, over the last seconds.
    pub rates: Rates,
    /// Longest time anybody waits.
    pub oldest_wait: Seconds,
    /// The locks with the longest queues.
    pub top: Vec<TopLock>,
}

/// Locks by state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockCounts {
    /// With a holder.
    pub held: usize,
    /// With a queue.
    pub waited: usize,
    /// Remembered but unused.
    pub idle: usize,
}

/// Events per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Grants made.
    pub grants: f64,
    /// Grants given back.
    pub releases: f64,
    /// Grants that ran out.
    pub expiries: f64,
}

/// A lock with a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopLock {
    /// Its name.
    #[schema(value_type = String)]
    pub name: LockName,
    /// The length of its queue.
    pub waiters: usize,
}

/// `POST /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Its name, shown in history and logs.
    #[serde(with = "wire::text")]
    #[schema(value_type = String, min_length = 1, max_length = 128)]
    pub name: KeyName,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// The names it may see and touch (end them in `/`); empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "wire::text_list")]
    #[schema(value_type = Vec<String>)]
    pub prefixes: Vec<Prefix>,
    /// Longest time to live it may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Seconds>,
    /// Locks it may hold at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    /// Requests it may have waiting at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Sessions it may have open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// For how long it is good; absent: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Seconds>,
}

/// A key's secret, shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySecret {
    /// The key's name.
    #[schema(value_type = String)]
    pub name: KeyName,
    /// The secret, for `Authorization: Bearer`.
    pub key: String,
}

/// A key as an operator sees it; never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: KeyName,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// The names it may see and touch; empty: all.
    #[schema(value_type = Vec<String>)]
    pub prefixes: Vec<Prefix>,
    /// Longest time to live it may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Seconds>,
    /// Locks it may hold at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    /// Requests it may have waiting at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Sessions it may have open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// What is left of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Seconds>,
    /// What is left of the time of the secret before a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret_expires_in: Option<Seconds>,
    /// The key that made it.
    #[schema(value_type = String)]
    pub by: KeyName,
}

/// `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The keys made at run time, by name.
    pub keys: Vec<KeyView>,
}

/// `POST /v1/keys/{name}/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// How long the old secret stays good; not at all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Seconds>,
}

/// `POST /v1/drain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// How long holders may still renew; the configured time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Seconds>,
}

/// What a drain began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainAnswer {
    /// Waiters that are told to come back; they keep their places.
    pub waiters_moved: usize,
    /// Grants alive now.
    pub holders_left: usize,
}

/// `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Names the cluster; null for a single node.
    pub cluster: Option<String>,
    /// The leader's id.
    pub leader: Option<u64>,
    /// Its term of office.
    pub term: u64,
    /// The nodes.
    pub members: Vec<Member>,
}

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where its peers reach it.
    pub peer: Option<String>,
    /// `leader`, `follower` or `learner`.
    pub role: String,
    /// The last entry it has.
    #[serde(rename = "match")]
    pub matched: Option<u64>,
    /// Entries it lacks.
    pub lag: u64,
    /// How long since it was heard of.
    pub last_seen: Seconds,
}
