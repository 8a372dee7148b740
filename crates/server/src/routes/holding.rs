//! What holders do: have it longer, give it back, change its mode, hand it over, ask whether a token is current.

use std::time::Duration;

use axum::response::Response;
use tenure_api::{
    BadReason, CheckAnswer, CheckRequest, ConvertRequest, Grant, HandOverRequest, Many, ManyResult,
    Mode, Problem, ReleaseRequest, Released, RenewRequest, Renewed,
};
use tenure_core::{
    Answer, Cancel, Claim, Command, Convert, HandOver, Lease, LeaseRecord, Life, LockName, Refusal,
    Release, Renew, Role, Target, limits,
};
use tenure_log::Reply;

use super::acquire::{Taken, hold_back};
use super::call::{self, Call, HOLD_MAX};
use crate::error::{Refused, code_of};
use crate::identity::{Forbidden, Identity, Needs};

/// What a request is about when it names no lock in its path.
enum About {
    Lease(Lease),
    Leases(Vec<Lease>),
    Session(tenure_core::SessionHandle),
}

/// Has a grant longer.
#[utoipa::path(
    post, path = "/v1/locks/{name}/renew", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = RenewRequest, responses((status = 200, body = Renewed), (status = "default", body = Problem))
)]
pub(super) async fn renew_lock(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Lock, name)?;
    let request: RenewRequest = call.read().await?;
    refuse_beside_path(&request.name, &request.leases, request.session.is_some())?;
    let lease = request.lease.ok_or_else(|| Refused::missing("lease"))?;
    let renew = renewal(&caller, &request, Some(name), Target::Lease(lease.hash()))?;
    renew_one(&call, &caller, renew).await
}

/// Has a grant, many of them, or all of a session longer.
#[utoipa::path(
    post, path = "/v1/renew", tag = "locks", request_body = RenewRequest,
    responses((status = 200, description = "Renewed; for many leases: results", body = Renewed),
        (status = "default", body = Problem))
)]
pub(super) async fn renew_many(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let request: RenewRequest = call.read().await?;
    touch(&caller, request.name.iter())?;
    let name = request.name.clone();
    match about(&call, request.lease, &request.leases, request.session)? {
        About::Lease(lease) => {
            touch_leases(&call, &caller, &[lease]).await?;
            let renew = renewal(&caller, &request, name, Target::Lease(lease.hash()))?;
            renew_one(&call, &caller, renew).await
        }
        About::Session(session) => {
            let renew = renewal(&caller, &request, name, Target::Session(session))?;
            renew_one(&call, &caller, renew).await
        }
        About::Leases(leases) => {
            touch_leases(&call, &caller, &leases).await?;
            let command = |lease: &Lease| {
                let target = Target::Lease(lease.hash());
                Ok(Command::Renew(Box::new(renewal(&caller, &request, name.clone(), target)?)))
            };
            each(&call, &leases, command).await
        }
    }
}

fn renewal(
    caller: &Identity,
    request: &RenewRequest,
    name: Option<LockName>,
    target: Target,
) -> Result<Renew, Refused> {
    let ttl = call::ttl(request.ttl, caller)?;
    Ok(Renew { caller: caller.caller(), name, target, ttl, note: request.note.clone() })
}

async fn renew_one(call: &Call, caller: &Identity, renew: Renew) -> Result<Response, Refused> {
    let Reply { answer, .. } = call.submit(Command::Renew(Box::new(renew))).await?;
    match answer {
        Answer::Renewed(renewed) => {
            call.app.metrics.renewed(false);
            call.ok(&Renewed::from(renewed))
        }
        Answer::Refused(refusal) => {
            call.app.metrics.renewed(true);
            Err(Refused::of(*refusal, caller))
        }
        other => Err(Refused::bug(&format!("a renewal was answered with {other:?}"))),
    }
}

/// Gives a grant back, or a request up.
#[utoipa::path(
    post, path = "/v1/locks/{name}/release", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = ReleaseRequest, responses((status = 200, body = Released), (status = "default", body = Problem))
)]
pub(super) async fn release_lock(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Lock, name)?;
    let mut request: ReleaseRequest = call.read().await?;
    // A request that was made in a session is given up in it.
    let in_session = request.session.is_some() && request.lease.is_some();
    refuse_beside_path(&request.name, &request.leases, in_session)?;
    if !request.names.is_empty() {
        return Err(beside_path("names"));
    }
    match request.lease {
        Some(lease) => {
            let target = Target::Lease(lease.hash());
            release_one(&call, &caller, &request, Some(name), target).await
        }
        None => {
            request.names = vec![name];
            cancel(&call, &caller, request).await
        }
    }
}

/// Gives a grant, some of its locks, many grants or all of a session back, or a request up.
#[utoipa::path(
    post, path = "/v1/release", tag = "locks", request_body = ReleaseRequest,
    responses((status = 200, description = "Released; for many leases: results", body = Released),
        (status = "default", body = Problem))
)]
pub(super) async fn release_many(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let mut request: ReleaseRequest = call.read().await?;
    touch(&caller, request.name.iter().chain(&request.names))?;
    let gives_up = request.lease.is_none() && request.leases.is_empty();
    if gives_up && call.request_id(request.request_id.clone())?.is_some() {
        request.names.extend(request.name.take());
        return cancel(&call, &caller, request).await;
    }
    let name = request.name.clone();
    match about(&call, request.lease, &request.leases, request.session)? {
        About::Lease(lease) => {
            touch_leases(&call, &caller, &[lease]).await?;
            let target = Target::Lease(lease.hash());
            release_one(&call, &caller, &request, name, target).await
        }
        About::Session(session) => {
            release_one(&call, &caller, &request, name, Target::Session(session)).await
        }
        About::Leases(leases) => {
            touch_leases(&call, &caller, &leases).await?;
            if !request.names.is_empty() {
                return Err(Refused::beside("names", "leases"));
            }
            let command = |lease: &Lease| {
                let target = Target::Lease(lease.hash());
                let release = release(&call, &caller, &request, name.clone(), target)?;
                Ok(Command::Release(Box::new(release)))
            };
            each(&call, &leases, command).await
        }
    }
}

fn release(
    call: &Call,
    caller: &Identity,
    request: &ReleaseRequest,
    name: Option<LockName>,
    target: Target,
) -> Result<Release, Refused> {
    let named = call.request_id(request.request_id.clone())?;
    let names = request.names.clone();
    Ok(Release { caller: caller.caller(), name, target, names, request: named })
}

async fn release_one(
    call: &Call,
    caller: &Identity,
    request: &ReleaseRequest,
    name: Option<LockName>,
    target: Target,
) -> Result<Response, Refused> {
    let release = release(call, caller, request, name, target)?;
    let named = release.request.clone();
    let submitted = call.submit(Command::Release(Box::new(release))).await;
    released(call, caller, submitted.map_err(|refused| refused.of_request(named))?.answer)
}

/// Gives up a request by its id, in whatever state it is.
async fn cancel(
    call: &Call,
    caller: &Identity,
    request: ReleaseRequest,
) -> Result<Response, Refused> {
    let id = call.request_id(request.request_id)?.ok_or_else(|| Refused::missing("lease"))?;
    let session = call.session(request.session)?;
    // In a session numbered ids are unique over all names.
    if request.names.is_empty() && (session.is_none() || !caller.prefixes.is_empty()) {
        return Err(Refused::missing("name"));
    }
    let named = Some(id.clone());
    let cancel = Cancel { caller: caller.caller(), names: request.names, session, request: id };
    let submitted = call.submit(Command::Cancel(Box::new(cancel))).await;
    released(call, caller, submitted.map_err(|refused| refused.of_request(named))?.answer)
}

fn released(call: &Call, caller: &Identity, answer: Answer) -> Result<Response, Refused> {
    match answer {
        Answer::Released(released) => call.ok(&Released::from(released)),
        Answer::Refused(refusal) => {
            if matches!(*refusal, Refusal::Lost(_)) {
                call.app.metrics.release_lost();
            }
            Err(Refused::of(*refusal, caller))
        }
        other => Err(Refused::bug(&format!("a release was answered with {other:?}"))),
    }
}

/// Carries out one command for each lease, in one batch, and tells what became of each.
async fn each(
    call: &Call,
    leases: &[Lease],
    command: impl Fn(&Lease) -> Result<Command, Refused>,
) -> Result<Response, Refused> {
    let commands = leases.iter().map(command).collect::<Result<Vec<_>, _>>()?;
    let replies = call.app.log.submit_all(commands).await?;
    let outcomes = leases.iter().zip(replies);
    let results = outcomes.map(|(lease, reply)| result(call, *lease, reply.answer)).collect();
    call.ok(&Many { results })
}

fn result(call: &Call, lease: Lease, answer: Answer) -> ManyResult {
    let mut result = ManyResult {
        lease,
        released: None,
        valid_for: None,
        expires_in: None,
        recall: None,
        code: None,
        reason: None,
        by: None,
        why: None,
    };
    match answer {
        Answer::Renewed(renewed) => {
            call.app.metrics.renewed(false);
            let renewed = Renewed::from(renewed);
            result.valid_for = Some(renewed.valid_for);
            result.expires_in = Some(renewed.expires_in);
            result.recall = renewed.recall;
        }
        Answer::Released(released) => {
            result.released = Some(released.released);
        }
        Answer::Refused(refusal) => {
            result.code = Some(code_of(&refusal));
            if let Refusal::Lost(lost) = &*refusal {
                result.reason = Some(tenure_api::LostName::from(&lost.reason).as_str().to_owned());
                let force = lost.reason.force();
                result.by = force.map(|force| force.by.clone());
                result.why = force.map(|force| force.reason.clone());
            }
        }
        _ => result.code = Some(tenure_api::Code::Bug),
    }
    result
}

/// Changes the mode of a held lock.
#[utoipa::path(
    post, path = "/v1/locks/{name}/convert", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = ConvertRequest, responses((status = 200, body = Grant), (status = "default", body = Problem))
)]
pub(super) async fn convert(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Lock, name)?;
    let request: ConvertRequest = call.read().await?;
    let wait = call::within("wait", request.wait, Duration::ZERO, limits::WAIT_MAX)?;
    let hold = call::within("hold", request.hold, Duration::ZERO, HOLD_MAX)?;
    let convert = Convert {
        caller: caller.caller(),
        name,
        lease: request.lease.hash(),
        to: match request.mode {
            Mode::Exclusive => Claim::Exclusive,
            Mode::Shared => Claim::Shared,
        },
        wait: wait.unwrap_or_default(),
    };
    let _held = (!convert.wait.is_zero()).then(|| call.app.metrics.held_answer());
    let Reply { answer, outcome } = call.submit(Command::Convert(Box::new(convert))).await?;
    let taken = match (answer, outcome) {
        (Answer::Granted(granted), _) => Taken::Granted { granted, since_request: Duration::ZERO },
        (Answer::Refused(refusal), _) => Taken::Refused { refusal, waited: None },
        (Answer::Queued(place), Some(outcome)) => {
            let hold = hold.unwrap_or(call.app.settings.hold);
            hold_back(&call.app, &caller, outcome, place, hold).await?
        }
        (other, _) => return Err(Refused::bug(&format!("a convert was answered with {other:?}"))),
    };
    match taken {
        // How long the upgrade waited is not told by the grant: the promise is counted from the request.
        Taken::Granted { granted, .. } => call.ok(&Grant::of_one(*granted, Duration::ZERO)),
        Taken::Refused { refusal, waited } => Err(Refused::of(*refusal, &caller).of_wait(waited)),
    }
}

/// Whether a token is of a live grant.
#[utoipa::path(
    post, path = "/v1/locks/{name}/check", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = CheckRequest, responses((status = 200, body = CheckAnswer), (status = "default", body = Problem))
)]
pub(super) async fn check(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (_, name) = call.caller_at(Role::Read, name)?;
    let request: CheckRequest = call.read().await?;
    let checked = call.app.log.read(|machine| machine.check(&name, request.token)).await;
    let (current, latest_token) = checked?;
    call.ok(&CheckAnswer { current, latest_token })
}

/// Takes a grant over from a process that gave its lease away: new lease, higher token, never free in between.
#[utoipa::path(
    post, path = "/v1/locks/{name}/hand_over", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = HandOverRequest, responses((status = 200, body = Grant), (status = "default", body = Problem))
)]
pub(super) async fn hand_over(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Lock, name)?;
    let request: HandOverRequest = call.read().await?;
    let ttl = call::ttl(request.ttl, &caller)?;
    let life = match (call.session(request.session)?, ttl) {
        (Some(_), Some(_)) => return Err(Refused::beside("ttl", "session")),
        (Some(session), None) => Some(Life::Session(session)),
        (None, ttl) => ttl.map(Life::Own),
    };
    let named = call.request_id(request.request_id)?;
    let hand_over = HandOver {
        caller: caller.caller(),
        name: Some(name),
        lease: request.lease.hash(),
        life,
        new_lease: LeaseRecord::Plain(call::fresh_lease()?),
        request: call::request_name(&named),
    };
    let submitted = call.submit(Command::HandOver(Box::new(hand_over))).await;
    match submitted.map_err(|refused| refused.of_request(named.clone()))?.answer {
        Answer::Granted(granted) => call.ok(&Grant::of_one(*granted, Duration::ZERO)),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, &caller).of_request(named)),
        other => Err(Refused::bug(&format!("a hand-over was answered with {other:?}"))),
    }
}

/// One lease, many, or a session; exactly one of them.
fn about(
    call: &Call,
    lease: Option<Lease>,
    leases: &[Lease],
    session: Option<tenure_core::SessionHandle>,
) -> Result<About, Refused> {
    match (lease, leases.is_empty()) {
        (Some(_), false) => Err(Refused::beside("lease", "leases")),
        (Some(_), true) if session.is_some() => Err(Refused::beside("session", "lease")),
        (Some(lease), true) => Ok(About::Lease(lease)),
        (None, false) if session.is_some() => Err(Refused::beside("session", "leases")),
        (None, false) if leases.len() > limits::LOCKS_IN_REQUEST_MAX => {
            let detail = format!("`leases` has 1 to {} of them", limits::LOCKS_IN_REQUEST_MAX);
            Err(Refused::field("leases", BadReason::Range, detail))
        }
        (None, false) => Ok(About::Leases(leases.to_vec())),
        (None, true) => {
            let session = call.session(session)?.ok_or_else(|| Refused::missing("lease"))?;
            Ok(About::Session(session))
        }
    }
}

/// Refuses what has no place beside a lock in the path.
fn refuse_beside_path(
    name: &Option<LockName>,
    leases: &[Lease],
    session: bool,
) -> Result<(), Refused> {
    if name.is_some() {
        return Err(beside_path("name"));
    }
    if !leases.is_empty() {
        return Err(beside_path("leases"));
    }
    if session { Err(beside_path("session")) } else { Ok(()) }
}

fn beside_path(field: &str) -> Refused {
    let detail = format!("the lock stands in the path, so there is no `{field}`");
    Refused::field(field, BadReason::Unknown, detail)
}

fn touch<'a>(
    caller: &Identity,
    names: impl IntoIterator<Item = &'a LockName>,
) -> Result<(), Refused> {
    for name in names {
        caller.may_touch(name)?;
    }
    Ok(())
}

/// A key that is limited to some names may not use a lease of others.
async fn touch_leases(call: &Call, caller: &Identity, leases: &[Lease]) -> Result<(), Refused> {
    if caller.prefixes.is_empty() {
        return Ok(());
    }
    let hashes: Vec<[u8; 32]> = leases.iter().map(Lease::hash).collect();
    let covered = call.app.log.read(|machine| {
        let mut names = hashes.iter().flat_map(|hash| machine.names_of_lease(hash));
        names.all(|name| caller.covers(name.as_str()))
    });
    if covered.await? { Ok(()) } else { Err(Forbidden { needs: Needs::Prefix }.into()) }
}
