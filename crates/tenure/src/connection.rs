//! One backend as this program uses it: names with their prefix, retries, the session, and what is given back in the
//! background.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tenure_api::{ChangeEvent, Code, EndSessionRequest, OpenSessionRequest, Seconds};
use tenure_core::{Note, RequestId, SessionHandle};
use tokio::sync::{Mutex, mpsc};

use crate::backend::call::{Call, EndSession, OpenSession, Release};
use crate::backend::{Backend, Denied, Failure, Namespace, SessionEvent, Told};
use crate::clock::{Moment, sleep_until};
use crate::dice;
use crate::error::{Error, Refusal, SessionEnd};
use crate::retry;
use crate::returns::{self, GivenUp, Return};
use crate::session::{self, Session};

/// Longest time a closing connection takes to give everything back.
pub(crate) const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Requests with an unknown outcome that are remembered; of more, the oldest is forgotten.
const UNSETTLED_MAX: usize = 1024;

/// How a connection behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// How long the session lives without a keep-alive.
    pub(crate) session_ttl: Duration,
    /// Who this program is, for others.
    pub(crate) note: Option<Note>,
    /// How long a backend that cannot be reached is tried.
    pub(crate) patience: Duration,
}

/// A backend in use.
pub(crate) struct Connection {
    backend: Backend,
    namespace: Namespace,
    pub(crate) manners: Manners,
    session: Mutex<Option<Arc<Session>>>,
    returns: mpsc::UnboundedSender<Return>,
    /// Requests whose outcome was not known when their callers were answered, oldest first.
    unsettled: parking_lot::Mutex<VecDeque<GivenUp>>,
    is_closed: AtomicBool,
    #[cfg(feature = "testing")]
    pub(crate) faults: Arc<crate::testing::Faults>,
}

impl Connection {
    /// Begins to use a backend; on the library's own thread.
    pub(crate) fn start(backend: Backend, namespace: Namespace, manners: Manners) -> Arc<Self> {
        let (returns, received) = mpsc::unbounded_channel();
        let connection = Arc::new(Connection {
            backend,
            namespace,
            manners,
            session: Mutex::new(None),
            returns,
            unsettled: parking_lot::Mutex::default(),
            is_closed: AtomicBool::new(false),
            #[cfg(feature = "testing")]
            faults: Arc::default(),
        });
        tokio::spawn(returns::give_back(connection.clone(), received));
        connection
    }

    /// Carries out a call once.
    pub(crate) async fn call<C: Call>(&self, mut call: C) -> Result<C::Answer, Failure> {
        let rename = |name: &mut _| {
            *name = self.namespace.full(name)?;
            Ok(())
        };
        call.names(&rename).map_err(Failure::Refused)?;
        let answer = self.call_backend(call).await;
        let shorten = |name: &mut tenure_core::LockName| *name = self.namespace.short(name.clone());
        match answer {
            Ok(mut answer) => {
                C::answered(&mut answer, &shorten);
                Ok(answer)
            }
            Err(failure) => Err(self.shortened(failure)),
        }
    }

    #[cfg(not(feature = "testing"))]
    async fn call_backend<C: Call>(&self, call: C) -> Result<C::Answer, Failure> {
        self.backend.call(call).await
    }

    #[cfg(feature = "testing")]
    async fn call_backend<C: Call>(&self, call: C) -> Result<C::Answer, Failure> {
        self.faults.before::<C>().await?;
        let answer = self.backend.call(call).await;
        self.faults.after::<C>()?;
        answer
    }

    /// Repeats a call that changes nothing, or nothing more when repeated, while patience lasts. The caller may repeat
    /// it as well, so that an unknown outcome is no worse than none.
    pub(crate) async fn insist<C: Call>(&self, call: C) -> Result<C::Answer, Error> {
        self.insist_while(call, |_| true).await.map_err(Error::from_repeatable)
    }

    /// Repeats a call only where it certainly did not happen.
    pub(crate) async fn insist_if_undone<C: Call>(&self, call: C) -> Result<C::Answer, Error> {
        let is_undone = |failure: &Failure| failure.is_passing().is_some_and(|may| !may.0);
        self.insist_while(call, is_undone).await
    }

    async fn insist_while<C: Call>(
        &self,
        call: C,
        may_repeat: impl Fn(&Failure) -> bool,
    ) -> Result<C::Answer, Error> {
        let give_up = Moment::now() + self.manners.patience;
        let mut failures = 0;
        loop {
            self.check_open()?;
            let failure = match self.call(call.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failures += 1;
            let pause = retry::pause(failures, failure.retry_after(), dice::die());
            let is_passing = failure.is_passing().is_some() && may_repeat(&failure);
            if !is_passing || Moment::now() + pause >= give_up {
                return Err(failure.into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A call about a grant while the grant lasts: it is pointless after that, and before it is worth to go on.
    pub(crate) async fn insist_until<C: Call>(
        &self,
        call: C,
        over: impl Future<Output = ()>,
    ) -> Option<Result<C::Answer, Failure>> {
        let repeat = async {
            let mut failures = 0;
            loop {
                let failure = match self.call(call.clone()).await {
                    Err(failure) if failure.is_passing().is_some() => failure,
                    settled => return settled,
                };
                failures += 1;
                tokio::time::sleep(retry::pause(failures, failure.retry_after(), dice::die()))
                    .await;
            }
        };
        tokio::select! {
            settled = repeat => Some(settled),
            () = over => None,
        }
    }

    fn shortened(&self, mut failure: Failure) -> Failure {
        let Failure::Denied(denied) = &mut failure else { return failure };
        match &mut **denied {
            Denied::Held(held) | Denied::TimedOut(held) => {
                for name in &mut held.blocked_by {
                    *name = self.namespace.short(name.clone());
                }
            }
            Denied::Deadlock(cycle) => {
                for member in &mut cycle.members {
                    member.name = self.namespace.short_text(&member.name);
                    member.waits_for = self.namespace.short_text(&member.waits_for);
                }
            }
            _ => {}
        }
        failure
    }

    /// The session, opened if there is none that lives.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Arc<Session>, Error> {
        self.check_open()?;
        // Counted from here, so that many who need it at once do not wait for each other's patience in turn.
        let give_up = Moment::now() + self.manners.patience;
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| session.ended().is_none()) {
            return Ok(session.clone());
        }
        let session = self.open_session_until(self.manners.session_ttl, give_up).await?;
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Opens a session and keeps it.
    pub(crate) async fn open_session(
        self: &Arc<Self>,
        ttl: Duration,
    ) -> Result<Arc<Session>, Error> {
        self.open_session_until(ttl, Moment::now() + self.manners.patience).await
    }

    async fn open_session_until(
        self: &Arc<Self>,
        ttl: Duration,
        give_up: Moment,
    ) -> Result<Arc<Session>, Error> {
        let call = OpenSession(OpenSessionRequest {
            ttl: Some(Seconds(ttl)),
            note: self.manners.note.clone(),
            request_id: Some(dice::request_id()),
        });
        let mut failures = 0;
        loop {
            self.check_open()?;
            let sent = Moment::now();
            let failure = match self.call(call.clone()).await {
                Ok(opened) => {
                    let session = Arc::new(Session::new(&opened, sent));
                    tokio::spawn(session::keep(self.clone(), session.clone()));
                    return Ok(session);
                }
                Err(failure) => failure,
            };
            failures += 1;
            let pause = retry::pause(failures, failure.retry_after(), dice::die());
            if failure.is_passing().is_none() || Moment::now() + pause >= give_up {
                // A session that was opened and not answered holds nothing and ends by itself.
                return Err(Error::from_repeatable(failure.into()));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends a session; what it held is lost from now on, whatever is answered.
    pub(crate) async fn end_session(&self, session: &Session) -> Result<(), Error> {
        session.end(SessionEnd::Closed);
        let handle = session.handle;
        let body = EndSessionRequest { session: Some(handle), reason: None };
        match self.insist(EndSession { id: handle.id, body }).await {
            Ok(_) | Err(Error::SessionEnded(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::SessionEnded(SessionEnd::Closed));
        }
        Ok(())
    }

    /// Gives something back in the background. Never blocks.
    pub(crate) fn give_back(&self, what: Return) {
        // Nobody receives any more only when the connection is gone, and the session with it.
        let _gone = self.returns.send(what);
    }

    /// Remembers a request whose caller was told that nobody knows what became of it.
    pub(crate) fn remember_unsettled(&self, request: GivenUp) {
        let mut unsettled = self.unsettled.lock();
        if unsettled.len() == UNSETTLED_MAX {
            unsettled.pop_front();
        }
        unsettled.push_back(request);
    }

    /// Gives such a request up and waits for the answer. Numbers of requests begin anew with each session, so it is
    /// given up in the session it was made in and nowhere else.
    pub(crate) async fn forget(&self, request: &RequestId) -> Result<(), Error> {
        let is_it = |unsettled: &&GivenUp| unsettled.request == *request;
        let found: Vec<GivenUp> = self.unsettled.lock().iter().filter(is_it).cloned().collect();
        if found.is_empty() {
            return Err(Refusal::new(Code::NotFound, "no such request is unsettled").into());
        }
        for unsettled in found {
            match self.insist(Release(unsettled.body())).await {
                Ok(_) | Err(Error::SessionEnded(_)) => {}
                Err(Error::Refused(refusal)) if refusal.code == Code::RequestFinished => {}
                Err(other) => return Err(other),
            }
        }
        self.unsettled.lock().retain(|unsettled| unsettled.request != *request);
        Ok(())
    }

    /// Gives everything back that is due, ends the session and stops the backend. Bounded by [`FAREWELL_MAX`].
    pub(crate) async fn farewell(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let deadline = Moment::now() + FAREWELL_MAX;
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.give_back(Return::Everything(done));
        let in_time = |work| async move {
            tokio::select! {
                result = work => result,
                () = sleep_until(deadline) => Err(Error::Unavailable {
                    retry_after: Duration::ZERO,
                    why: format!("not given back within {} s", FAREWELL_MAX.as_secs()),
                }),
            }
        };
        let given = in_time(is_done.map(|_| Ok(())).boxed()).await;
        let session = self.session.lock().await.take();
        let ended = match &session {
            Some(session) if session.ended().is_none() => {
                in_time(self.end_session(session).boxed()).await
            }
            _ => Ok(()),
        };
        self.is_closed.store(true, Ordering::Release);
        self.backend.stop().await;
        given.and(ended)
    }

    pub(crate) fn session_events(
        &self,
        session: SessionHandle,
    ) -> BoxStream<'static, SessionEvent> {
        let namespace = self.namespace.clone();
        let events = self.backend.session_events(session);
        let shorten = move |event| match event {
            SessionEvent::Lost(mut lost) => {
                lost.name = namespace.short(lost.name);
                SessionEvent::Lost(lost)
            }
            SessionEvent::Recalled(mut recalled) => {
                recalled.name = namespace.short(recalled.name);
                SessionEvent::Recalled(recalled)
            }
            ended @ SessionEvent::Ended(_) => ended,
        };
        events.map(shorten).boxed()
    }

    /// Changes of names that begin with `prefix`, until the connection breaks.
    pub(crate) fn changes(
        &self,
        prefix: &str,
        after: Option<String>,
    ) -> Result<BoxStream<'static, Result<Told, Failure>>, Refusal> {
        let namespace = self.namespace.clone();
        let told = self.backend.changes(&namespace.full_prefix(prefix)?, after);
        let shorten = move |told| match told {
            Told::Change(cursor, mut change) => {
                let ChangeEvent::Lock { name, .. } = &mut change;
                *name = namespace.short(name.clone());
                Told::Change(cursor, change)
            }
            resync @ Told::Resync(_) => resync,
        };
        Ok(told.map(move |told| told.map(&shorten)).boxed())
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
