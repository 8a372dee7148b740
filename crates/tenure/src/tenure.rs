//! The connection in the user's hands.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_api::{LockView, Locks, LocksQuery};
use tenure_core::{LockName, Note, Permits, RequestId};
use tokio::sync::oneshot;

use crate::admin::Admin;
use crate::asking;
use crate::backend::call::{GetLock, ListLocks};
use crate::changes::Changes;
use crate::connect::Connect;
use crate::connection::Connection;
use crate::election::Election;
use crate::error::{ConnectError, Error, GrantError, Refusal, SessionEnd};
use crate::grant::{Grant, GrantHandle};
use crate::liveness::Session;
use crate::once::Once;
use crate::owner::Owner;
use crate::raw::Raw;
use crate::request::{Request, Wanted};
use crate::text::IntoText;
use crate::thread::{Farewell, OwnThread, Running};

/// Locks in one place: a log in this process or a server.
///
/// All clones share one session, which is opened with the first lock and kept alive on a thread of the library's own.
/// When the last clone and the last [`Grant`] are gone, the session is ended in the background; [`Tenure::close`]
/// waits for that.
#[derive(Clone)]
pub struct Tenure {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Tenure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenure(…)")
    }
}

impl Tenure {
    /// Opens a backend by its URL:
    ///
    /// - `memory:`: a log in this process that ends with it, for tests and single programs;
    /// - `file:PATH`: a log in a directory, for one process at a time;
    /// - `http://…`, `https://…`: a Tenure server; several with commas between them are tried in turn.
    ///
    /// `?prefix=staging/` puts that before every name. The API key comes from the environment or the configuration
    /// (see [`config`](crate::config)); [`Tenure::at`] takes it and everything else.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::at(url).connect().await
    }

    /// Opens a backend with settings of your own.
    pub fn at(url: &str) -> Connect {
        Connect::new(url)
    }

    /// A lock: exclusive unless [`Request::shared`] is said.
    pub fn lock(&self, name: impl IntoText<LockName>) -> Request<'_> {
        Request::new(self, [Wanted::exclusive(name)])
    }

    /// A lock that several may hold, `permits` in all. A request takes one permit unless [`Request::weight`] is said.
    pub fn semaphore(&self, name: impl IntoText<LockName>, permits: Permits) -> Request<'_> {
        Request::new(self, [Wanted::permits(name, permits)])
    }

    /// Several locks, all or nothing, as one grant: whoever waits for all holds none meanwhile. 1 to 256.
    pub fn locks<W: Into<Wanted>>(&self, wanted: impl IntoIterator<Item = W>) -> Request<'_> {
        Request::new(self, wanted.into_iter().map(Into::into))
    }

    /// One flow of control that takes several locks one after the other. Name it on each request
    /// ([`Request::owner`]), and a deadlock between owners is refused instead of waited for. The label is for people.
    pub fn owner(&self, label: &str) -> Owner {
        Owner::new(label)
    }

    /// Something done once per `every`, whoever tries: not again before nine tenths of it have passed ([`Once`]).
    pub fn once(&self, name: impl IntoText<LockName>, every: Duration) -> Once<'_> {
        Once::new(self, name.into_text(), every)
    }

    /// An election: whoever has the lock leads, and its note is what it has to say.
    pub fn election(&self, name: impl IntoText<LockName>) -> Election {
        Election::new(self.clone(), name.into_text())
    }

    /// The change feed.
    pub fn changes(&self) -> Changes {
        Changes::new(self.clone())
    }

    /// Who has a lock, who waits for it, and what became of it lately.
    pub async fn why(&self, name: impl IntoText<LockName>) -> Result<LockView, Error> {
        let name = name.into_text().map_err(|why| Refusal::text("name", &why))?;
        self.shared.insist(GetLock(name)).await
    }

    /// A page of locks whose names begin with `prefix`. The query's own prefix is not used.
    pub async fn list(&self, prefix: &str, query: LocksQuery) -> Result<Locks, Error> {
        let full = self.shared.connection.namespace().full_prefix(prefix)?;
        self.shared.insist(ListLocks(LocksQuery { prefix: Some(full), ..query })).await
    }

    /// Takes over a grant that another process left with [`Grant::into_handle`]: a new lease and a higher token,
    /// without the lock being free in between. The grant lives with this session from now on. Connect with the same
    /// URL, prefix included.
    pub async fn resume(&self, handle: GrantHandle) -> Result<Grant, GrantError> {
        let shared = self.shared.clone();
        self.shared.run(asking::resume(shared, handle)).await?
    }

    /// A session of its own, with a life of its own: what hangs on it is free when it ends.
    pub async fn session(&self, ttl: Duration) -> Result<Session, Error> {
        Session::open(self, ttl).await
    }

    /// Settles a request that ended as [`Error::Unknown`] on this connection: afterwards it certainly holds nothing and
    /// never will. Other requests are given up with [`Raw::release_request`].
    pub async fn forget(&self, request: &RequestId) -> Result<(), Error> {
        let (connection, request) = (self.shared.connection.clone(), request.clone());
        self.shared.run(async move { connection.forget(&request).await }).await?
    }

    /// What operators do: recall, break, resize, sessions, keys, drain.
    pub fn admin(&self) -> Admin<'_> {
        Admin::new(self)
    }

    /// Leases by hand, for programs that keep them elsewhere than in memory.
    pub fn raw(&self) -> Raw<'_> {
        Raw::new(self)
    }

    /// Ends the session and with it everything that is held or waited for, gives back what does not hang on it, and
    /// waits for the answer, 5 s at most. Clones and grants that are still there are of no use afterwards; a directory
    /// can be opened again.
    pub async fn close(self) -> Result<(), Error> {
        let connection = self.shared.connection.clone();
        let closed = self.shared.run(async move { connection.farewell().await }).await;
        self.shared.end().await;
        match closed {
            Ok(result) => result,
            // Another clone closed it before.
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn note_or_default(&self, note: Option<Note>) -> Option<Note> {
        note.or_else(|| self.shared.connection.manners.note.clone())
    }
}

/// What all clones and grants of a connection share.
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
    thread: OwnThread,
    stop: Mutex<Option<oneshot::Sender<Farewell>>>,
    over: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Shared {
    pub(crate) fn new(
        connection: Arc<Connection>,
        thread: OwnThread,
        stop: oneshot::Sender<Farewell>,
        over: oneshot::Receiver<()>,
    ) -> Self {
        Shared { connection, thread, stop: Mutex::new(Some(stop)), over: Mutex::new(Some(over)) }
    }

    /// Runs work on the library's thread. Dropping the future stops the work.
    pub(crate) fn run<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let running = self.thread.run(work);
        async move { running.await.ok_or(Error::SessionEnded(SessionEnd::Closed)) }
    }

    /// Starts work on the library's thread that stops when what is given back is dropped.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        self.thread.run(work)
    }

    /// Does something that starts tasks on the library's thread.
    pub(crate) fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        self.thread.enter(act)
    }

    /// Leaves work to the library's thread.
    pub(crate) fn leave(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.thread.leave(work);
    }

    /// A call that changes nothing more when repeated.
    pub(crate) async fn insist<C: crate::backend::call::Call>(
        &self,
        call: C,
    ) -> Result<C::Answer, Error> {
        let connection = self.connection.clone();
        self.run(async move { connection.insist(call).await }).await?
    }

    /// A call that is repeated only where it certainly did not happen.
    pub(crate) async fn insist_if_undone<C: crate::backend::call::Call>(
        &self,
        call: C,
    ) -> Result<C::Answer, Error> {
        let connection = self.connection.clone();
        self.run(async move { connection.insist_if_undone(call).await }).await?
    }

    /// Ends the thread and waits for its end.
    async fn end(&self) {
        let stop = self.stop.lock().take();
        drop(stop);
        let over = self.over.lock().take();
        if let Some(over) = over {
            // An error means that the thread is gone as well.
            let _ended = over.await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(stop) = self.stop.lock().take() else { return };
        let connection = self.connection.clone();
        let farewell: Farewell = Box::pin(async move {
            // Nobody is there any more to hear of it: what was not given back ends with the session.
            let _unheard = connection.farewell().await;
        });
        // If the thread is gone already, so is the session.
        let _gone = stop.send(farewell);
    }
}
