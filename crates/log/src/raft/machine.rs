//! The machine as the consensus library asks for it: entries in, answers out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use parking_lot::{Mutex, RwLock};
use tenure_core::{Answer, Applied, Machine, Time};

use super::copy::{Files, Mark};
use super::{RaftEntry, Types, entry_id, log_id, members, membership};
use crate::Observer;
use crate::alarm::Alarm;
use crate::feed::Feed;
use crate::meters::Operation;
use crate::outcome::{Reply, Waiters};
use crate::proposal::Proposal;
use crate::snapshot::{Meta, Snapshot};

/// Between two attempts to save a snapshot.
const RETRY: Duration = Duration::from_secs(5);

type Membership = StoredMembership<u64, openraft::BasicNode>;

/// The machine and what hangs on it; shared by readers, the library and the proposer.
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) feed: Feed,
    pub(crate) waiters: Mutex<Waiters>,
    pub(crate) alarm: Arc<Alarm>,
    observer: Option<Observer>,
    // Absent once the node has stopped: the directory is given up although readers still hold the machine.
    files: Mutex<Option<Arc<Files>>>,
    // What of the machine the proposer needs for every batch, without the lock.
    now_micros: AtomicU64,
    deadline_micros: AtomicU64,
    // The observer hears of nothing that was replayed.
    live: AtomicBool,
    // The next snapshot is of the machine itself, however large.
    still_once: AtomicBool,
    purge_upto: Mutex<Option<u64>>,
}

/// The machine as of an entry.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    applied: Option<LogId<u64>>,
    membership: Membership,
}

impl Shared {
    /// The machine of a snapshot, or an empty one.
    pub(crate) fn new(
        state: State,
        feed: Feed,
        alarm: Arc<Alarm>,
        observer: Option<Observer>,
        files: Files,
    ) -> Self {
        feed.restart(state.machine.epoch(), state.machine.revision());
        let shared = Shared {
            now_micros: AtomicU64::new(0),
            deadline_micros: AtomicU64::new(0),
            state: RwLock::new(State::default()),
            feed,
            waiters: Mutex::default(),
            alarm,
            observer,
            files: Mutex::new(Some(Arc::new(files))),
            live: AtomicBool::new(false),
            still_once: AtomicBool::new(false),
            purge_upto: Mutex::new(None),
        };
        shared.note_times(&state.machine);
        *shared.state.write() = state;
        shared
    }

    /// Machine time as of the last entry that took effect.
    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.now_micros.load(Ordering::Acquire))
    }

    /// When the next thing ends.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let micros = self.deadline_micros.load(Ordering::Acquire);
        (micros != u64::MAX).then(|| Time::from_micros(micros))
    }

    /// From now on entries are news.
    pub(crate) fn go_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Has the next snapshot made of the machine while it stands still: for a start, when hardly anybody waits.
    pub(crate) fn stand_still_once(&self) {
        self.still_once.store(true, Ordering::Release);
    }

    /// Up to which entry a new snapshot made the log worthless; told once.
    pub(crate) fn take_purge(&self) -> Option<u64> {
        self.purge_upto.lock().take()
    }

    /// Gives the directory up.
    pub(crate) fn close(&self) {
        self.files.lock().take();
        self.feed.close();
    }

    pub(crate) fn files(&self) -> io::Result<Arc<Files>> {
        let open = self.files.lock().clone();
        open.ok_or_else(|| io::Error::other("the log has stopped"))
    }

    fn note_times(&self, machine: &Machine) {
        let deadline = machine.next_deadline().map_or(u64::MAX, Time::as_micros);
        self.deadline_micros.store(deadline, Ordering::Release);
        self.now_micros.store(machine.now().as_micros(), Ordering::Release);
    }

    fn apply(self: &Arc<Self>, entry: RaftEntry) -> Vec<Reply> {
        let mut state = self.state.write();
        state.applied = Some(entry.log_id);
        self.alarm.meters.applied(entry.log_id.index);
        let proposal = match entry.payload {
            EntryPayload::Blank => return Vec::new(),
            EntryPayload::Membership(membership) => {
                state.membership = StoredMembership::new(Some(entry.log_id), membership);
                return Vec::new();
            }
            EntryPayload::Normal(proposal) => proposal,
        };
        let applied = state.machine.apply(&proposal.batch);
        self.note_times(&state.machine);
        let (epoch, revision) = (state.machine.epoch(), state.machine.revision());
        // Under the lock: whoever reads the machine finds the feed as far as what was read.
        self.feed.push(epoch, revision, &applied.changes, Instant::now());
        drop(state);
        self.answer(&proposal, applied)
    }

    fn answer(&self, proposal: &Proposal, applied: Applied) -> Vec<Reply> {
        let Applied { answers, settled, changes } = applied;
        let mut waiters = self.waiters.lock();
        // Attached before anything is settled: a request may be queued and granted in one batch.
        let replies = if proposal.ours {
            answers.into_iter().map(|answer| reply(answer, &mut waiters, &self.alarm)).collect()
        } else {
            Vec::new()
        };
        for (ticket, settled) in settled {
            waiters.settle(ticket, settled);
        }
        drop(waiters);
        if !changes.is_empty() {
            self.feed.tell();
            if let Some(observer) = self.observer.as_ref().filter(|_| self.is_live()) {
                observer(&changes);
            }
        }
        replies
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    fn snapshot(&self, files: &Files) -> io::Result<Snapshot> {
        let is_small = self.state.read().machine.records() <= files.still_records_max;
        if self.still_once.swap(false, Ordering::AcqRel) || is_small {
            return Ok(self.still_snapshot(files));
        }
        let copied = self.copied_snapshot(files);
        match copied {
            Err(error) if !self.alarm.is_stopping() => {
                // Whatever is wrong with the log or the last snapshot, the machine is right: better a pause than none.
                self.alarm.meters.failed(Operation::Read);
                tracing::error!(event = "snapshot_not_copied", %error, "commands wait for this one");
                Ok(self.still_snapshot(files))
            }
            copied => copied,
        }
    }

    /// A snapshot of the machine, which stands still meanwhile.
    pub(crate) fn still_snapshot(&self, files: &Files) -> Snapshot {
        let state = self.state.read();
        let meta = state.meta(files.snapshots.log());
        Snapshot { meta, state: Arc::new(state.machine.snapshot()) }
    }

    /// A snapshot of the machine as it is now, made from a copy, while it goes on.
    pub(crate) fn copied_snapshot(&self, files: &Files) -> io::Result<Snapshot> {
        let state = self.state.read();
        let (meta, mark) = (state.meta(files.snapshots.log()), Mark::of(&state.machine));
        drop(state);
        let copy = files.copy(meta.last, mark, || self.alarm.is_stopping())?;
        Ok(Snapshot { meta, state: Arc::new(copy.snapshot()) })
    }

    // The library ends at the first error, so this goes on until it succeeds or the node stops.
    fn save_snapshot(&self) -> Result<Snapshot, io::Error> {
        let files = self.files()?;
        let begun = Instant::now();
        let logged = self.alarm.meters.log_bytes();
        let snapshot = self.snapshot(&files)?;
        loop {
            match files.snapshots.save(&snapshot) {
                Ok(purge) => {
                    // What was logged meanwhile counts for the next one.
                    self.alarm.meters.condensed(logged);
                    self.alarm.meters.took_snapshot(begun.elapsed());
                    *self.purge_upto.lock() = purge;
                    self.alarm.desk.ring();
                    return Ok(snapshot);
                }
                Err(error) => {
                    self.alarm.meters.failed(Operation::Snapshot);
                    tracing::error!(event = "snapshot_failed", %error, "trying again");
                    if self.alarm.pause(RETRY) {
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl State {
    fn meta(&self, log: u64) -> Meta {
        let last = self.applied.map(entry_id);
        let from = self.membership.log_id().map(entry_id);
        let id = last.map_or_else(
            || "empty".into(),
            |last| format!("{}-{}-{}", last.term, last.node, last.index),
        );
        Meta { log, last, members: (from, members(self.membership.membership())), id }
    }
}

fn reply(answer: Answer, waiters: &mut Waiters, alarm: &Alarm) -> Reply {
    let outcome = match &answer {
        Answer::Queued(queued) => Some(waiters.attach(queued.ticket, &alarm.desk)),
        _ => None,
    };
    Reply { answer, outcome }
}

/// The state a snapshot holds; an error tells what is wrong with it.
pub(crate) fn restore(snapshot: &Snapshot) -> Result<State, String> {
    let machine = Machine::restore(&snapshot.state).map_err(|error| error.to_string())?;
    let (from, members) = &snapshot.meta.members;
    Ok(State {
        machine,
        applied: snapshot.meta.last.map(log_id),
        membership: StoredMembership::new(from.map(log_id), membership(members)),
    })
}

fn library_meta(meta: &Meta) -> SnapshotMeta<u64, openraft::BasicNode> {
    let (from, members) = &meta.members;
    SnapshotMeta {
        last_log_id: meta.last.map(log_id),
        last_membership: StoredMembership::new(from.map(log_id), membership(members)),
        snapshot_id: meta.id.clone(),
    }
}

fn library_snapshot(snapshot: Snapshot) -> openraft::Snapshot<Types> {
    let meta = library_meta(&snapshot.meta);
    let state = Box::new(io::Cursor::new(Arc::unwrap_or_clone(snapshot.state)));
    openraft::Snapshot { meta, snapshot: state }
}

/// The library's handle of the machine; clones share it.
#[derive(Clone)]
pub(crate) struct Applier(pub(crate) Arc<Shared>);

impl RaftStateMachine<Types> for Applier {
    type SnapshotBuilder = Applier;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, Membership), StorageError<u64>> {
        let state = self.0.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Reply>>, StorageError<u64>>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(entries.into_iter().map(|entry| self.0.apply(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Applier {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<io::Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, openraft::BasicNode>,
        snapshot: Box<io::Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let failed = |error: io::Error| -> StorageError<u64> {
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error)).into()
        };
        let from = meta.last_membership.log_id().map(entry_id);
        let files = self.0.files().map_err(failed)?;
        let snapshot = Snapshot {
            meta: Meta {
                log: files.snapshots.log(),
                last: meta.last_log_id.map(entry_id),
                members: (from, members(meta.last_membership.membership())),
                id: meta.snapshot_id.clone(),
            },
            state: Arc::new(snapshot.into_inner()),
        };
        let state = restore(&snapshot).map_err(|why| failed(io::Error::other(why)))?;
        files.snapshots.save(&snapshot).map_err(failed)?;
        let mut current = self.0.state.write();
        self.0.note_times(&state.machine);
        self.0.feed.restart(state.machine.epoch(), state.machine.revision());
        *current = state;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::Snapshot<Types>>, StorageError<u64>> {
        let newest = self
            .0
            .files()
            .and_then(|files| files.snapshots.newest())
            .map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(newest.map(library_snapshot))
    }
}

impl RaftSnapshotBuilder<Types> for Applier {
    async fn build_snapshot(&mut self) -> Result<openraft::Snapshot<Types>, StorageError<u64>> {
        let shared = self.0.clone();
        // Not on the log's own thread: commands go on while the bytes are written.
        let saved = tokio::task::spawn_blocking(move || shared.save_snapshot()).await;
        let saved = saved.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let snapshot =
            saved.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        Ok(library_snapshot(snapshot))
    }
}
