//! How an embedded log carries out each call.

use std::future::Future;
use std::time::Duration;

use tenure_api::{
    BreakAnswer, CheckAnswer, Code, Info, InfoKey, KeptAlive, LockView, Many, ManyResult,
    RecallAnswer, ReleaseRequest, Released, RenewRequest, Renewed, ResizeAnswer, RoleName, Seconds,
    SessionEnded, SessionOpened, SessionView,
};
use tenure_core::{
    Answer, Command, EndedBy, Lease, Permits, Reach, Recalling, Release, Renew, RequestName, Target,
};

use super::{LogBackend, no_capabilities, not_supported, unexpected, view};
use crate::backend::call::{self, Asks};
use crate::backend::{Denied, Failure};
use crate::dice;
use crate::error::Refusal;

/// Life of a session for which nobody said how long.
const SESSION_TTL_DEFAULT: Duration = Duration::from_secs(30);

/// A call that a log in this process can carry out.
pub(crate) trait ByLog: Asks {
    /// Carries it out once.
    fn by_log(self, log: &LogBackend)
    -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

macro_rules! by_log {
    ($($call:ident: |$this:ident, $log:ident| $work:expr;)+) => {$(
        impl ByLog for call::$call {
            async fn by_log(self, $log: &LogBackend) -> Result<Self::Answer, Failure> {
                let $this = self;
                $work
            }
        }
    )+};
}

by_log! {
    Acquire: |c, log| log.acquire(c.0).await;
    Convert: |c, log| log.convert(c).await;
    HandOver: |c, log| log.hand_over(c).await;
    Renew: |c, log| log.renew(c.0).await;
    Release: |c, log| log.release(c.0).await;
    ReleaseMany: |c, log| log.release_many(c.0).await;
    OpenSession: |c, log| log.open_session(c).await;
    KeepAlive: |c, log| log.keep_alive(c).await;
    EndSession: |c, log| log.end_session(c).await;
    Recall: |c, log| log.recall(c).await;
    Break: |c, log| log.break_grant(c).await;
    Resize: |c, log| log.resize(c).await;
    Check: |c, log| {
        let (current, latest_token) = log.read(|machine| machine.check(&c.name, c.body.token)).await?;
        Ok(CheckAnswer { current, latest_token })
    };
    // A cursor is taken before the read: a feed from there may repeat what is shown, but misses nothing.
    GetLock: |c, log| {
        let cursor = Some(log.log.cursor().to_string());
        let lock = log.read(|machine| machine.lock(&c.0)).await?;
        Ok(LockView { cursor, ..lock.into() })
    };
    ListLocks: |c, log| {
        let cursor = log.log.cursor();
        log.read(|machine| view::locks(machine, &c.0, cursor)).await
    };
    ListSessions: |c, log| {
        let (cursor, node) = (log.log.cursor(), log.log.status().node);
        log.read(|machine| view::sessions(machine, node, &c.0, cursor)).await
    };
    GetSession: |c, log| {
        let node = log.log.status().node;
        let found = log.read(|machine| machine.session(c.0)).await?;
        let absent = || Failure::Refused(Refusal::new(Code::NotFound, "there is no such session"));
        found.map(|session| SessionView::of(session, node)).ok_or_else(absent)
    };
    GetStats: |_c, log| log.read(view::stats).await;
    GetInfo: |_c, log| Ok(log.info());
    GetReady: |_c, log| {
        let status = log.log.status();
        let reason = status.reason.map_or_else(|| "not ready".to_owned(), |r| r.to_string());
        let not_ready = Failure::Unavailable { retry_after: super::RETRY_AFTER, why: reason };
        if status.ready { Ok(()) } else { Err(not_ready) }
    };
    ListKeys: |_c, _log| not_supported("keys");
    AddKey: |_c, _log| not_supported("keys");
    RotateKey: |_c, _log| not_supported("keys");
    RemoveKey: |_c, _log| not_supported("keys");
    GetCluster: |_c, _log| not_supported("cluster");
    Drain: |_c, _log| not_supported("drain");
}

impl LogBackend {
    pub(super) async fn read<T>(
        &self,
        view: impl FnOnce(&tenure_core::Machine) -> T + Send,
    ) -> Result<T, Failure> {
        self.log.read(view).await.map_err(super::not_submitted)
    }

    async fn renew(&self, asked: RenewRequest) -> Result<Renewed, Failure> {
        let renew = Renew {
            caller: self.caller.clone(),
            name: asked.name,
            target: target(asked.lease, asked.session)?,
            ttl: asked.ttl.map(Seconds::get),
            note: asked.note,
        };
        match self.submit(Command::Renew(Box::new(renew))).await?.answer {
            Answer::Renewed(renewed) => Ok(renewed.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn release(&self, asked: ReleaseRequest) -> Result<Released, Failure> {
        let command = match (asked.request_id, asked.lease) {
            (Some(request), None) => {
                let mut names = asked.names;
                names.extend(asked.name);
                let (caller, session) = (self.caller.clone(), asked.session);
                Command::Cancel(Box::new(tenure_core::Cancel { caller, names, session, request }))
            }
            (request, lease) => {
                let caller = self.caller.clone();
                let target = target(lease, asked.session)?;
                let (name, names) = (asked.name, asked.names);
                Command::Release(Box::new(Release { caller, name, target, names, request }))
            }
        };
        match self.submit(command).await?.answer {
            Answer::Released(released) => Ok(released.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn release_many(&self, asked: ReleaseRequest) -> Result<Many, Failure> {
        let one = |lease: Lease| async move {
            let body = ReleaseRequest { lease: Some(lease), ..ReleaseRequest::default() };
            let answer = self.release(body).await;
            ManyResult {
                lease,
                released: answer.as_ref().ok().map(|released| released.released),
                valid_for: None,
                expires_in: None,
                recall: None,
                code: answer.err().map(|failure| code(&failure)),
                reason: None,
                by: None,
                why: None,
            }
        };
        // The log writes what arrives together together.
        let results = futures::future::join_all(asked.leases.into_iter().map(one)).await;
        Ok(Many { results })
    }

    async fn open_session(&self, call: call::OpenSession) -> Result<SessionOpened, Failure> {
        let open = tenure_core::OpenSession {
            caller: self.caller.clone(),
            ttl: call.0.ttl.map_or(SESSION_TTL_DEFAULT, Seconds::get),
            note: call.0.note,
            request: call.0.request_id.map_or(RequestName::Unnamed, RequestName::Client),
            secret: dice::session_secret(),
        };
        match self.submit(Command::OpenSession(Box::new(open))).await?.answer {
            Answer::Opened(opened) => Ok(opened.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn keep_alive(&self, call: call::KeepAlive) -> Result<KeptAlive, Failure> {
        match self.submit(Command::KeepAlive { session: call.0 }).await?.answer {
            Answer::KeptAlive(kept) => Ok(kept.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn end_session(&self, call: call::EndSession) -> Result<SessionEnded, Failure> {
        let by = match (call.body.session, call.body.reason) {
            (Some(handle), _) => EndedBy::Itself(handle.secret),
            (None, Some(reason)) => EndedBy::Operator { reason, reach: Reach::All },
            (None, None) => return Err(missing("reason")),
        };
        let end = tenure_core::EndSession { caller: self.caller.clone(), id: call.id, by };
        match self.submit(Command::EndSession(Box::new(end))).await?.answer {
            Answer::SessionEnded(ended) => Ok(ended.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn recall(&self, call: call::Recall) -> Result<RecallAnswer, Failure> {
        let recall = Recalling {
            caller: self.caller.clone(),
            name: call.name,
            within: call.body.within.get(),
            reason: call.body.reason,
            token: call.body.token,
        };
        match self.submit(Command::Recall(Box::new(recall))).await?.answer {
            Answer::Recalled { asked } => Ok(RecallAnswer { asked }),
            other => Err(unexpected(&other)),
        }
    }

    async fn break_grant(&self, call: call::Break) -> Result<BreakAnswer, Failure> {
        if call.body.token.is_some() == call.body.any.unwrap_or(false) {
            return Err(missing("token"));
        }
        let end = tenure_core::Break {
            caller: self.caller.clone(),
            reach: Reach::All,
            name: call.name,
            reason: call.body.reason,
            token: call.body.token,
        };
        match self.submit(Command::Break(Box::new(end))).await?.answer {
            Answer::Broken { broken, next_granted } => Ok(BreakAnswer { broken, next_granted }),
            other => Err(unexpected(&other)),
        }
    }

    async fn resize(&self, call: call::Resize) -> Result<ResizeAnswer, Failure> {
        let wrong = || Failure::Refused(Refusal::field("permits", "must be 1 to 2³¹"));
        let resize = tenure_core::Resize {
            caller: self.caller.clone(),
            name: call.name,
            permits: Permits::new(call.body.permits).ok_or_else(wrong)?,
        };
        match self.submit(Command::Resize(Box::new(resize))).await?.answer {
            Answer::Resized { permits, granted } => Ok(ResizeAnswer { permits, granted }),
            other => Err(unexpected(&other)),
        }
    }

    fn info(&self) -> Info {
        let status = self.log.status();
        Info {
            key: InfoKey {
                name: self.caller.key.clone(),
                roles: vec![RoleName::Read, RoleName::Lock, RoleName::Operator],
                prefixes: Vec::new(),
            },
            name: "embedded".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            node: status.node,
            backend: "log".into(),
            store: None,
            durability: status.durability.as_str().into(),
            features: Vec::new(),
            capabilities: no_capabilities(),
            limits: Default::default(),
        }
    }
}

fn target(
    lease: Option<Lease>,
    session: Option<tenure_core::SessionHandle>,
) -> Result<Target, Failure> {
    match (lease, session) {
        (Some(lease), _) => Ok(Target::Lease(lease.hash())),
        (None, Some(session)) => Ok(Target::Session(session)),
        (None, None) => Err(missing("lease")),
    }
}

fn missing(field: &str) -> Failure {
    Failure::Refused(Refusal::field(field, "is missing"))
}

fn code(failure: &Failure) -> Code {
    match failure {
        Failure::Denied(denied) => match **denied {
            Denied::Lost(_) => Code::Lost,
            _ => Code::Other,
        },
        Failure::Refused(refusal) => refusal.code,
        Failure::Unavailable { .. } => Code::Unavailable,
        Failure::Unknown(_) => Code::Unknown,
        Failure::NotSupported(_) => Code::NotSupported,
        Failure::NotUnderstood(_) => Code::Other,
    }
}
