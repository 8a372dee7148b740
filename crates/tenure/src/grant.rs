//! A lock in the user's hands.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_api::{Mode, ReleaseRequest, RenewRequest};
use tenure_core::{Lease, LockName, Note, Owner as OwnerText, SessionHandle, Token};

use crate::asking;
use crate::backend::call::{Release, Renew};
use crate::backend::{Denied, Failure};
use crate::clock::Moment;
use crate::dice;
use crate::error::{Error, GrantError, Loss, LossReason, Refusal, ReleaseError, UpgradeError};
use crate::holding::{Facts, Holding, Life, Recall, State};
use crate::keeping;
use crate::promise::Promise;
use crate::returns::{Bound, Leaving, Return};
use crate::settling::{self, Converted};
use crate::tenure::Shared;
use crate::text::IntoText;

/// One lock, or several taken together, held. Belongs to no thread. Dropping it releases it in the background;
/// [`release`](Grant::release) says what became of that.
///
/// A lock cannot stop a paused program: only the guarded resource can, by refusing every [`token`](Grant::token) lower
/// than the highest it has seen.
#[must_use = "dropping a grant releases it in the background"]
pub struct Grant {
    holding: Arc<Holding>,
    shared: Arc<Shared>,
    is_given_back: bool,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holding { name, token, .. } = &*self.holding;
        f.debug_struct("Grant").field("name", name).field("token", token).finish_non_exhaustive()
    }
}

impl Grant {
    pub(crate) fn new(shared: Arc<Shared>, holding: Arc<Holding>) -> Self {
        Grant { holding, shared, is_given_back: false }
    }

    /// The lock; of several the one named first.
    pub fn name(&self) -> &LockName {
        &self.holding.name
    }

    /// The fencing token, for the guarded resource: higher than that of every grant before.
    pub fn token(&self) -> Token {
        self.holding.token
    }

    /// The tokens of all its locks.
    pub fn tokens(&self) -> &BTreeMap<LockName, Token> {
        &self.holding.tokens
    }

    /// The secret that proves ownership. Whoever has it can release the lock.
    pub fn lease(&self) -> Lease {
        self.holding.lease
    }

    /// The flow of control that has it.
    pub fn owner(&self) -> &OwnerText {
        &self.holding.owner
    }

    /// The handle of the session it hangs on, if it does. Whoever has it acts for the session.
    pub fn session(&self) -> Option<SessionHandle> {
        match &self.holding.life {
            Life::Session(session) => Some(session.handle),
            Life::Own { .. } => None,
        }
    }

    /// How sure it is at this moment.
    pub fn state(&self) -> State {
        self.holding.state(Moment::now())
    }

    /// Resolves when the grant is lost: at once when the server says so, at the latest when it was not renewed in
    /// time. Never resolves if the grant is given back before.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + 'static {
        self.holding.lost()
    }

    /// Resolves when an operator asks for the grant. Nothing is taken by force; give it back when it suits.
    pub fn recalled(&self) -> impl Future<Output = Recall> + Send + 'static {
        self.holding.recalled()
    }

    /// Resolves after the next renewal, with the state it made.
    pub fn renewed(&self) -> impl Future<Output = State> + Send + 'static {
        let holding = self.holding.clone();
        async move {
            holding.renewed().await;
            holding.state(Moment::now())
        }
    }

    /// Runs work while the grant lasts. If it is lost, the work is dropped before anybody else can have the lock, as
    /// far as work that returns to its executor can be stopped.
    pub async fn protect<F: Future>(&self, work: F) -> Result<F::Output, Loss> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lost());
        std::future::poll_fn(|context| {
            // The clock is asked each time: after a pause of the program nobody may have woken the loss yet.
            if let Some(loss) = self.holding.loss(Moment::now()) {
                return Poll::Ready(Err(loss));
            }
            if let Poll::Ready(loss) = lost.as_mut().poll(context) {
                return Poll::Ready(Err(loss));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Changes what others see about this grant.
    pub async fn set_note(&self, note: impl IntoText<Note>) -> Result<(), GrantError> {
        let note = note.into_text().map_err(|why| Error::from(Refusal::text("note", &why)))?;
        let lease = Some(self.holding.lease);
        let body = RenewRequest { lease, note: Some(note), ..RenewRequest::default() };
        let (connection, holding) = (self.shared.connection.clone(), self.holding.clone());
        let settled = async move { settling::settled(&connection, &holding, Renew(body)).await };
        self.shared.run(settled).await??;
        Ok(())
    }

    /// From exclusive to shared, at once and with the same token. If that fails the grant is given back.
    pub async fn downgrade(self) -> Result<Grant, GrantError> {
        match self.convert(Mode::Shared, Duration::ZERO).await? {
            Converted::Granted { .. } => Ok(self),
            Converted::Denied(denied) => Err(GrantError::Other(Failure::denied(denied).into())),
            Converted::Failed(error) => Err(error),
        }
    }

    /// From shared to exclusive, ahead of the queue, with a new token; waits for the other shared holders. Dropping the
    /// future gives the grant back.
    pub async fn upgrade(self, wait: Duration) -> Result<Grant, UpgradeError> {
        match self.convert(Mode::Exclusive, wait).await.map_err(UpgradeError::Other)? {
            Converted::Granted { tokens, promise } => Ok(self.with_tokens(tokens, promise)),
            Converted::Denied(Denied::Held(held) | Denied::TimedOut(held)) => {
                Err(UpgradeError::TimedOut { grant: self, held: Box::new(held) })
            }
            Converted::Denied(Denied::Deadlock(cycle)) => {
                Err(UpgradeError::Deadlock { grant: self, cycle })
            }
            Converted::Denied(other) => Err(UpgradeError::Other(Failure::denied(other).into())),
            Converted::Failed(GrantError::Lost(loss)) => Err(UpgradeError::Lost(loss)),
            Converted::Failed(GrantError::Other(error)) => Err(UpgradeError::Other(error)),
        }
    }

    async fn convert(&self, mode: Mode, wait: Duration) -> Result<Converted, Error> {
        let (connection, holding) = (self.shared.connection.clone(), self.holding.clone());
        self.shared.run(settling::convert(connection, holding, mode, wait)).await
    }

    /// The same grant with the tokens of an upgrade.
    fn with_tokens(mut self, tokens: Vec<(LockName, Token)>, promise: Promise) -> Grant {
        let old = &self.holding;
        let mut all = old.tokens.clone();
        all.extend(tokens);
        let facts = Facts {
            name: old.name.clone(),
            tokens: all,
            lease: old.lease,
            owner: old.owner.clone(),
            request: old.request.clone(),
            is_reentrant: old.is_reentrant,
        };
        let holding = match &old.life {
            Life::Session(session) => asking::hold_in_session(facts, session, promise),
            Life::Own { ttl, .. } => {
                let connection = &self.shared.connection;
                self.shared.enter(|| keeping::hold_alone(connection, facts, *ttl, promise))
            }
        };
        self.is_given_back = true;
        Grant::new(self.shared.clone(), holding)
    }

    /// Leaves the grant to another process, which goes on with [`Tenure::resume`](crate::Tenure::resume). From here on
    /// nobody keeps it alive: it lasts `good_for` (100 ms to 366 days), whatever becomes of this program. A grant that
    /// hung on this connection's session does not any more, and has a new token.
    pub async fn into_handle(mut self, good_for: Duration) -> Result<GrantHandle, GrantError> {
        let (connection, holding) = (self.shared.connection.clone(), self.holding.clone());
        let handle = self.shared.run(settling::leave_for(connection, holding, good_for)).await??;
        self.is_given_back = true;
        Ok(handle)
    }

    /// Gives it back and says what became of it: [`ReleaseError::Lost`] when it was no longer ours. Never takes longer
    /// than the grant could have lasted. Dropping the future leaves the release to the background.
    pub async fn release(mut self) -> Result<(), ReleaseError> {
        if let Some(loss) = self.holding.loss(Moment::now()) {
            return Err(ReleaseError::Lost(loss));
        }
        let body = ReleaseRequest {
            lease: Some(self.holding.lease),
            request_id: self.release_id(),
            ..ReleaseRequest::default()
        };
        let (connection, holding) = (self.shared.connection.clone(), self.holding.clone());
        let released = async move { settling::settled(&connection, &holding, Release(body)).await };
        let settled = self.shared.run(released).await.unwrap_or_else(|error| Err(error.into()));
        match settled {
            Ok(_) => {
                self.is_given_back = true;
                Ok(())
            }
            Err(GrantError::Lost(loss)) if loss.reason == LossReason::Unreachable => {
                Err(ReleaseError::Unknown(self.holding.request.clone()))
            }
            Err(GrantError::Lost(loss)) => {
                self.is_given_back = true;
                Err(ReleaseError::Lost(loss))
            }
            Err(GrantError::Other(Error::SessionEnded(end))) => {
                Err(ReleaseError::Lost(self.holding.lose((&end).into())))
            }
            Err(GrantError::Other(_)) => Err(ReleaseError::Unknown(self.holding.request.clone())),
        }
    }

    /// Names a release where its repetition would take off one level more.
    fn release_id(&self) -> Option<tenure_core::RequestId> {
        self.holding.is_reentrant.then(dice::request_id)
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.is_given_back {
            return;
        }
        let bound = match &self.holding.life {
            Life::Session(session) => Bound::Session(session.clone()),
            Life::Own { ttl, .. } => Bound::own(*ttl),
        };
        let leaving = Leaving { lease: self.holding.lease, request: self.release_id(), bound };
        self.shared.connection.give_back(Return::Lease(leaving));
    }
}

/// A grant on its way to another process; see [`Grant::into_handle`]. As secret as a lease: whoever has it can take
/// the lock over or release it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantHandle {
    name: String,
    tokens: BTreeMap<String, u64>,
    lease: String,
}

impl GrantHandle {
    pub(crate) fn new(name: LockName, tokens: BTreeMap<LockName, Token>, lease: Lease) -> Self {
        let number = |(name, token): (LockName, Token)| (name.as_str().to_owned(), token.get());
        GrantHandle {
            name: name.as_str().to_owned(),
            tokens: tokens.into_iter().map(number).collect(),
            lease: lease.as_str().to_owned(),
        }
    }

    /// The lock; of several the one named first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name, token and lease, checked: the handle may have come from anywhere.
    pub(crate) fn open(&self) -> Result<(LockName, Token, Lease), Error> {
        let name = LockName::new(&self.name).map_err(|why| Refusal::text("name", &why))?;
        let token = self.tokens.get(&self.name).copied().unwrap_or_default();
        let lease = self.lease.parse().map_err(|_| Refusal::field("lease", "is not a lease"))?;
        Ok((name, Token::new(token), lease))
    }
}

impl fmt::Debug for GrantHandle {
    // The lease never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantHandle").field("name", &self.name).finish_non_exhaustive()
    }
}
