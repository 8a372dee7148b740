//! Every request of the library, in the words of the wire. What is asked and answered is the same whoever carries it
//! out: see [`ByLog`] and [`ByHttp`].

use std::time::Duration;

use tenure_api::{
    AcquireRequest, BreakAnswer, BreakRequest, CheckAnswer, CheckRequest, Cluster, ConvertRequest,
    DrainAnswer, DrainRequest, EndSessionRequest, Grant, HandOverRequest, Info, KeptAlive, KeyList,
    KeyRequest, KeySecret, LockView, Locks, LocksQuery, Many, OpenSessionRequest, RecallAnswer,
    RecallRequest, ReleaseRequest, Released, RenewRequest, Renewed, ResizeAnswer, ResizeRequest,
    RotateRequest, SessionEnded, SessionOpened, SessionView, Sessions, SessionsQuery, Stats,
};
use tenure_core::{KeyName, LockName, SessionHandle, SessionId};

use crate::error::Refusal;

#[cfg(feature = "log")]
pub(crate) use super::log::ByLog;
#[cfg(feature = "remote")]
pub(crate) use super::remote::ByHttp;

/// Stands in where the log is not compiled in.
#[cfg(not(feature = "log"))]
pub(crate) trait ByLog {}
#[cfg(not(feature = "log"))]
impl<C> ByLog for C {}
/// Stands in where servers are not compiled in.
#[cfg(not(feature = "remote"))]
pub(crate) trait ByHttp {}
#[cfg(not(feature = "remote"))]
impl<C> ByHttp for C {}

/// Changes a name in place, or says why it cannot be.
pub(crate) type Rename<'a> = &'a dyn Fn(&mut LockName) -> Result<(), Refusal>;
/// Changes a name in place.
pub(crate) type Shorten<'a> = &'a dyn Fn(&mut LockName);

/// What is asked, with the type of its answer.
pub(crate) trait Asks: Clone + Send + Sync + 'static {
    /// What is answered.
    type Answer: Send + 'static;

    /// Whether it only makes something last longer.
    const IS_PULSE: bool = false;

    /// How long the answer may be held back.
    fn hold(&self) -> Duration {
        Duration::ZERO
    }

    /// Asks for the answer as it is now.
    fn answer_at_once(&mut self) {}

    /// Every lock name that goes out.
    fn names(&mut self, _rename: Rename<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Every lock name that came in.
    fn answered(_answer: &mut Self::Answer, _shorten: Shorten<'_>) {}
}

/// A request that every backend can carry out.
pub(crate) trait Call: Asks + ByLog + ByHttp {}
impl<C: Asks + ByLog + ByHttp> Call for C {}

/// Take one or several locks.
#[derive(Clone, Debug)]
pub(crate) struct Acquire(pub(crate) AcquireRequest);

impl Asks for Acquire {
    type Answer = Grant;

    fn hold(&self) -> Duration {
        self.0.hold.unwrap_or_default().get()
    }

    fn answer_at_once(&mut self) {
        self.0.hold = Some(tenure_api::Seconds::ZERO);
    }

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        self.0.name.iter_mut().try_for_each(rename)?;
        self.0.locks.iter_mut().flatten().map(|wanted| &mut wanted.name).try_for_each(rename)
    }

    fn answered(grant: &mut Grant, shorten: Shorten<'_>) {
        shorten_grant(grant, shorten);
    }
}

fn shorten_grant(grant: &mut Grant, shorten: Shorten<'_>) {
    grant.name.iter_mut().for_each(shorten);
    grant.locks.iter_mut().flatten().map(|lock| &mut lock.name).for_each(shorten);
}

/// Change the mode of a held lock.
#[derive(Clone, Debug)]
pub(crate) struct Convert {
    pub(crate) name: LockName,
    pub(crate) body: ConvertRequest,
}

impl Asks for Convert {
    type Answer = Grant;

    fn hold(&self) -> Duration {
        self.body.hold.unwrap_or_default().get()
    }

    fn answer_at_once(&mut self) {
        self.body.hold = Some(tenure_api::Seconds::ZERO);
    }

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        rename(&mut self.name)
    }

    fn answered(grant: &mut Grant, shorten: Shorten<'_>) {
        shorten_grant(grant, shorten);
    }
}

/// Take a grant over under a new lease.
#[derive(Clone, Debug)]
pub(crate) struct HandOver {
    pub(crate) name: LockName,
    pub(crate) body: HandOverRequest,
}

impl Asks for HandOver {
    type Answer = Grant;

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        rename(&mut self.name)
    }

    fn answered(grant: &mut Grant, shorten: Shorten<'_>) {
        shorten_grant(grant, shorten);
    }
}

/// Have one grant longer.
#[derive(Clone, Debug)]
pub(crate) struct Renew(pub(crate) RenewRequest);

impl Asks for Renew {
    type Answer = Renewed;

    const IS_PULSE: bool = true;

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        self.0.name.iter_mut().try_for_each(rename)
    }

    fn answered(renewed: &mut Renewed, shorten: Shorten<'_>) {
        renewed.name.iter_mut().for_each(shorten);
        renewed.locks.iter_mut().flatten().map(|lock| &mut lock.name).for_each(shorten);
    }
}

/// Give one grant back, or a request up.
#[derive(Clone, Debug)]
pub(crate) struct Release(pub(crate) ReleaseRequest);

impl Asks for Release {
    type Answer = Released;

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        self.0.name.iter_mut().chain(&mut self.0.names).try_for_each(rename)
    }
}

/// Give many grants back at once.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseMany(pub(crate) ReleaseRequest);

impl Asks for ReleaseMany {
    type Answer = Many;
}

/// Begin a session.
#[derive(Clone, Debug)]
pub(crate) struct OpenSession(pub(crate) OpenSessionRequest);

impl Asks for OpenSession {
    type Answer = SessionOpened;
}

/// Keep a session alive.
#[derive(Clone, Debug)]
pub(crate) struct KeepAlive(pub(crate) SessionHandle);

impl KeepAlive {
    #[cfg(feature = "remote")]
    pub(crate) fn body(&self) -> tenure_api::KeepAliveRequest {
        tenure_api::KeepAliveRequest { session: Some(self.0) }
    }
}

impl Asks for KeepAlive {
    type Answer = KeptAlive;

    const IS_PULSE: bool = true;

    fn answered(kept: &mut KeptAlive, shorten: Shorten<'_>) {
        kept.lost.iter_mut().map(|lost| &mut lost.name).for_each(shorten);
        kept.recalled.iter_mut().map(|recalled| &mut recalled.name).for_each(shorten);
    }
}

/// End a session.
#[derive(Clone, Debug)]
pub(crate) struct EndSession {
    pub(crate) id: SessionId,
    pub(crate) body: EndSessionRequest,
}

impl Asks for EndSession {
    type Answer = SessionEnded;
}

/// Ask holders to give back soon.
#[derive(Clone, Debug)]
pub(crate) struct Recall {
    pub(crate) name: LockName,
    pub(crate) body: RecallRequest,
}

/// End a grant by force.
#[derive(Clone, Debug)]
pub(crate) struct Break {
    pub(crate) name: LockName,
    pub(crate) body: BreakRequest,
}

/// Change the size of a busy semaphore.
#[derive(Clone, Debug)]
pub(crate) struct Resize {
    pub(crate) name: LockName,
    pub(crate) body: ResizeRequest,
}

/// Judge a token.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: LockName,
    pub(crate) body: CheckRequest,
}

macro_rules! asks_about_one_lock {
    ($($call:ident => $answer:ident,)+) => {$(
        impl Asks for $call {
            type Answer = $answer;

            fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
                rename(&mut self.name)
            }
        }
    )+};
}

asks_about_one_lock!(
    Recall => RecallAnswer,
    Break => BreakAnswer,
    Resize => ResizeAnswer,
    Check => CheckAnswer,
);

/// Look at one lock.
#[derive(Clone, Debug)]
pub(crate) struct GetLock(pub(crate) LockName);

impl Asks for GetLock {
    type Answer = LockView;

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        rename(&mut self.0)
    }

    fn answered(lock: &mut LockView, shorten: Shorten<'_>) {
        shorten(&mut lock.name);
    }
}

/// Look at a page of locks. The query's prefix is a full one.
#[derive(Clone, Debug)]
pub(crate) struct ListLocks(pub(crate) LocksQuery);

impl Asks for ListLocks {
    type Answer = Locks;

    fn names(&mut self, rename: Rename<'_>) -> Result<(), Refusal> {
        self.0.after.iter_mut().try_for_each(rename)
    }

    fn answered(locks: &mut Locks, shorten: Shorten<'_>) {
        locks.next.iter_mut().for_each(shorten);
        locks.locks.iter_mut().map(|lock| &mut lock.name).for_each(shorten);
    }
}

/// Look at a page of sessions.
#[derive(Clone, Debug)]
pub(crate) struct ListSessions(pub(crate) SessionsQuery);

impl Asks for ListSessions {
    type Answer = Sessions;

    fn answered(sessions: &mut Sessions, shorten: Shorten<'_>) {
        sessions.sessions.iter_mut().for_each(|session| shorten_session(session, shorten));
    }
}

fn shorten_session(session: &mut SessionView, shorten: Shorten<'_>) {
    session.waits.iter_mut().for_each(shorten);
    session.grants.iter_mut().map(|grant| &mut grant.name).for_each(shorten);
}

/// Look at one session.
#[derive(Clone, Debug)]
pub(crate) struct GetSession(pub(crate) SessionId);

impl Asks for GetSession {
    type Answer = SessionView;

    fn answered(session: &mut SessionView, shorten: Shorten<'_>) {
        shorten_session(session, shorten);
    }
}

/// Look at the keys.
#[derive(Clone, Debug)]
pub(crate) struct ListKeys;

impl Asks for ListKeys {
    type Answer = KeyList;
}

/// Make a key.
#[derive(Clone, Debug)]
pub(crate) struct AddKey(pub(crate) KeyRequest);

impl Asks for AddKey {
    type Answer = KeySecret;
}

/// Give a key another secret.
#[derive(Clone, Debug)]
pub(crate) struct RotateKey {
    pub(crate) name: KeyName,
    pub(crate) body: RotateRequest,
}

impl Asks for RotateKey {
    type Answer = KeySecret;
}

/// Remove a key.
#[derive(Clone, Debug)]
pub(crate) struct RemoveKey(pub(crate) KeyName);

impl Asks for RemoveKey {
    type Answer = ();
}

/// Look at the counts.
#[derive(Clone, Debug)]
pub(crate) struct GetStats;

impl Asks for GetStats {
    type Answer = Stats;

    fn answered(stats: &mut Stats, shorten: Shorten<'_>) {
        stats.top.iter_mut().map(|lock| &mut lock.name).for_each(shorten);
    }
}

/// Look at the service itself.
#[derive(Clone, Debug)]
pub(crate) struct GetInfo;

impl Asks for GetInfo {
    type Answer = Info;
}

/// Look at the nodes.
#[derive(Clone, Debug)]
pub(crate) struct GetCluster;

impl Asks for GetCluster {
    type Answer = Cluster;
}

/// Whether requests are served.
#[derive(Clone, Debug)]
pub(crate) struct GetReady;

impl Asks for GetReady {
    type Answer = ();
}

/// Let a server's clients go elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Drain(pub(crate) DrainRequest);

impl Asks for Drain {
    type Answer = DrainAnswer;
}
