//! Taking, converting and handing over locks in an embedded log.

use std::time::Duration;

use tenure_api::{AcquireRequest, Grant, Mode, Seconds};
use tenure_core::{
    Acquire, Answer, Claim, Command, Convert, Granted, HandOver, Life, LockName, Permits, Queued,
    RequestId, RequestName, SessionHandle, Settled, Want, Weight,
};

use super::{LogBackend, place_refused, unexpected};
use crate::backend::{Failure, call};
use crate::dice;
use crate::error::Refusal;

/// Life of a grant for which nobody said how long.
const TTL_DEFAULT: Duration = Duration::from_secs(30);

impl LogBackend {
    pub(super) async fn acquire(&self, asked: AcquireRequest) -> Result<Grant, Failure> {
        let is_many = asked.locks.is_some();
        let acquire = Acquire {
            caller: self.caller.clone(),
            wants: wants(&asked).map_err(Failure::Refused)?,
            life: life(asked.session, asked.ttl)
                .map_err(Failure::Refused)?
                .unwrap_or(Life::Own(TTL_DEFAULT)),
            wait: asked.wait.unwrap_or_default().get(),
            owner: asked.owner,
            reentrant: asked.reentrant.unwrap_or(false),
            lock_delay: asked.lock_delay.unwrap_or_default().get(),
            at_least: asked.at_least.unwrap_or_default().get(),
            note: asked.note,
            request: request_name(asked.request_id),
            lease: dice::lease(),
        };
        let command = Command::Acquire(Box::new(acquire));
        let (granted, held_back) = self.granted(command).await?;
        Ok(match is_many {
            true => Grant::of_many(granted, held_back),
            false => Grant::of_one(granted, held_back),
        })
    }

    pub(super) async fn convert(&self, call: call::Convert) -> Result<Grant, Failure> {
        let body = call.body;
        let convert = Convert {
            caller: self.caller.clone(),
            name: call.name,
            lease: body.lease.hash(),
            to: match body.mode {
                Mode::Exclusive => Claim::Exclusive,
                Mode::Shared => Claim::Shared,
            },
            wait: body.wait.unwrap_or_default().get(),
        };
        let command = Command::Convert(Box::new(convert));
        self.granted(command).await.map(|(granted, held_back)| Grant::of_one(granted, held_back))
    }

    pub(super) async fn hand_over(&self, call: call::HandOver) -> Result<Grant, Failure> {
        let body = call.body;
        let hand_over = HandOver {
            caller: self.caller.clone(),
            name: Some(call.name),
            lease: body.lease.hash(),
            life: life(body.session, body.ttl).map_err(Failure::Refused)?,
            new_lease: dice::lease(),
            request: request_name(body.request_id),
        };
        let command = Command::HandOver(Box::new(hand_over));
        self.granted(command).await.map(|(granted, held_back)| Grant::of_one(granted, held_back))
    }

    /// The grant, waited for if need be, and for how long this answer was held back. Dropping the future leaves the
    /// queue.
    async fn granted(&self, command: Command) -> Result<(Granted, Duration), Failure> {
        let reply = self.submit(command).await?;
        let queued: Queued = match reply.answer {
            Answer::Granted(granted) => return Ok((*granted, Duration::ZERO)),
            Answer::Queued(queued) => queued,
            other => return Err(unexpected(&other)),
        };
        let Some(outcome) = reply.outcome else {
            return Err(Failure::Unknown("the log forgot a place in a queue".into()));
        };
        match outcome.await {
            Ok(Settled::Granted(granted)) => {
                let held_back = granted.waited.saturating_sub(queued.waited);
                Ok((*granted, held_back))
            }
            Ok(Settled::Refused(refusal)) => Err(place_refused(*refusal)),
            Err(superseded) => Err(Failure::Unknown(superseded.to_string())),
        }
    }
}

fn request_name(id: Option<RequestId>) -> RequestName {
    id.map_or(RequestName::Unnamed, RequestName::Client)
}

fn life(session: Option<SessionHandle>, ttl: Option<Seconds>) -> Result<Option<Life>, Refusal> {
    match (session, ttl) {
        (Some(_), Some(_)) => Err(Refusal::field("ttl", "and `session` exclude each other")),
        (Some(session), None) => Ok(Some(Life::Session(session))),
        (None, Some(ttl)) => Ok(Some(Life::Own(ttl.get()))),
        (None, None) => Ok(None),
    }
}

fn wants(asked: &AcquireRequest) -> Result<Vec<Want>, Refusal> {
    let want = |name: &LockName, mode, permits, weight| {
        let claim = claim(mode, permits, weight)?;
        Ok(Want { name: name.clone(), claim })
    };
    match (&asked.name, &asked.locks) {
        (Some(name), None) => Ok(vec![want(name, asked.mode, asked.permits, asked.weight)?]),
        (None, Some(locks)) => {
            locks.iter().map(|l| want(&l.name, l.mode, l.permits, l.weight)).collect()
        }
        _ => Err(Refusal::field("name", "or `locks`: one of them is needed")),
    }
}

fn claim(mode: Option<Mode>, permits: Option<u32>, weight: Option<u32>) -> Result<Claim, Refusal> {
    match (mode, permits, weight) {
        (mode, None, None) => Ok(match mode {
            Some(Mode::Shared) => Claim::Shared,
            Some(Mode::Exclusive) | None => Claim::Exclusive,
        }),
        (Some(_), _, _) => Err(Refusal::field("mode", "excludes permits and weight")),
        (None, permits, weight) => {
            let permits = permits.and_then(Permits::new);
            let permits = permits.ok_or_else(|| Refusal::field("permits", "must be 1 to 2³¹"))?;
            let weight = Weight::new(weight.unwrap_or(1));
            let claim = weight.and_then(|weight| Claim::permits(permits, weight));
            claim.ok_or_else(|| Refusal::field("weight", "must be 1 to `permits`"))
        }
    }
}
