//! Where callers leave their commands and the proposer fetches them, and who waits for which answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_core::{Acquire, Command, TicketId};
use tokio::sync::{Notify, oneshot};

use crate::error::{Reason, SubmitError};
use crate::outcome::Reply;

/// Commands that wait for the proposer; one more is refused as [`Reason::Overloaded`].
pub(crate) const INBOX_MAX: usize = 100_000;
/// Commands without a caller that wait for the proposer; one more is dropped.
pub(crate) const LATER_MAX: usize = 100_000;
/// Commands in one entry of the log.
pub(crate) const BATCH_COMMANDS_MAX: usize = 4_096;
/// Bytes of commands in one entry of the log, about.
pub(crate) const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Bytes of commands of one caller, about: they are never split, and their entry must fit into a segment even if each
/// command is several times as large as it looks.
pub(crate) const WORK_BYTES_MAX: usize = 2 << 20;

type Sender<T> = oneshot::Sender<Result<T, SubmitError>>;
type Receiver<T> = oneshot::Receiver<Result<T, SubmitError>>;

/// A connection that stopped waiting for its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// The ticket.
    pub(crate) ticket: TicketId,
    /// Which of the connections that waited for it.
    pub(crate) generation: u64,
    /// Whether it may come back.
    pub(crate) returning: bool,
}

/// Commands of one caller.
enum Work {
    One(Command, Option<Sender<Reply>>),
    Many(Vec<Command>, Sender<Vec<Reply>>),
}

/// Who waits for the answers to a batch.
#[derive(Debug)]
pub(crate) enum Caller {
    /// Nobody: one answer is thrown away.
    Nobody,
    /// One answer.
    One(Sender<Reply>),
    /// So many answers.
    Many(usize, Sender<Vec<Reply>>),
}

impl Caller {
    /// Tells the caller that there is no answer.
    pub(crate) fn fail(self, error: SubmitError) {
        // A caller that is gone needs no answer.
        match self {
            Caller::Nobody => {}
            Caller::One(sender) => drop(sender.send(Err(error))),
            Caller::Many(_, sender) => drop(sender.send(Err(error))),
        }
    }
}

/// The commands of one entry.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// In order.
    pub(crate) commands: Vec<Command>,
    /// Who waits for them, in the same order.
    pub(crate) callers: Vec<Caller>,
}

/// The desk itself.
#[derive(Default)]
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    notify: Notify,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Work>,
    // Commands in the queue, with and without a caller.
    asked: usize,
    later: usize,
    leaves: VecDeque<Leave>,
    flight: Option<Flight>,
    closed: bool,
}

struct Flight {
    since: Instant,
    callers: Vec<Caller>,
}

impl Desk {
    /// Leaves one command.
    pub(crate) fn ask(&self, command: Command) -> Result<Receiver<Reply>, SubmitError> {
        let (sender, receiver) = oneshot::channel();
        self.push(Work::One(command, Some(sender)))?;
        Ok(receiver)
    }

    /// Leaves commands for one entry.
    pub(crate) fn ask_all(
        &self,
        commands: Vec<Command>,
    ) -> Result<Receiver<Vec<Reply>>, SubmitError> {
        let (sender, receiver) = oneshot::channel();
        self.push(Work::Many(commands, sender))?;
        Ok(receiver)
    }

    /// Leaves a command that nobody waits for.
    pub(crate) fn ask_later(&self, command: Command) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        if inner.later >= LATER_MAX {
            tracing::warn!(event = "command_dropped", max = LATER_MAX, "nobody waited for it");
            return;
        }
        inner.later += 1;
        inner.queue.push_back(Work::One(command, None));
        drop(inner);
        self.notify.notify_one();
    }

    /// Notes that a connection stopped waiting. There are never more of these than there were open answers.
    pub(crate) fn leave(&self, leave: Leave) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.leaves.push_back(leave);
            drop(inner);
            self.notify.notify_one();
        }
    }

    /// Wakes the proposer.
    pub(crate) fn ring(&self) {
        self.notify.notify_one();
    }

    /// Resolves when something was left, or was while nobody waited.
    pub(crate) async fn rung(&self) {
        self.notify.notified().await;
    }

    /// Whether nothing is to be fetched.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        inner.queue.is_empty() && inner.leaves.is_empty()
    }

    /// Fetches connections that stopped waiting.
    pub(crate) fn take_leaves(&self, max: usize) -> Vec<Leave> {
        let mut inner = self.inner.lock();
        let count = inner.leaves.len().min(max);
        inner.leaves.drain(..count).collect()
    }

    /// Adds what fits into one entry; what `refuse` names a reason for is refused instead.
    pub(crate) fn take(&self, taken: &mut Taken, refuse: impl Fn(&Command) -> Option<Reason>) {
        let mut inner = self.inner.lock();
        let mut bytes = taken.commands.iter().map(bytes_about).sum::<usize>();
        while let Some(work) = inner.queue.front() {
            let (count, more_bytes) = (work.commands().len(), work.bytes_about());
            let full = taken.commands.len() + count > BATCH_COMMANDS_MAX
                || bytes + more_bytes > BATCH_BYTES_MAX;
            if full && !taken.commands.is_empty() {
                break;
            }
            let reason = work.commands().iter().find_map(&refuse);
            let work = inner.queue.pop_front().expect("it was just looked at");
            inner.forget(&work);
            match reason {
                Some(reason) => work.into_caller().fail(SubmitError::Unavailable(reason)),
                None => {
                    bytes += more_bytes;
                    work.put_into(taken);
                }
            }
        }
    }

    /// The batch is on its way; its callers can be told from elsewhere if it takes too long.
    pub(crate) fn depart(&self, callers: Vec<Caller>, now: Instant) {
        self.inner.lock().flight = Some(Flight { since: now, callers });
    }

    /// The batch has arrived: who still waits for it.
    pub(crate) fn arrive(&self) -> Vec<Caller> {
        self.inner.lock().flight.take().map(|flight| flight.callers).unwrap_or_default()
    }

    /// How long the batch under way has been so, if somebody waits for it.
    pub(crate) fn under_way_for(&self, now: Instant) -> Option<Duration> {
        let inner = self.inner.lock();
        let flight = inner.flight.as_ref()?;
        Some(now.saturating_duration_since(flight.since))
    }

    /// Tells the callers of the batch under way that nothing is known of it, and those who queue that nothing
    /// happened. Commands without a caller stay.
    pub(crate) fn give_up(&self, reason: Reason) {
        let mut inner = self.inner.lock();
        let flight = inner.flight.as_mut().map(|flight| std::mem::take(&mut flight.callers));
        let queue = std::mem::take(&mut inner.queue);
        let (asked, later): (Vec<Work>, Vec<Work>) =
            queue.into_iter().partition(|work| !matches!(work, Work::One(_, None)));
        inner.queue = later.into();
        inner.asked = 0;
        drop(inner);
        for caller in flight.into_iter().flatten() {
            caller.fail(SubmitError::Unknown);
        }
        for work in asked {
            work.into_caller().fail(SubmitError::Unavailable(reason));
        }
    }

    /// Takes no more, and refuses what is there.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.give_up(Reason::Stopping);
        let mut inner = self.inner.lock();
        (inner.queue, inner.leaves) = Default::default();
    }

    fn push(&self, work: Work) -> Result<(), SubmitError> {
        let count = work.commands().len();
        let too_large = work.bytes_about() > WORK_BYTES_MAX;
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(SubmitError::Unavailable(Reason::Stopping));
        }
        if too_large || inner.asked + count > INBOX_MAX {
            return Err(SubmitError::Unavailable(Reason::Overloaded));
        }
        inner.asked += count;
        inner.queue.push_back(work);
        drop(inner);
        self.notify.notify_one();
        Ok(())
    }
}

impl Inner {
    fn forget(&mut self, work: &Work) {
        match work {
            Work::One(_, None) => self.later -= 1,
            Work::One(_, Some(_)) => self.asked -= 1,
            Work::Many(commands, _) => self.asked -= commands.len(),
        }
    }
}

impl Work {
    fn commands(&self) -> &[Command] {
        match self {
            Work::One(command, _) => std::slice::from_ref(command),
            Work::Many(commands, _) => commands,
        }
    }

    fn bytes_about(&self) -> usize {
        self.commands().iter().map(bytes_about).sum()
    }

    fn into_caller(self) -> Caller {
        match self {
            Work::One(_, None) => Caller::Nobody,
            Work::One(_, Some(sender)) => Caller::One(sender),
            Work::Many(commands, sender) => Caller::Many(commands.len(), sender),
        }
    }

    fn put_into(self, taken: &mut Taken) {
        match self {
            Work::One(command, sender) => {
                taken.commands.push(command);
                taken.callers.push(sender.map_or(Caller::Nobody, Caller::One));
            }
            Work::Many(commands, sender) => {
                taken.callers.push(Caller::Many(commands.len(), sender));
                taken.commands.extend(commands);
            }
        }
    }
}

/// How many bytes a command takes on disk, about, without encoding it.
fn bytes_about(command: &Command) -> usize {
    const SMALL: usize = 160;
    match command {
        Command::Acquire(acquire) => SMALL + acquire_bytes(acquire),
        Command::PutKey(key) => {
            SMALL + key.prefixes.iter().map(|prefix| prefix.as_str().len() + 2).sum::<usize>()
        }
        Command::Cancel(cancel) => SMALL + names_bytes(cancel.names.iter()),
        Command::Release(release) => SMALL + names_bytes(release.names.iter()),
        _ => SMALL,
    }
}

fn acquire_bytes(acquire: &Acquire) -> usize {
    let note = acquire.note.as_ref().map_or(0, |note| note.as_str().len());
    note + names_bytes(acquire.wants.iter().map(|want| &want.name))
}

fn names_bytes<'a>(names: impl Iterator<Item = &'a tenure_core::LockName>) -> usize {
    names.map(|name| name.as_str().len() + 12).sum()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn nothing(_: &Command) -> Option<Reason> {
        None
    }

    fn batch(desk: &Desk) -> Taken {
        let mut taken = Taken::default();
        desk.take(&mut taken, nothing);
        taken
    }

    #[test]
    fn one_entry_takes_what_fits_and_leaves_the_rest() {
        let desk = Desk::default();
        for _ in 0..BATCH_BYTES_MAX / 160 + 5 {
            drop(desk.ask(Command::Tick).unwrap());
        }
        let first = batch(&desk).commands.len();
        assert_eq!((first, batch(&desk).commands.len()), (BATCH_BYTES_MAX / 160, 5));
    }

    #[test]
    fn commands_of_one_caller_are_never_split() {
        let desk = Desk::default();
        drop(desk.ask(Command::Tick).unwrap());
        let many = vec![Command::Tick; BATCH_COMMANDS_MAX + 1];
        drop(desk.ask_all(many).unwrap());
        assert_eq!(batch(&desk).commands.len(), 1);
        assert_eq!(batch(&desk).commands.len(), BATCH_COMMANDS_MAX + 1);
    }

    #[test]
    fn a_full_inbox_refuses() {
        let desk = Desk::default();
        for _ in 0..INBOX_MAX / 1_000 {
            drop(desk.ask_all(vec![Command::Tick; 1_000]).unwrap());
        }
        let refused = desk.ask(Command::Tick).unwrap_err();
        assert_eq!(refused, SubmitError::Unavailable(Reason::Overloaded));
        batch(&desk);
        assert!(desk.ask(Command::Tick).is_ok());
    }

    #[test]
    fn one_caller_that_asks_for_more_than_fits_is_refused() {
        let desk = Desk::default();
        let refused = desk.ask_all(vec![Command::Tick; WORK_BYTES_MAX]).unwrap_err();
        assert_eq!(refused, SubmitError::Unavailable(Reason::Overloaded));
    }

    #[test]
    fn giving_up_tells_unknown_to_those_under_way_and_unavailable_to_those_who_queue() {
        let desk = Desk::default();
        let under_way = desk.ask(Command::Tick).unwrap();
        desk.depart(batch(&desk).callers, Instant::now());
        let queued = desk.ask(Command::Tick).unwrap();
        desk.ask_later(Command::Tick);
        desk.give_up(Reason::NoQuorum);
        let answer = |receiver: Receiver<Reply>| receiver.now_or_never().unwrap().unwrap();
        assert_eq!(answer(under_way).unwrap_err(), SubmitError::Unknown);
        let unavailable = SubmitError::Unavailable(Reason::NoQuorum);
        assert_eq!(answer(queued).unwrap_err(), unavailable);
        assert_eq!(batch(&desk).commands.len(), 1, "what nobody waits for stays");
        assert_eq!(desk.arrive().len(), 0, "they were told");
    }

    #[test]
    fn who_was_given_up_takes_no_room_from_those_who_come_later() {
        let desk = Desk::default();
        for _ in 0..INBOX_MAX / 1_000 {
            drop(desk.ask_all(vec![Command::Tick; 1_000]).unwrap());
        }
        desk.give_up(Reason::NoQuorum);
        assert!(desk.ask(Command::Tick).is_ok());
    }

    #[test]
    fn a_closed_desk_keeps_nothing() {
        let desk = Desk::default();
        desk.ask_later(Command::Tick);
        desk.leave(Leave { ticket: TicketId(1), generation: 1, returning: false });
        desk.close();
        desk.ask_later(Command::Tick);
        assert!(desk.is_empty());
        assert_eq!(
            desk.ask(Command::Tick).unwrap_err(),
            SubmitError::Unavailable(Reason::Stopping)
        );
    }

    #[test]
    fn what_is_refused_at_the_last_moment_did_not_happen() {
        let desk = Desk::default();
        let asked = desk.ask(Command::Tick).unwrap();
        let mut taken = Taken::default();
        desk.take(&mut taken, |_| Some(Reason::StorageFull));
        assert!(taken.commands.is_empty());
        let answer = asked.now_or_never().unwrap().unwrap();
        assert_eq!(answer.unwrap_err(), SubmitError::Unavailable(Reason::StorageFull));
    }
}
