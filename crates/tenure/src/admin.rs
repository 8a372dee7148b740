//! What operators do.

use std::time::Duration;

use tenure_api::{
    BreakAnswer, BreakRequest, Cluster, DrainAnswer, DrainRequest, EndSessionRequest, Info,
    KeyList, KeyRequest, KeySecret, RecallRequest, ResizeRequest, RotateRequest, Seconds,
    SessionEnded, SessionView, Sessions, SessionsQuery, Stats,
};
use tenure_core::{KeyName, LockName, Permits, Reason, SessionId, Token};

use crate::backend::call::{
    AddKey, Break, Drain, EndSession, GetCluster, GetInfo, GetReady, GetSession, GetStats,
    ListKeys, ListSessions, Recall, RemoveKey, Resize, RotateKey,
};
use crate::error::{Error, Refusal};
use crate::tenure::Tenure;
use crate::text::IntoText;

/// Acts of an operator; see [`Tenure::admin`]. A server wants a key with the role `operator` for what changes
/// something, `read` for the rest. Acts that may have happened are not repeated: [`Error::Unknown`] says so.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    tenure: &'a Tenure,
}

/// Which grant an operator means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That with this token and no other.
    Token(Token),
    /// Whoever holds.
    Anyone,
}

impl<'a> Admin<'a> {
    pub(crate) fn new(tenure: &'a Tenure) -> Self {
        Admin { tenure }
    }

    /// Asks the holders of a lock, or the one with this token, to give it back within a time. Gives how many were
    /// asked. Nothing is taken.
    pub async fn recall(
        &self,
        name: impl IntoText<LockName>,
        within: Duration,
        why: &str,
        token: Option<Token>,
    ) -> Result<usize, Error> {
        let body = RecallRequest { within: Seconds(within), reason: reason(why)?, token };
        let name = lock_name(name)?;
        Ok(self.tenure.shared.insist(Recall { name, body }).await?.asked)
    }

    /// Ends a grant by force. Its holder is told, but a holder that is paused goes on when it wakes: only the token
    /// protects against that.
    pub async fn break_grant(
        &self,
        name: impl IntoText<LockName>,
        whose: Whose,
        why: &str,
    ) -> Result<BreakAnswer, Error> {
        let (token, any) = match whose {
            Whose::Token(token) => (Some(token), None),
            Whose::Anyone => (None, Some(true)),
        };
        let body = BreakRequest { reason: reason(why)?, token, any };
        let name = lock_name(name)?;
        self.tenure.shared.insist_if_undone(Break { name, body }).await
    }

    /// Changes the size of a busy semaphore until it is idle. Gives how many waiters got it by that.
    pub async fn resize(
        &self,
        name: impl IntoText<LockName>,
        permits: Permits,
    ) -> Result<usize, Error> {
        let body = ResizeRequest { permits: permits.get() };
        let name = lock_name(name)?;
        Ok(self.tenure.shared.insist_if_undone(Resize { name, body }).await?.granted)
    }

    /// A page of sessions.
    pub async fn sessions(&self, query: SessionsQuery) -> Result<Sessions, Error> {
        self.tenure.shared.insist(ListSessions(query)).await
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Result<SessionView, Error> {
        self.tenure.shared.insist(GetSession(id)).await
    }

    /// Ends a session and all it holds and waits for.
    pub async fn end_session(&self, id: SessionId, why: &str) -> Result<SessionEnded, Error> {
        let body = EndSessionRequest { session: None, reason: Some(reason(why)?) };
        self.tenure.shared.insist(EndSession { id, body }).await
    }

    /// The keys made at run time.
    pub async fn keys(&self) -> Result<KeyList, Error> {
        self.tenure.shared.insist(ListKeys).await
    }

    /// Makes a key. Its secret is shown this once.
    pub async fn add_key(&self, key: KeyRequest) -> Result<KeySecret, Error> {
        self.tenure.shared.insist_if_undone(AddKey(key)).await
    }

    /// Gives a key another secret; the old one stays good for `overlap`.
    pub async fn rotate_key(
        &self,
        name: KeyName,
        overlap: Option<Duration>,
    ) -> Result<KeySecret, Error> {
        let body = RotateRequest { overlap: overlap.map(Seconds) };
        self.tenure.shared.insist_if_undone(RotateKey { name, body }).await
    }

    /// Removes a key.
    pub async fn remove_key(&self, name: KeyName) -> Result<(), Error> {
        self.tenure.shared.insist_if_undone(RemoveKey(name)).await
    }

    /// Counts over everything.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.tenure.shared.insist(GetStats).await
    }

    /// What answers here, and what this key may do.
    pub async fn info(&self) -> Result<Info, Error> {
        self.tenure.shared.insist(GetInfo).await
    }

    /// The nodes.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        self.tenure.shared.insist(GetCluster).await
    }

    /// Whether requests are served: asked once, without retry.
    pub async fn ready(&self) -> Result<(), Error> {
        let connection = self.tenure.shared.connection.clone();
        let asked = async move { connection.call(GetReady).await.map_err(Error::from) };
        self.tenure.shared.run(asked).await?
    }

    /// Has a server send its clients elsewhere; holders may still renew for `within`.
    pub async fn drain(&self, within: Option<Duration>) -> Result<DrainAnswer, Error> {
        let body = DrainRequest { within: within.map(Seconds) };
        self.tenure.shared.insist_if_undone(Drain(body)).await
    }
}

fn reason(text: &str) -> Result<Reason, Refusal> {
    Reason::new(text).map_err(|why| Refusal::text("reason", &why))
}

pub(crate) fn lock_name(name: impl IntoText<LockName>) -> Result<LockName, Refusal> {
    name.into_text().map_err(|why| Refusal::text("name", &why))
}
