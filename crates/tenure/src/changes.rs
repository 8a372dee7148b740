//! The change feed: every change of locks in commit order, without a gap, or the word that there is one.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tenure_api::{ChangeEvent, LocksQuery};
use tokio::sync::mpsc;

use crate::backend::call::ListLocks;
use crate::backend::{Failure, Told};
use crate::connection::Connection;
use crate::dice;
use crate::error::Error;
use crate::retry;
use crate::tenure::Tenure;
use crate::thread::Running;

/// Changes read ahead of the user.
const AHEAD_MAX: usize = 256;

/// A place in the feed. Keep it as text, and go on from there later: nothing in between is missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Before the oldest change that is kept.
    pub fn oldest() -> Self {
        Cursor("0".into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Cursor(text)
    }
}

impl FromStr for Cursor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Cursor(text.to_owned()))
    }
}

/// What the feed tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something happened to a lock.
    Change {
        /// The place after it.
        cursor: Cursor,
        /// What happened.
        change: ChangeEvent,
    },
    /// Changes before this place are not kept any more: read the state again. The feed goes on from here.
    Resync {
        /// The place the feed goes on from.
        cursor: Cursor,
    },
}

impl Event {
    /// The place after it.
    pub fn cursor(&self) -> &Cursor {
        match self {
            Event::Change { cursor, .. } | Event::Resync { cursor } => cursor,
        }
    }
}

/// A view of the feed to be opened; see [`Tenure::changes`].
#[must_use = "nothing is read before `stream`"]
#[derive(Debug, Clone)]
pub struct Changes {
    tenure: Tenure,
    prefix: String,
    from: Option<Cursor>,
}

impl Changes {
    pub(crate) fn new(tenure: Tenure) -> Self {
        Changes { tenure, prefix: String::new(), from: None }
    }

    /// Only locks whose names begin with this.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// From this place on, instead of from now.
    pub fn from(mut self, cursor: Cursor) -> Self {
        self.from = Some(cursor);
        self
    }

    /// Opens the view. What happens after this returned is in the stream.
    pub async fn stream(self) -> Result<ChangeStream, Error> {
        let full = self.tenure.shared.connection.namespace().full_prefix(&self.prefix)?;
        let from = match self.from {
            Some(cursor) => cursor.0,
            None => {
                let query = LocksQuery { prefix: Some(full), limit: Some(1), ..Default::default() };
                self.tenure.shared.insist(ListLocks(query)).await?.cursor
            }
        };
        Ok(ChangeStream::start(self.tenure, self.prefix, from))
    }
}

/// An open view of the feed. Lost connections are made again from the last place, for as long as it takes; an error
/// is one that trying again does not help, and the last item.
#[must_use = "a stream does nothing unless it is read"]
pub struct ChangeStream {
    events: mpsc::Receiver<Result<Event, Error>>,
    _reader: Running<()>,
    // Keeps the connection open while somebody reads.
    _tenure: Tenure,
}

impl fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChangeStream(…)")
    }
}

impl ChangeStream {
    fn start(tenure: Tenure, prefix: String, from: String) -> Self {
        let (sender, events) = mpsc::channel(AHEAD_MAX);
        let connection = tenure.shared.connection.clone();
        let reader = tenure.shared.start(read_for_ever(connection, prefix, from, sender));
        ChangeStream { events, _reader: reader, _tenure: tenure }
    }

    /// The next event; `None` after an error or when the connection was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        self.events.recv().await
    }
}

impl Stream for ChangeStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context)
    }
}

async fn read_for_ever(
    connection: Arc<Connection>,
    prefix: String,
    mut from: String,
    to: mpsc::Sender<Result<Event, Error>>,
) {
    let mut failures = 0;
    loop {
        let mut told = match connection.changes(&prefix, Some(from.clone())) {
            Ok(told) => told,
            Err(refusal) => return tell_last(&to, refusal.into()).await,
        };
        while let Some(told) = told.next().await {
            let event = match told {
                Ok(told) => event(told),
                Err(failure) if is_final(&failure) => return tell_last(&to, failure.into()).await,
                Err(_passing) => break,
            };
            failures = 0;
            from = event.cursor().0.clone();
            if to.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if connection.check_open().is_err() {
            return;
        }
        failures += 1;
        tokio::time::sleep(retry::pause(failures, Default::default(), dice::die())).await;
    }
}

async fn tell_last(to: &mpsc::Sender<Result<Event, Error>>, error: Error) {
    // If nobody reads any more, nobody needs to know.
    let _unread = to.send(Err(error)).await;
}

fn is_final(failure: &Failure) -> bool {
    failure.is_passing().is_none()
}

fn event(told: Told) -> Event {
    match told {
        Told::Change(cursor, change) => Event::Change { cursor: Cursor(cursor), change },
        Told::Resync(cursor) => Event::Resync { cursor: Cursor(cursor) },
    }
}
