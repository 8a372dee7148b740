//! The service about itself: who asks, what it is doing, whether it works, how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use tenure_api::{
    Cluster, DrainAnswer, DrainRequest, Info, InfoKey, Member, Problem, RoleName, Seconds, Stats,
};
use tenure_core::{Machine, Page, Role, Sort, limits};
use tenure_log::Reason;

use super::call::{self, Call, HOLD_MAX};
use super::reply;
use crate::body::BODY_BYTES_MAX;
use crate::error::Refused;
use crate::openapi;

/// Locks with the longest queues that are shown.
const TOP: usize = 10;
/// Longest drain.
const DRAIN_MAX: Duration = Duration::from_secs(3600);
/// What this server can do beyond the first version, by name.
const FEATURES: [&str; 8] =
    ["locks", "semaphores", "many", "sessions", "deadlocks", "changes", "keys", "text"];

/// The key of this request, and what this server is and can do.
#[utoipa::path(get, path = "/v1", tag = "service", responses((status = 200, body = Info), (status = "default", body = Problem)))]
pub(super) async fn info(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.app.identify(&call.parts)?;
    call.no_query()?;
    let status = call.app.log.status();
    let settings = &call.app.settings;
    call.ok(&Info {
        key: InfoKey {
            name: caller.name.clone(),
            roles: caller.roles.iter().copied().map(RoleName::from).collect(),
            prefixes: caller.prefixes.clone(),
        },
        name: settings.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: status.node,
        backend: "log".to_owned(),
        store: None,
        durability: status.durability.as_str().to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
        capabilities: capabilities(),
        limits: bounds(settings.waiters_max, settings.sessions_max),
    })
}

/// What the backend does by itself, for clients that work on several.
fn capabilities() -> BTreeMap<String, bool> {
    let can = [
        ("deadlock_detection", true),
        ("many_at_once", true),
        ("ordered_changes", true),
        ("cluster", false),
    ];
    can.into_iter().map(|(name, can)| (name.to_owned(), can)).collect()
}

fn bounds(waiters_max: usize, sessions_max: usize) -> BTreeMap<String, u64> {
    let bounds = [
        ("name_bytes", limits::NAME_BYTES_MAX as u64),
        ("note_bytes", limits::NOTE_BYTES_MAX as u64),
        ("owner_bytes", limits::OWNER_BYTES_MAX as u64),
        ("request_id_bytes", limits::REQUEST_ID_BYTES_MAX as u64),
        ("body_bytes", BODY_BYTES_MAX as u64),
        ("ttl", limits::TTL_MAX.as_secs()),
        ("wait", limits::WAIT_MAX.as_secs()),
        ("hold", HOLD_MAX.as_secs()),
        ("lock_delay", limits::LOCK_DELAY_MAX.as_secs()),
        ("permits", u64::from(limits::PERMITS_MAX)),
        ("locks_in_request", limits::LOCKS_IN_REQUEST_MAX as u64),
        ("queue", limits::QUEUE_MAX as u64),
        ("page", limits::PAGE_MAX as u64),
        ("waiters", waiters_max as u64),
        ("sessions", sessions_max as u64),
    ];
    bounds.into_iter().map(|(name, max)| (name.to_owned(), max)).collect()
}

/// Counts over everything, so for a key without prefixes; the longest queues.
#[utoipa::path(get, path = "/v1/stats", tag = "service", responses((status = 200, body = Stats), (status = "default", body = Problem)))]
pub(super) async fn stats(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Read)?;
    caller.may_touch_all()?;
    call.no_query()?;
    let (stats, top) = call.app.log.read(|machine| (machine.stats(), top(machine))).await?;
    call.ok(&Stats::of(&stats, call.app.metrics.rates(), top))
}

fn top(machine: &Machine) -> Vec<tenure_core::LockView> {
    let page =
        Page { prefix: "", after: "", limit: TOP, held: false, waited: true, sort: Sort::Waiters };
    machine.locks(&page)
}

/// The nodes: one, which leads itself.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses((status = 200, body = Cluster), (status = "default", body = Problem)))]
pub(super) async fn cluster(call: Box<Call>) -> Result<Response, Refused> {
    call.caller(Role::Read)?;
    call.no_query()?;
    let status = call.app.log.status();
    let itself = Member {
        id: status.node,
        peer: None,
        role: "leader".to_owned(),
        matched: None,
        lag: 0,
        last_seen: Seconds::ZERO,
    };
    call.ok(&Cluster {
        cluster: None,
        leader: Some(status.node).filter(|_| status.ready),
        term: status.term,
        members: vec![itself],
    })
}

/// Adds a node: not to a single one.
#[utoipa::path(post, path = "/v1/cluster/members", tag = "cluster", responses((status = 501, body = Problem)))]
pub(super) async fn add_member(call: Box<Call>) -> Result<Response, Refused> {
    not_a_cluster(&call)
}

/// Removes a node: not the only one.
#[utoipa::path(
    delete, path = "/v1/cluster/members/{id}", tag = "cluster", params(("id" = u64, Path, description = "The node")),
    responses((status = 501, body = Problem))
)]
pub(super) async fn remove_member(call: Box<Call>) -> Result<Response, Refused> {
    not_a_cluster(&call)
}

/// Makes another node the leader: there is none.
#[utoipa::path(post, path = "/v1/cluster/transfer", tag = "cluster", responses((status = 501, body = Problem)))]
pub(super) async fn transfer(call: Box<Call>) -> Result<Response, Refused> {
    not_a_cluster(&call)
}

/// A copy of the state: of a cluster only, so far.
#[utoipa::path(get, path = "/v1/cluster/backup", tag = "cluster", responses((status = 501, body = Problem)))]
pub(super) async fn backup(call: Box<Call>) -> Result<Response, Refused> {
    not_a_cluster(&call)
}

fn not_a_cluster(call: &Call) -> Result<Response, Refused> {
    call.caller(Role::Operator)?.may_touch_all()?;
    Err(Refused::not_supported("cluster"))
}

/// Begins the way out: waiters are told to come back, holders may renew for a while, then the server stops.
#[utoipa::path(
    post, path = "/v1/drain", tag = "service", request_body = DrainRequest,
    responses((status = 200, body = DrainAnswer), (status = "default", body = Problem))
)]
pub(super) async fn drain(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Operator)?;
    caller.may_touch_all()?;
    let request: DrainRequest = call.read().await?;
    let within = call::within("within", request.within, Duration::ZERO, DRAIN_MAX)?;
    let stats = call.app.log.read(|machine| machine.stats()).await?;
    let waiters_moved = call.app.metrics.held_answers();
    let within = within.unwrap_or(call.app.settings.drain);
    call.app.drain.begin(within);
    tracing::warn!(event = "drain_begun", within = within.as_secs_f64(), by = %caller.name);
    call.ok(&DrainAnswer { waiters_moved, holders_left: stats.grants })
}

/// Whether the process works.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = str)))]
pub(super) async fn health(_: Box<Call>) -> Result<Response, Refused> {
    Ok(reply::text("ok\n".to_owned()))
}

/// Whether this node can answer requests.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses((status = 200, body = str), (status = 503, body = Problem)))]
pub(super) async fn ready(call: Box<Call>) -> Result<Response, Refused> {
    if call.app.drain.is_draining() {
        return Err(Refused::unavailable(Reason::Stopping));
    }
    let status = call.app.log.status();
    if !status.ready {
        return Err(Refused::unavailable(status.reason.unwrap_or(Reason::Starting)));
    }
    Ok(reply::text("ok\n".to_owned()))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn open_api(call: Box<Call>) -> Result<Response, Refused> {
    call.app.identify(&call.parts)?;
    call.no_query()?;
    let body = axum::body::Body::from(openapi::json());
    Ok(reply::typed(super::JSON, body))
}
