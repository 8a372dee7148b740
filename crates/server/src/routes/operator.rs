//! What operators do to the grants of others. Each act is in the feed with the key's name, and the feed is what the log
//! lines are made of; what ended a grant is in the lock's history, too.

use std::time::Duration;

use axum::response::Response;
use tenure_api::{
    BreakAnswer, BreakRequest, Problem, RecallAnswer, RecallRequest, ResizeAnswer, ResizeRequest,
};
use tenure_core::{Answer, Break, Command, Recalling, Resize, Role, limits};
use tenure_log::Reply;

use super::acquire::permits;
use super::call::{self, Call};
use crate::error::Refused;

/// Asks holders to give back soon. Takes nothing by force.
#[utoipa::path(
    post, path = "/v1/locks/{name}/recall", tag = "operator", params(("name" = String, Path, description = "The lock")),
    request_body = RecallRequest, responses((status = 200, body = RecallAnswer), (status = "default", body = Problem))
)]
pub(super) async fn recall(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Operator, name)?;
    let request: RecallRequest = call.read().await?;
    if request.reason.as_str().is_empty() {
        return Err(Refused::missing("reason"));
    }
    let within = call::within("within", Some(request.within), Duration::ZERO, limits::TTL_MAX)?;
    let recalling = Recalling {
        caller: caller.caller(),
        name,
        within: within.unwrap_or_default(),
        reason: request.reason,
        token: request.token,
    };
    let Reply { answer, .. } = call.submit(Command::Recall(Box::new(recalling))).await?;
    match answer {
        Answer::Recalled { asked } => call.ok(&RecallAnswer { asked }),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, &caller)),
        other => Err(Refused::bug(&format!("a recall was answered with {other:?}"))),
    }
}

/// Ends a grant by force.
#[utoipa::path(
    post, path = "/v1/locks/{name}/break", tag = "operator", params(("name" = String, Path, description = "The lock")),
    request_body = BreakRequest, responses((status = 200, body = BreakAnswer), (status = "default", body = Problem))
)]
pub(super) async fn break_grant(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Operator, name)?;
    let request: BreakRequest = call.read().await?;
    let token = match (request.token, request.any.unwrap_or(false)) {
        (Some(_), true) => return Err(Refused::beside("any", "token")),
        (None, false) => return Err(Refused::missing("token")),
        (token, _) => token,
    };
    let breaking = Break {
        caller: caller.caller(),
        reach: caller.reach(),
        name,
        reason: request.reason,
        token,
    };
    let Reply { answer, .. } = call.submit(Command::Break(Box::new(breaking))).await?;
    match answer {
        Answer::Broken { broken, next_granted } => call.ok(&BreakAnswer { broken, next_granted }),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, &caller).of_break(token)),
        other => Err(Refused::bug(&format!("a break was answered with {other:?}"))),
    }
}

/// Changes the size of a busy semaphore until it is idle.
#[utoipa::path(
    post, path = "/v1/locks/{name}/resize", tag = "operator", params(("name" = String, Path, description = "The lock")),
    request_body = ResizeRequest, responses((status = 200, body = ResizeAnswer), (status = "default", body = Problem))
)]
pub(super) async fn resize(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Operator, name)?;
    let request: ResizeRequest = call.read().await?;
    let permits = permits("permits", request.permits)?;
    let resize = Resize { caller: caller.caller(), name, permits };
    let Reply { answer, .. } = call.submit(Command::Resize(Box::new(resize))).await?;
    match answer {
        Answer::Resized { permits, granted } => call.ok(&ResizeAnswer { permits, granted }),
        Answer::Refused(refusal) => Err(Refused::of(*refusal, &caller)),
        other => Err(Refused::bug(&format!("a resize was answered with {other:?}"))),
    }
}
