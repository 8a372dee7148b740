//! Leases by hand.

use std::time::Duration;

use tenure_api::{
    AcquireRequest, CheckAnswer, CheckRequest, Grant, ReleaseRequest, Released, RenewRequest,
    Renewed, Seconds,
};
use tenure_core::{Lease, LockName, Note, RequestId, Token};

use crate::admin::lock_name;
use crate::asking;
use crate::backend::call::{Check, Release, Renew};
use crate::backend::{Denied, Failure};
use crate::error::{AcquireError, Error, GrantError, Loss, LossReason};
use crate::tenure::Tenure;
use crate::text::IntoText;

/// Leases by hand, for programs that keep them elsewhere than in memory, such as a shell script between two commands;
/// see [`Tenure::raw`]. Nothing here is kept alive or given back by the library: a grant lasts its `ttl` from the
/// grant or the last renewal.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    tenure: &'a Tenure,
}

impl<'a> Raw<'a> {
    pub(crate) fn new(tenure: &'a Tenure) -> Self {
        Raw { tenure }
    }

    /// Acquires what the request says, for `wait` at most (`None`: for ever; the request's own `wait` and `hold` are
    /// not used). Dropping the future leaves the queue.
    pub async fn acquire(
        &self,
        request: AcquireRequest,
        wait: Option<Duration>,
    ) -> Result<Grant, AcquireError> {
        let connection = self.tenure.shared.connection.clone();
        let asked = asking::acquire_by_hand(connection, request, wait);
        Ok(self.tenure.shared.run(asked).await??)
    }

    /// Has a grant longer: for `ttl` from now, or as long as before. Never shortens.
    pub async fn renew(
        &self,
        lease: Lease,
        ttl: Option<Duration>,
        note: Option<Note>,
    ) -> Result<Renewed, GrantError> {
        let ttl = ttl.map(Seconds);
        let body = RenewRequest { lease: Some(lease), ttl, note, ..RenewRequest::default() };
        self.about_lease(Renew(body)).await
    }

    /// Gives a grant back.
    pub async fn release(&self, lease: Lease) -> Result<Released, GrantError> {
        let body = ReleaseRequest { lease: Some(lease), ..ReleaseRequest::default() };
        self.about_lease(Release(body)).await
    }

    /// Gives up a request by its id, in whatever state it is.
    pub async fn release_request(
        &self,
        names: Vec<LockName>,
        request: RequestId,
    ) -> Result<Released, GrantError> {
        let body = ReleaseRequest { names, request_id: Some(request), ..ReleaseRequest::default() };
        self.about_lease(Release(body)).await
    }

    /// Takes a grant over under a new lease and a higher token; it lasts `ttl` from now, or as long as before. The old
    /// lease is lost.
    pub async fn hand_over(
        &self,
        name: impl IntoText<LockName>,
        lease: Lease,
        ttl: Option<Duration>,
    ) -> Result<Grant, GrantError> {
        let name = lock_name(name).map_err(Error::from)?;
        let connection = self.tenure.shared.connection.clone();
        let asked = asking::hand_over_by_hand(connection, name.clone(), lease, ttl);
        match self.tenure.shared.run(asked).await? {
            Ok(grant) => Ok(grant),
            Err(asking::Asked::Denied(Denied::Lost(reason))) => Err(lost(Some(name), reason)),
            Err(other) => Err(GrantError::Other(other.into())),
        }
    }

    /// Whether a token is of a live grant: what a guarded resource can ask.
    pub async fn check(
        &self,
        name: impl IntoText<LockName>,
        token: Token,
    ) -> Result<CheckAnswer, Error> {
        let name = lock_name(name)?;
        self.tenure.shared.insist(Check { name, body: CheckRequest { token } }).await
    }

    async fn about_lease<C: crate::backend::call::Call>(
        &self,
        call: C,
    ) -> Result<C::Answer, GrantError> {
        let connection = self.tenure.shared.connection.clone();
        let patience = connection.manners.patience;
        let asked =
            async move { connection.insist_until(call, tokio::time::sleep(patience)).await };
        match self.tenure.shared.run(asked).await? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(Failure::Denied(denied))) => match *denied {
                Denied::Lost(reason) => Err(lost(None, reason)),
                other => Err(GrantError::Other(Failure::denied(other).into())),
            },
            Some(Err(failure)) => Err(GrantError::Other(failure.into())),
            // All of these may be repeated, so "it may have happened" asks for nothing more than that.
            None => Err(GrantError::Other(Error::Unknown {
                request_id: None,
                why: format!("no answer within {} s", patience.as_secs()),
            })),
        }
    }
}

/// A loss of which the name and token may not be known: then they are a dash and zero, which its text leaves out.
fn lost(name: Option<LockName>, reason: LossReason) -> GrantError {
    let name = name.unwrap_or_else(|| LockName::new("-").expect("a dash is a name"));
    GrantError::Lost(Loss { name, token: Token::new(0), reason })
}
