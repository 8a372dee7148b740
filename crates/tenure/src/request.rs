//! Asking for locks.

use std::time::Duration;

use tenure_api::{Mode, Wanted as WireWanted};
use tenure_core::{LockName, Note, Owner as OwnerText, Permits, Weight};

use crate::asking::{self, Asked};
use crate::error::{AcquireError, Error, Held, Refusal, ReleaseError, RunError};
use crate::grant::Grant;
use crate::liveness::Session;
use crate::owner::Owner;
use crate::tenure::Tenure;
use crate::text::IntoText;

/// One lock of a request for several.
#[derive(Debug, Clone)]
pub struct Wanted {
    wire: Result<WireWanted, Refusal>,
}

impl Wanted {
    /// A lock, alone.
    pub fn exclusive(name: impl IntoText<LockName>) -> Self {
        Self::new(name.into_text(), None, None)
    }

    /// A lock, with other shared holders.
    pub fn shared(name: impl IntoText<LockName>) -> Self {
        Self::new(name.into_text(), Some(Mode::Shared), None)
    }

    /// One permit of a lock that has `permits` of them.
    pub fn permits(name: impl IntoText<LockName>, permits: Permits) -> Self {
        Self::new(name.into_text(), None, Some(permits))
    }

    /// So many permits.
    #[must_use]
    pub fn weight(mut self, weight: Weight) -> Self {
        if let Ok(wire) = &mut self.wire {
            wire.weight = Some(weight.get());
        }
        self
    }

    fn new(
        name: Result<LockName, tenure_core::BadText>,
        mode: Option<Mode>,
        permits: Option<Permits>,
    ) -> Self {
        let permits = permits.map(Permits::get);
        let wire = match name {
            Ok(name) => Ok(WireWanted { name, mode, permits, weight: None }),
            Err(why) => Err(Refusal::text("name", &why)),
        };
        Wanted { wire }
    }
}

impl From<&str> for Wanted {
    fn from(name: &str) -> Self {
        Wanted::exclusive(name)
    }
}

impl From<String> for Wanted {
    fn from(name: String) -> Self {
        Wanted::exclusive(name)
    }
}

impl From<LockName> for Wanted {
    fn from(name: LockName) -> Self {
        Wanted::exclusive(name)
    }
}

/// A request for one or several locks, to be sent by [`acquire`](Request::acquire),
/// [`try_acquire`](Request::try_acquire) or [`run`](Request::run).
///
/// The grant lives with the connection's session unless [`ttl`](Request::ttl) gives it a time of its own. Each request
/// has an owner of its own unless one is named, so tasks of one program exclude each other like programs do.
#[must_use = "nothing is asked before `acquire`, `try_acquire` or `run`"]
#[derive(Debug, Clone)]
pub struct Request<'a> {
    tenure: &'a Tenure,
    wish: Result<Wish, Refusal>,
}

/// A request with its texts checked.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) wants: Vec<WireWanted>,
    pub(crate) session: Option<Session>,
    pub(crate) ttl: Option<Duration>,
    /// `None`: for ever.
    pub(crate) wait: Option<Duration>,
    pub(crate) owner: Option<OwnerText>,
    pub(crate) reentrant: bool,
    pub(crate) lock_delay: Option<Duration>,
    pub(crate) at_least: Option<Duration>,
    pub(crate) note: Option<Note>,
}

/// What became of a try. A refusal is an answer.
#[derive(Debug)]
#[must_use = "a grant in it is released when it is dropped"]
pub enum Attempt {
    /// The locks are ours.
    Granted(Grant),
    /// Somebody else has one of them.
    Held(Held),
}

impl Attempt {
    /// The grant, if it is one.
    pub fn granted(self) -> Option<Grant> {
        match self {
            Attempt::Granted(grant) => Some(grant),
            Attempt::Held(_) => None,
        }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn new(tenure: &'a Tenure, wanted: impl IntoIterator<Item = Wanted>) -> Self {
        let wants: Result<Vec<_>, _> = wanted.into_iter().map(|wanted| wanted.wire).collect();
        let wish = wants.and_then(|wants| {
            if wants.is_empty() {
                return Err(Refusal::field("locks", "must name 1 to 256 locks"));
            }
            Ok(Wish {
                wants,
                session: None,
                ttl: None,
                wait: None,
                owner: None,
                reentrant: false,
                lock_delay: None,
                at_least: None,
                note: None,
            })
        });
        Request { tenure, wish }
    }

    fn with(mut self, change: impl FnOnce(&mut Wish) -> Result<(), Refusal>) -> Self {
        self.wish = self.wish.and_then(|mut wish| change(&mut wish).map(|()| wish));
        self
    }

    /// With other shared holders, instead of alone.
    pub fn shared(self) -> Self {
        self.with(|wish| {
            wish.wants.iter_mut().for_each(|want| want.mode = Some(Mode::Shared));
            Ok(())
        })
    }

    /// So many permits of a semaphore, instead of one.
    pub fn weight(self, weight: Weight) -> Self {
        self.with(|wish| {
            wish.wants.iter_mut().for_each(|want| want.weight = Some(weight.get()));
            Ok(())
        })
    }

    /// A time of its own for the grant, 100 ms to 366 days, instead of the session's life. The library renews it while
    /// the [`Grant`] is there; without renewal it ends `ttl` after the grant.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|wish| {
            wish.ttl = Some(ttl);
            Ok(())
        })
    }

    /// How long [`acquire`](Request::acquire) waits at most; without this it waits without bound.
    pub fn wait(self, at_most: Duration) -> Self {
        self.with(|wish| {
            wish.wait = Some(at_most);
            Ok(())
        })
    }

    /// The flow of control that asks; see [`Tenure::owner`].
    pub fn owner(self, owner: &Owner) -> Self {
        self.with(|wish| {
            wish.owner = Some(owner.text()?);
            Ok(())
        })
    }

    /// The session that the grant hangs on, instead of the connection's own. Excludes [`ttl`](Request::ttl).
    pub fn in_session(self, session: &Session) -> Self {
        let session = session.clone();
        self.with(|wish| {
            wish.session = Some(session);
            Ok(())
        })
    }

    /// An owner that has the lock already gets the same grant once more; each release takes one off. Needs
    /// [`owner`](Request::owner).
    pub fn reentrant(self) -> Self {
        self.with(|wish| {
            wish.reentrant = true;
            Ok(())
        })
    }

    /// After this grant *expired*, or its session did, nobody gets the lock for so long, 60 s at most: time for what
    /// the dead holder left under way, where the resource cannot check tokens.
    pub fn lock_delay(self, delay: Duration) -> Self {
        self.with(|wish| {
            wish.lock_delay = Some(delay);
            Ok(())
        })
    }

    /// Nobody gets the lock again before so long after the grant, however the grant ends.
    pub fn at_least(self, span: Duration) -> Self {
        self.with(|wish| {
            wish.at_least = Some(span);
            Ok(())
        })
    }

    /// Who, why, where, for people who wait. Absent: the connection's note.
    pub fn note(self, text: impl IntoText<Note>) -> Self {
        self.with(|wish| {
            wish.note = Some(text.into_text().map_err(|why| Refusal::text("note", &why))?);
            Ok(())
        })
    }

    /// Asks once, without waiting.
    pub async fn try_acquire(self) -> Result<Attempt, Error> {
        let mut wish = self.checked()?;
        wish.wait = Some(Duration::ZERO);
        let shared = self.tenure.shared.clone();
        match self.tenure.shared.run(asking::acquire(shared, wish)).await? {
            Ok(grant) => Ok(Attempt::Granted(grant)),
            Err(Asked::Held(held)) => Ok(Attempt::Held(held)),
            Err(other) => Err(other.into()),
        }
    }

    /// Waits until the locks are ours. Dropping the future leaves the queue; nothing stays behind.
    pub async fn acquire(self) -> Result<Grant, AcquireError> {
        let wish = self.checked()?;
        let shared = self.tenure.shared.clone();
        let asked = self.tenure.shared.run(asking::acquire(shared, wish)).await?;
        asked.map_err(AcquireError::from)
    }

    /// Acquires, runs the work, releases. The work is dropped in time if the grant is lost.
    pub async fn run<T>(self, work: impl AsyncFnOnce(&Grant) -> T) -> Result<T, RunError> {
        let grant = self.acquire().await?;
        let done = grant.protect(work(&grant)).await?;
        match grant.release().await {
            // That the release is unknown says nothing about the work: it was done in time.
            Ok(()) | Err(ReleaseError::Unknown(_)) => Ok(done),
            Err(ReleaseError::Lost(loss)) => Err(loss.into()),
        }
    }

    fn checked(&self) -> Result<Wish, Error> {
        let mut wish = self.wish.clone()?;
        if wish.session.is_some() && wish.ttl.is_some() {
            return Err(Refusal::field("ttl", "and a session exclude each other").into());
        }
        if wish.reentrant && wish.owner.is_none() {
            return Err(Refusal::field("owner", "is needed for a re-entrant request").into());
        }
        wish.note = self.tenure.note_or_default(wish.note);
        Ok(wish)
    }
}
