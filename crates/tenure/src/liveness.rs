//! Sessions beside the connection's own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::SessionId;

use crate::clock::Moment;
use crate::error::{Error, SessionEnd};
use crate::session;
use crate::tenure::{Shared, Tenure};

/// A life of its own for several grants: what hangs on it ([`Request::in_session`](crate::Request::in_session)) is
/// free when it ends. Kept alive by the library until the last clone is dropped or it is [closed](Session::close).
#[derive(Clone)]
pub struct Session {
    open: Arc<Open>,
}

struct Open {
    inner: Arc<session::Session>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.id()).finish()
    }
}

impl Session {
    pub(crate) async fn open(tenure: &Tenure, ttl: Duration) -> Result<Self, Error> {
        let shared = tenure.shared.clone();
        let connection = shared.connection.clone();
        let inner = shared.run(async move { connection.open_session(ttl).await }).await??;
        Ok(Session { open: Arc::new(Open { inner, shared }) })
    }

    pub(crate) fn inner(&self) -> Arc<session::Session> {
        self.open.inner.clone()
    }

    /// Its public id.
    pub fn id(&self) -> SessionId {
        self.open.inner.handle.id
    }

    /// For how long all it holds is ours, even if nothing is heard any more; zero if it is over.
    pub fn for_sure(&self) -> Duration {
        match self.open.inner.ended() {
            Some(_) => Duration::ZERO,
            None => self.open.inner.promise().left(Moment::now()),
        }
    }

    /// Keeps it alive at this moment, beside the library's own keep-alives.
    pub async fn keep_alive(&self) -> Result<Duration, Error> {
        let (connection, inner) = (self.open.shared.connection.clone(), self.inner());
        let kept = async move { session::keep_alive_now(&connection, &inner).await };
        self.open.shared.run(kept).await??;
        Ok(self.for_sure())
    }

    /// Resolves when it is over.
    pub fn ended(&self) -> impl Future<Output = SessionEnd> + Send + 'static {
        let inner = self.inner();
        async move { inner.over().await }
    }

    /// Ends it and everything that hangs on it, and waits for the answer.
    pub async fn close(self) -> Result<(), Error> {
        let (connection, inner) = (self.open.shared.connection.clone(), self.inner());
        self.open.shared.run(async move { connection.end_session(&inner).await }).await?
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.inner.ended().is_some() {
            return;
        }
        let (connection, inner) = (self.shared.connection.clone(), self.inner.clone());
        self.shared.leave(async move {
            // Nobody is there any more to hear of it: unanswered, the session ends by itself.
            let _unheard = connection.end_session(&inner).await;
        });
    }
}
