//! The same calls for programs with threads and without async. Keep-alives run on the library's own thread all the
//! same, so a thread that computes for an hour keeps its lock.
//!
//! A thread cannot be stopped from outside: long work asks [`Grant::check`] now and then.
//!
//! ```
//! use std::time::Duration;
//! use tenure::blocking::Tenure;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenure = Tenure::connect("memory:")?;
//! let grant = tenure.lock("billing/42").wait(Duration::from_secs(5)).note("invoice run").acquire()?;
//! for page in 0..3 {
//!     grant.check()?;                                // stop if it is lost
//!     println!("page {page} under token {}", grant.token());
//! }
//! grant.release()?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tenure_api::{LockView, Locks, LocksQuery};
use tenure_core::{LockName, Note, Permits, RequestId, Token, Weight};

use crate::error::{
    AcquireError, ConnectError, Error, GrantError, Held, Loss, ReleaseError, RunError, UpgradeError,
};
use crate::{
    Changes, Connect, Cursor, Election as AsyncElection, Event, GrantHandle, IntoText, Leader,
    Owner, State, Turn, Wanted,
};

/// Blocks the thread until the future is done. Needs no executor: all the work happens on the library's thread.
fn wait_for<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Locks in one place; see [`crate::Tenure`].
#[derive(Clone, Debug)]
pub struct Tenure {
    inner: crate::Tenure,
}

impl Tenure {
    /// Opens a backend by its URL; see [`crate::Tenure::connect`].
    pub fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::connect_to(crate::Tenure::at(url))
    }

    /// Opens a backend with settings of your own, made by [`crate::Tenure::at`].
    pub fn connect_to(settings: Connect) -> Result<Self, ConnectError> {
        Ok(Tenure { inner: wait_for(settings.connect())? })
    }

    /// A lock; see [`crate::Tenure::lock`].
    pub fn lock(&self, name: impl IntoText<LockName>) -> Request<'_> {
        Request { inner: self.inner.lock(name) }
    }

    /// A lock that several may hold; see [`crate::Tenure::semaphore`].
    pub fn semaphore(&self, name: impl IntoText<LockName>, permits: Permits) -> Request<'_> {
        Request { inner: self.inner.semaphore(name, permits) }
    }

    /// Several locks, all or nothing; see [`crate::Tenure::locks`].
    pub fn locks<W: Into<Wanted>>(&self, wanted: impl IntoIterator<Item = W>) -> Request<'_> {
        Request { inner: self.inner.locks(wanted) }
    }

    /// One flow of control; see [`crate::Tenure::owner`].
    pub fn owner(&self, label: &str) -> Owner {
        self.inner.owner(label)
    }

    /// Runs the work once per `every`, whoever tries; see [`crate::Tenure::once`].
    pub fn once<T>(
        &self,
        name: impl IntoText<LockName>,
        every: Duration,
        work: impl FnOnce() -> T,
    ) -> Result<Turn<T>, RunError> {
        wait_for(self.inner.once(name, every).run(async |_grant| work()))
    }

    /// An election; see [`crate::Tenure::election`].
    pub fn election(&self, name: impl IntoText<LockName>) -> Election {
        Election { inner: self.inner.election(name) }
    }

    /// What happens from now on, or after a place, to locks whose names begin with `prefix`, as it happens. The
    /// iterator ends after an error that trying again does not help.
    pub fn changes(
        &self,
        prefix: &str,
        after: Option<Cursor>,
    ) -> Result<impl Iterator<Item = Result<Event, Error>> + use<>, Error> {
        let changes: Changes = self.inner.changes().prefix(prefix);
        let changes = match after {
            Some(cursor) => changes.from(cursor),
            None => changes,
        };
        let mut stream = wait_for(changes.stream())?;
        Ok(std::iter::from_fn(move || wait_for(stream.next())))
    }

    /// Who has a lock, who waits, what was; see [`crate::Tenure::why`].
    pub fn why(&self, name: impl IntoText<LockName>) -> Result<LockView, Error> {
        wait_for(self.inner.why(name))
    }

    /// A page of locks; see [`crate::Tenure::list`].
    pub fn list(&self, prefix: &str, query: LocksQuery) -> Result<Locks, Error> {
        wait_for(self.inner.list(prefix, query))
    }

    /// Goes on with a grant that another process left; see [`crate::Tenure::resume`].
    pub fn resume(&self, handle: GrantHandle) -> Result<Grant, GrantError> {
        Ok(Grant { inner: wait_for(self.inner.resume(handle))? })
    }

    /// Settles a request that ended as [`Error::Unknown`]; see [`crate::Tenure::forget`].
    pub fn forget(&self, request: &RequestId) -> Result<(), Error> {
        wait_for(self.inner.forget(request))
    }

    /// Ends the session and all it holds, and waits for the answer; see [`crate::Tenure::close`].
    pub fn close(self) -> Result<(), Error> {
        wait_for(self.inner.close())
    }

    /// The connection for async code, with everything else it can do.
    pub fn as_async(&self) -> &crate::Tenure {
        &self.inner
    }
}

/// A request for one or several locks; see [`crate::Request`].
#[must_use = "nothing is asked before `acquire`, `try_acquire` or `run`"]
#[derive(Debug, Clone)]
pub struct Request<'a> {
    inner: crate::Request<'a>,
}

/// What became of a try; see [`crate::Attempt`].
#[derive(Debug)]
#[must_use = "a grant in it is released when it is dropped"]
pub enum Attempt {
    /// The locks are ours.
    Granted(Grant),
    /// Somebody else has one of them.
    Held(Held),
}

impl Request<'_> {
    /// With other shared holders, instead of alone.
    pub fn shared(self) -> Self {
        Request { inner: self.inner.shared() }
    }

    /// So many permits of a semaphore, instead of one.
    pub fn weight(self, weight: Weight) -> Self {
        Request { inner: self.inner.weight(weight) }
    }

    /// A time of its own for the grant; see [`crate::Request::ttl`].
    pub fn ttl(self, ttl: Duration) -> Self {
        Request { inner: self.inner.ttl(ttl) }
    }

    /// How long [`acquire`](Request::acquire) waits at most; without this it waits without bound.
    pub fn wait(self, at_most: Duration) -> Self {
        Request { inner: self.inner.wait(at_most) }
    }

    /// The flow of control that asks.
    pub fn owner(self, owner: &Owner) -> Self {
        Request { inner: self.inner.owner(owner) }
    }

    /// An owner that has the lock already gets the same grant once more.
    pub fn reentrant(self) -> Self {
        Request { inner: self.inner.reentrant() }
    }

    /// After this grant expired nobody gets the lock for so long; see [`crate::Request::lock_delay`].
    pub fn lock_delay(self, delay: Duration) -> Self {
        Request { inner: self.inner.lock_delay(delay) }
    }

    /// Nobody gets the lock again before so long after the grant.
    pub fn at_least(self, span: Duration) -> Self {
        Request { inner: self.inner.at_least(span) }
    }

    /// Who, why, where, for people who wait.
    pub fn note(self, text: impl IntoText<Note>) -> Self {
        Request { inner: self.inner.note(text) }
    }

    /// Asks once, without waiting.
    pub fn try_acquire(self) -> Result<Attempt, Error> {
        Ok(match wait_for(self.inner.try_acquire())? {
            crate::Attempt::Granted(inner) => Attempt::Granted(Grant { inner }),
            crate::Attempt::Held(held) => Attempt::Held(held),
        })
    }

    /// Blocks until the locks are ours.
    pub fn acquire(self) -> Result<Grant, AcquireError> {
        Ok(Grant { inner: wait_for(self.inner.acquire())? })
    }

    /// Acquires, runs the work, releases. A thread cannot be stopped: the work asks [`Grant::check`], and the error
    /// says afterwards if the grant was lost.
    pub fn run<T>(self, work: impl FnOnce(&Grant) -> T) -> Result<T, RunError> {
        let grant = self.acquire()?;
        let done = work(&grant);
        match grant.release() {
            Ok(()) | Err(ReleaseError::Unknown(_)) => Ok(done),
            Err(ReleaseError::Lost(loss)) => Err(loss.into()),
        }
    }
}

/// One lock, or several taken together, held; see [`crate::Grant`]. Dropping it releases it in the background.
#[derive(Debug)]
#[must_use = "dropping a grant releases it in the background"]
pub struct Grant {
    inner: crate::Grant,
}

impl Grant {
    /// The lock; of several the one named first.
    pub fn name(&self) -> &LockName {
        self.inner.name()
    }

    /// The fencing token, for the guarded resource.
    pub fn token(&self) -> Token {
        self.inner.token()
    }

    /// The tokens of all its locks.
    pub fn tokens(&self) -> &BTreeMap<LockName, Token> {
        self.inner.tokens()
    }

    /// How sure it is at this moment.
    pub fn state(&self) -> State {
        self.inner.state()
    }

    /// The loss, if it is lost by now: ask between two steps of the work.
    pub fn check(&self) -> Result<(), Loss> {
        match self.inner.state() {
            State::Lost(loss) => Err(loss),
            State::Held { .. } | State::Jeopardy { .. } => Ok(()),
        }
    }

    /// Blocks until it is lost.
    pub fn wait_until_lost(&self) -> Loss {
        wait_for(self.inner.lost())
    }

    /// Changes what others see about this grant.
    pub fn set_note(&self, note: impl IntoText<Note>) -> Result<(), GrantError> {
        wait_for(self.inner.set_note(note))
    }

    /// From exclusive to shared, at once and with the same token.
    pub fn downgrade(self) -> Result<Grant, GrantError> {
        Ok(Grant { inner: wait_for(self.inner.downgrade())? })
    }

    /// From shared to exclusive; see [`crate::Grant::upgrade`]. The grant in an error is one for async code.
    pub fn upgrade(self, wait: Duration) -> Result<Grant, UpgradeError> {
        Ok(Grant { inner: wait_for(self.inner.upgrade(wait))? })
    }

    /// Leaves the grant to another process; see [`crate::Grant::into_handle`].
    pub fn into_handle(self, good_for: Duration) -> Result<GrantHandle, GrantError> {
        wait_for(self.inner.into_handle(good_for))
    }

    /// Gives it back and says what became of it.
    pub fn release(self) -> Result<(), ReleaseError> {
        wait_for(self.inner.release())
    }
}

impl From<crate::Grant> for Grant {
    fn from(inner: crate::Grant) -> Self {
        Grant { inner }
    }
}

/// An election; see [`crate::Election`].
#[derive(Debug, Clone)]
pub struct Election {
    inner: AsyncElection,
}

impl Election {
    /// Blocks until we lead; dropping the grant gives the lead away.
    pub fn campaign(&self, value: impl IntoText<Note>) -> Result<Grant, AcquireError> {
        Ok(Grant { inner: wait_for(self.inner.campaign(value))?.into_grant() })
    }

    /// Who leads now.
    pub fn leader(&self) -> Result<Option<Leader>, Error> {
        wait_for(self.inner.leader())
    }

    /// Who leads now, and each leader after that.
    pub fn leaders(&self) -> impl Iterator<Item = Result<Option<Leader>, Error>> + use<> {
        let mut leaders = self.inner.leaders();
        std::iter::from_fn(move || wait_for(leaders.next()))
    }
}
