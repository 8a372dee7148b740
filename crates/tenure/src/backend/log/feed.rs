//! The change feed of an embedded log.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tenure_api::{ChangeEvent, LostEvent};
use tenure_core::{Action, Change, LockChange, Prefix, RecalledGrant, SessionId};
use tenure_log::{Cursor, Event, Subscription};

use super::{LogBackend, session_end};
use crate::backend::{Failure, SessionEvent, Told};
use crate::error::Refusal;

impl LogBackend {
    /// What happens to a session from now on.
    pub(crate) fn session_events(&self, id: SessionId) -> BoxStream<'static, SessionEvent> {
        let log = self.clone();
        changes(self.log.session_changes(id, self.log.cursor()))
            .filter_map(move |told| {
                let log = log.clone();
                async move {
                    match told {
                        (_, Some(change)) => log.session_event(id, change).await,
                        // What is missing is told by the next keep-alive.
                        (_, None) => None,
                    }
                }
            })
            .boxed()
    }

    async fn session_event(&self, id: SessionId, change: Change) -> Option<SessionEvent> {
        let change = match change {
            Change::SessionEnded { id: ended, reason, .. } if ended == id => {
                return Some(SessionEvent::Ended(session_end(reason)));
            }
            Change::Lock(change) if change.session == Some(id) => change,
            Change::Lock(_) | Change::SessionEnded { .. } => return None,
        };
        match change.action {
            Action::Recalled => self.recalled(change).await,
            _ => LostEvent::of(&change).map(SessionEvent::Lost),
        }
    }

    /// The change does not say how soon: the lock does.
    async fn recalled(&self, change: LockChange) -> Option<SessionEvent> {
        let (name, token) = (change.name, change.token?);
        let view = self.read(|machine| machine.lock(&name)).await.ok()?;
        let holder = view.holders.into_iter().find(|view| view.holder.token == token)?;
        let recall = holder.recall?;
        Some(SessionEvent::Recalled(RecalledGrant { name, token, recall }.into()))
    }

    /// Changes of names that begin with `prefix`, after a place.
    pub(crate) fn changes(
        &self,
        prefix: Prefix,
        after: Option<String>,
    ) -> BoxStream<'static, Result<Told, Failure>> {
        let after: Option<Cursor> = match after.map(|text| text.parse()).transpose() {
            Ok(after) => after,
            Err(error) => {
                let error: tenure_log::NotACursor = error;
                let refusal = Refusal::field("after", error.to_string());
                return stream::once(async { Err(Failure::Refused(refusal)) }).boxed();
            }
        };
        changes(self.log.changes(after))
            .filter_map(move |(cursor, change)| {
                let told = match change {
                    None => Some(Told::Resync(cursor.to_string())),
                    Some(Change::Lock(change)) if prefix.covers(change.name.as_str()) => {
                        Some(Told::Change(cursor.to_string(), ChangeEvent::from(&change)))
                    }
                    Some(_) => None,
                };
                async move { told.map(Ok) }
            })
            .boxed()
    }
}

/// Each change with the place after it; `None`: changes are missing up to that place.
fn changes(subscription: Subscription) -> impl futures::Stream<Item = (Cursor, Option<Change>)> {
    let waiting: VecDeque<(Cursor, Change)> = VecDeque::new();
    stream::unfold((subscription, waiting), |(mut subscription, mut waiting)| async move {
        loop {
            if let Some((cursor, change)) = waiting.pop_front() {
                return Some(((cursor, Some(change)), (subscription, waiting)));
            }
            match subscription.next().await {
                Event::Changes(changes) => waiting.extend(changes),
                Event::Resync(cursor) => return Some(((cursor, None), (subscription, waiting))),
                Event::Slow | Event::Stopping => return None,
            }
        }
    })
}
