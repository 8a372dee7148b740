//! API keys made at run time. The machine keeps their hashes; a secret is made here and shown once.

use std::time::Duration;

use axum::response::Response;
use sha2::{Digest, Sha256};
use tenure_api::{
    BadReason, KeyList, KeyRequest, KeySecret, KeyView, Problem, RoleName, RotateRequest, Seconds,
};
use tenure_core::{Answer, Command, KeyName, KeyRecord, OldSecret, Prefix, Quota, Role, limits};
use tenure_log::Reply;

use super::call::{self, Call};
use crate::error::Refused;
use crate::identity::{Forbidden, Identity, Needs};
use crate::keys::{is_in_a_path, new_secret};

/// The keys made at run time.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList), (status = "default", body = Problem))
)]
pub(super) async fn list(call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Operator)?;
    call.no_query()?;
    let keys = call.app.log.read(|machine| machine.keys()).await?;
    let mine = keys.into_iter().filter(|key| governs(&caller, &key.prefixes).is_ok());
    call.ok(&KeyList { keys: mine.map(view).collect() })
}

/// Makes a key and shows its secret, this once.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", request_body = KeyRequest,
    responses((status = 201, body = KeySecret), (status = "default", body = Problem))
)]
pub(super) async fn make(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Operator)?;
    let request: KeyRequest = call.read().await?;
    governs(&caller, &request.prefixes)?;
    if request.roles.is_empty() {
        return Err(Refused::field("roles", BadReason::Range, "a key has at least one role"));
    }
    let name = request.name.clone();
    if !is_in_a_path(&name) {
        let detail = "a key's name has no `/` in it and is not `.` or `..`";
        return Err(Refused::field("name", BadReason::Syntax, detail));
    }
    if call.app.keys.is_fixed(&name) || find(&call, &name).await?.is_some() {
        return Err(Refused::exists("key"));
    }
    let secret = secret()?;
    let record = record(&caller, request, &secret)?;
    put(&call, &caller, record).await?;
    tracing::info!(event = "key_made", key = %name, by = %caller.name);
    Ok(call.created(&KeySecret { name, key: secret }))
}

fn record(caller: &Identity, request: KeyRequest, secret: &str) -> Result<KeyRecord, Refused> {
    let ttl = |field, given| call::within(field, given, limits::TTL_MIN, limits::TTL_MAX);
    let mut roles: Vec<Role> = request.roles.into_iter().map(Role::from).collect();
    roles.sort();
    if roles.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refused::field("roles", BadReason::Duplicate, "a role is there twice"));
    }
    let ttl_max = ttl("max_ttl", request.max_ttl)?;
    let expires_in = ttl("expires", request.expires)?;
    if request.requests_per_second == Some(0) {
        let detail = "`requests_per_second` is at least 1";
        return Err(Refused::field("requests_per_second", BadReason::Range, detail));
    }
    Ok(KeyRecord {
        name: request.name,
        sha256: hash(secret),
        old: None,
        roles,
        prefixes: request.prefixes,
        ttl_max,
        quota: Quota {
            held_max: request.held,
            waiting_max: request.waiting,
            sessions_max: request.sessions,
        },
        requests_per_second: request.requests_per_second,
        expires_in,
        by: caller.name.clone(),
    })
}

/// Removes a key: from now on it opens nothing.
#[utoipa::path(
    delete, path = "/v1/keys/{name}", tag = "keys", params(("name" = String, Path, description = "The key")),
    responses((status = 200, body = KeyView), (status = "default", body = Problem))
)]
pub(super) async fn remove(call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Operator)?;
    call.no_query()?;
    let key = governed(&call, &caller, name).await?;
    let command = Command::RemoveKey { name: key.name.clone(), by: caller.name.clone() };
    settled(&caller, call.submit(command).await?)?;
    call.app.refresh_keys().await;
    tracing::info!(event = "key_removed", key = %key.name, by = %caller.name);
    call.ok(&view(key))
}

/// Gives a key a new secret; the old one stays good for the overlap.
#[utoipa::path(
    post, path = "/v1/keys/{name}/rotate", tag = "keys", params(("name" = String, Path, description = "The key")),
    request_body = RotateRequest, responses((status = 201, body = KeySecret), (status = "default", body = Problem))
)]
pub(super) async fn rotate(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let caller = call.caller(Role::Operator)?;
    let request: RotateRequest = call.read().await?;
    let overlap = call::within("overlap", request.overlap, Duration::ZERO, limits::TTL_MAX)?;
    let key = governed(&call, &caller, name).await?;
    let secret = secret()?;
    let good_for = overlap.filter(|overlap| !overlap.is_zero());
    let old = good_for.map(|good_for| OldSecret { sha256: key.sha256, good_for });
    let name = key.name.clone();
    let by = caller.name.clone();
    put(&call, &caller, KeyRecord { sha256: hash(&secret), old, by, ..key }).await?;
    tracing::info!(event = "key_rotated", key = %name, by = %caller.name);
    Ok(call.created(&KeySecret { name, key: secret }))
}

async fn put(call: &Call, caller: &Identity, record: KeyRecord) -> Result<(), Refused> {
    settled(caller, call.submit(Command::PutKey(Box::new(record))).await?)?;
    call.app.refresh_keys().await;
    Ok(())
}

fn settled(caller: &Identity, reply: Reply) -> Result<(), Refused> {
    match reply.answer {
        Answer::Done => Ok(()),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, caller)),
        other => Err(Refused::bug(&format!("a key was answered with {other:?}"))),
    }
}

async fn find(call: &Call, name: &KeyName) -> Result<Option<KeyRecord>, Refused> {
    let keys = call.app.log.read(|machine| machine.keys()).await?;
    Ok(keys.into_iter().find(|key| key.name == *name))
}

/// The key of the path, if the caller is over it.
async fn governed(call: &Call, caller: &Identity, raw: &str) -> Result<KeyRecord, Refused> {
    let text = call::segment("name", raw)?;
    let name = KeyName::new(text).map_err(|why| call::bad_text("name", &why))?;
    let Some(key) = find(call, &name).await? else {
        governs(caller, &[])?;
        return Err(Refused::not_found("key made at run time"));
    };
    governs(caller, &key.prefixes)?;
    Ok(key)
}

/// A key is over those that see no more than itself: nobody makes himself a key to more than he has.
fn governs(caller: &Identity, prefixes: &[Prefix]) -> Result<(), Forbidden> {
    let own = &caller.prefixes;
    let covered = |prefix: &Prefix| own.iter().any(|own| own.covers(prefix.as_str()));
    if own.is_empty() || !prefixes.is_empty() && prefixes.iter().all(covered) {
        return Ok(());
    }
    Err(Forbidden { needs: Needs::Prefix })
}

fn view(key: KeyRecord) -> KeyView {
    KeyView {
        name: key.name,
        roles: key.roles.into_iter().map(RoleName::from).collect(),
        prefixes: key.prefixes,
        max_ttl: key.ttl_max.map(Seconds),
        held: key.quota.held_max,
        waiting: key.quota.waiting_max,
        sessions: key.quota.sessions_max,
        requests_per_second: key.requests_per_second,
        expires_in: key.expires_in.map(Seconds),
        old_secret_expires_in: key.old.map(|old| Seconds(old.good_for)),
        by: key.by,
    }
}

fn secret() -> Result<String, Refused> {
    new_secret().map_err(|error| Refused::bug(&format!("no random bits: {error}")))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
