//! Answers, and the promise of one to a request that stands in a queue.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tenure_core::{Answer, Settled, TicketId};
use tokio::sync::oneshot;

use crate::desk::{Desk, Leave};

/// The answer to a command.
#[derive(Debug)]
pub struct Reply {
    /// The machine's answer.
    pub answer: Answer,
    /// What becomes of it: exactly for [`Answer::Queued`].
    pub outcome: Option<Outcome>,
}

/// A newer connection asked for the same request and gets the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a newer request with this id gets the answer")]
pub struct Superseded;

/// What becomes of a queued request: a future. It does not resolve any more once the log has stopped.
///
/// Dropped before it resolved, it tells the machine that no answer is open for the request any more: the request
/// loses its place, or has some seconds to come back for it (see [`Outcome::returning`]).
pub struct Outcome {
    ticket: TicketId,
    generation: u64,
    receiver: oneshot::Receiver<Result<Settled, Superseded>>,
    returning: bool,
    resolved: bool,
    desk: Arc<Desk>,
}

impl Outcome {
    /// Whether the client can come back for its place: it made the request id itself, or was told it. False at
    /// first: without this the place is given up when the outcome is dropped.
    pub fn returning(&mut self, returning: bool) {
        self.returning = returning;
    }

    /// Stops waiting; see [`Outcome::returning`].
    pub fn leave(mut self, returning: bool) {
        self.returning = returning;
    }
}

impl Future for Outcome {
    type Output = Result<Settled, Superseded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.receiver).poll(context) {
            Poll::Ready(Ok(settled)) => {
                self.resolved = true;
                Poll::Ready(settled)
            }
            // The log is gone, and nobody knows what becomes of the request.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.resolved {
            return;
        }
        match self.receiver.try_recv() {
            // It ended by itself, or another connection has it.
            Ok(Err(Superseded) | Ok(Settled::Refused(_))) => {}
            // A grant that nobody heard of is told to the machine as well.
            Ok(Ok(Settled::Granted(_))) | Err(oneshot::error::TryRecvError::Empty) => {
                let Outcome { ticket, generation, returning, .. } = *self;
                self.desk.leave(Leave { ticket, generation, returning });
            }
            Err(oneshot::error::TryRecvError::Closed) => {}
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// Who waits for which ticket. Holds as many as there are outcomes, each of which is an open answer of a caller.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    generation: u64,
    waiting: HashMap<TicketId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    generation: u64,
    sender: oneshot::Sender<Result<Settled, Superseded>>,
}

impl Waiters {
    /// A connection waits for a ticket, in place of the one that did.
    pub(crate) fn attach(&mut self, ticket: TicketId, desk: &Arc<Desk>) -> Outcome {
        self.generation += 1;
        let generation = self.generation;
        let (sender, receiver) = oneshot::channel();
        if let Some(older) = self.waiting.insert(ticket, Waiting { generation, sender }) {
            // Its connection may be gone already.
            let _ = older.sender.send(Err(Superseded));
        }
        let desk = desk.clone();
        Outcome { ticket, generation, receiver, returning: false, resolved: false, desk }
    }

    /// A ticket got its outcome.
    pub(crate) fn settle(&mut self, ticket: TicketId, settled: Settled) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            // If its connection is gone, the outcome was dropped, and that tells the machine.
            let _ = waiting.sender.send(Ok(settled));
        }
    }

    /// A connection stopped waiting. Whether the machine needs to hear of it: not if a newer one has the ticket.
    pub(crate) fn detach(&mut self, leave: &Leave) -> bool {
        match self.waiting.get(&leave.ticket) {
            Some(waiting) if waiting.generation != leave.generation => false,
            Some(_) => {
                self.waiting.remove(&leave.ticket);
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tenure_core::Refusal;

    use super::*;

    const TICKET: TicketId = TicketId(7);

    fn refused() -> Settled {
        Settled::Refused(Box::new(Refusal::Superseded))
    }

    #[test]
    fn the_newest_connection_gets_the_outcome() {
        let (mut waiters, desk) = (Waiters::default(), Arc::new(Desk::default()));
        let older = waiters.attach(TICKET, &desk);
        let newer = waiters.attach(TICKET, &desk);
        assert_eq!(older.now_or_never(), Some(Err(Superseded)));
        waiters.settle(TICKET, refused());
        assert_eq!(newer.now_or_never(), Some(Ok(refused())));
        assert_eq!(desk.take_leaves(10).len(), 0, "both resolved: nothing to tell");
    }

    #[test]
    fn a_superseded_outcome_that_is_dropped_tells_nothing() {
        let (mut waiters, desk) = (Waiters::default(), Arc::new(Desk::default()));
        let older = waiters.attach(TICKET, &desk);
        let _newer = waiters.attach(TICKET, &desk);
        drop(older);
        assert_eq!(desk.take_leaves(10).len(), 0);
    }

    #[test]
    fn a_dropped_outcome_is_told_unless_a_newer_one_came() {
        let (mut waiters, desk) = (Waiters::default(), Arc::new(Desk::default()));
        let mut older = waiters.attach(TICKET, &desk);
        older.returning(true);
        drop(older);
        let leaves = desk.take_leaves(10);
        assert!(leaves.len() == 1 && leaves[0].returning);
        let _newer = waiters.attach(TICKET, &desk);
        assert!(!waiters.detach(&leaves[0]), "the newer connection keeps the place");
    }

    #[test]
    fn a_grant_that_nobody_heard_of_is_told() {
        let (mut waiters, desk) = (Waiters::default(), Arc::new(Desk::default()));
        let outcome = waiters.attach(TICKET, &desk);
        drop(outcome);
        let leaves = desk.take_leaves(10);
        assert!(waiters.detach(&leaves[0]));
        assert!(waiters.detach(&leaves[0]), "also if it was granted in between");
    }
}
