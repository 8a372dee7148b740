//! At most once per span, whoever tries.

use std::time::Duration;

use tenure_core::{BadText, LockName, Note};

use crate::error::{AcquireError, Error, Held, Refusal, RunError};
use crate::grant::Grant;
use crate::request::{Attempt, Request, Wanted};
use crate::tenure::Tenure;
use crate::text::IntoText;

/// A task that runs at most once per span anywhere; see [`Tenure::once`]. Nobody gets a turn again before nine tenths
/// of the span, so that the jitter of a timer cannot skip one.
#[must_use = "nothing is asked before `run`"]
#[derive(Debug, Clone)]
pub struct Once<'a> {
    tenure: &'a Tenure,
    name: Result<LockName, Refusal>,
    every: Duration,
    note: Option<Result<Note, Refusal>>,
}

/// What became of a turn.
#[derive(Debug)]
pub enum Turn<T> {
    /// It was ours, and this came of the work.
    Ran(T),
    /// Somebody has it or had it within the span.
    Skipped(Held),
}

impl<'a> Once<'a> {
    pub(crate) fn new(
        tenure: &'a Tenure,
        name: Result<LockName, BadText>,
        every: Duration,
    ) -> Self {
        let name = name.map_err(|why| Refusal::text("name", &why));
        Once { tenure, name, every, note: None }
    }

    /// Who, why, where, for people who look.
    pub fn note(mut self, text: impl IntoText<Note>) -> Self {
        self.note = Some(text.into_text().map_err(|why| Refusal::text("note", &why)));
        self
    }

    /// Tries to get the turn, without waiting. The turn counts from here, whatever becomes of the work.
    pub async fn try_acquire(self) -> Result<Attempt, Error> {
        self.request()?.try_acquire().await
    }

    /// Runs the work if it is our turn. The work is dropped in time if the lock is lost.
    pub async fn run<T>(self, work: impl AsyncFnOnce(&Grant) -> T) -> Result<Turn<T>, RunError> {
        let grant = match self.try_acquire().await.map_err(AcquireError::from)? {
            Attempt::Granted(grant) => grant,
            Attempt::Held(held) => return Ok(Turn::Skipped(held)),
        };
        let done = grant.protect(work(&grant)).await?;
        drop(grant);
        Ok(Turn::Ran(done))
    }

    fn request(&self) -> Result<Request<'a>, Error> {
        let wanted = Wanted::exclusive(self.name.clone()?);
        let request = Request::new(self.tenure, [wanted]).at_least(self.every.mul_f64(0.9));
        match &self.note {
            Some(note) => Ok(request.note(note.clone()?)),
            None => Ok(request),
        }
    }
}
