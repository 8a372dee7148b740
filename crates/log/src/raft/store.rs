//! The log as the consensus library asks for it: the write-ahead log, or memory, behind a small cache.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{
    AnyError, EntryPayload, LogId, OptionalSend, RaftLogId, RaftLogReader, StorageError,
    StorageIOError, Vote,
};
use parking_lot::Mutex;

use super::{RaftEntry, Types, ballot, entry_id, log_id, members, membership, vote};
use crate::meters::Meters;
use crate::proposal::Proposal;
use crate::wal::record::{Bytes, Entry, Payload, Step};
use crate::wal::segment::Durable;
use crate::wal::{Stopped, Wal};

/// Bytes of entries kept in memory, for the machine and for peers that are nearly up to date.
const CACHE_BYTES_MAX: usize = 1 << 20;
/// Bytes of commands in one frame. More than one entry is appended at once only by a node that catches up.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Entries read at once while the log is walked through.
const WALK_ENTRIES_MAX: u64 = 8;
/// Entries handed out at once to a peer.
const READ_ENTRIES_MAX: u64 = 256;

/// The log of one node; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    // Absent: nothing is written.
    wal: Option<Wal>,
    // The same as the log on disk says, where there is one.
    durable: Durable,
    cache: Cache,
    meters: Arc<Meters>,
}

/// The last entries, without a hole.
#[derive(Default)]
struct Cache {
    entries: VecDeque<RaftEntry>,
    bytes: usize,
}

impl Store {
    /// A log on disk.
    pub(crate) fn on_disk(wal: Wal, meters: Arc<Meters>) -> Self {
        let durable = wal.durable().clone();
        Self::new(Some(wal), durable, meters)
    }

    /// A log that keeps what is not applied, and a little more.
    pub(crate) fn in_memory(meters: Arc<Meters>) -> Self {
        Self::new(None, Durable::default(), meters)
    }

    fn new(wal: Option<Wal>, durable: Durable, meters: Arc<Meters>) -> Self {
        let inner = Inner { wal, durable, cache: Cache::default(), meters };
        Store { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl Store {
    /// Hands the entries of a range to `each`, in order, a few at a time: whoever appends meanwhile waits for few. Ends
    /// with an error if one of them is not there any more.
    pub(crate) fn walk(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(RaftEntry) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut next = range.start;
        while next < range.end {
            let upto = range.end.min(next + WALK_ENTRIES_MAX);
            let entries = self.inner.lock().read(next..upto)?;
            for entry in entries {
                if entry.log_id.index != next {
                    break;
                }
                next += 1;
                each(entry)?;
            }
            if next < upto {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("no entry {next}")));
            }
        }
        Ok(())
    }
}

impl Inner {
    fn write(&mut self, step: Step<'_>) -> Result<(), Stopped> {
        let Some(wal) = &mut self.wal else { return Ok(()) };
        let entries = matches!(step, Step::Append(_));
        let bytes = wal.write(step)?;
        self.durable = wal.durable().clone();
        if entries {
            self.meters.logged(bytes);
        }
        Ok(())
    }

    fn append(&mut self, entries: &[RaftEntry]) -> Result<(), Stopped> {
        let mut rest = entries;
        while !rest.is_empty() {
            let (frame, after) = rest.split_at(frame_entries(rest));
            if self.wal.is_some() {
                self.write_entries(frame)?;
            }
            self.durable.last = frame.last().map(|entry| entry_id(*entry.get_log_id()));
            rest = after;
        }
        Ok(())
    }

    fn write_entries(&mut self, entries: &[RaftEntry]) -> Result<(), Stopped> {
        let changed: Vec<_> = entries
            .iter()
            .map(|entry| match &entry.payload {
                EntryPayload::Membership(membership) => Some(members(membership)),
                EntryPayload::Blank | EntryPayload::Normal(_) => None,
            })
            .collect();
        let entries = entries.iter().zip(changed).map(|(entry, changed)| {
            let payload = match (&entry.payload, changed) {
                (EntryPayload::Normal(proposal), _) => Payload::Commands(Bytes(&proposal.body)),
                (_, Some(members)) => Payload::Members(members),
                (_, None) => Payload::Blank,
            };
            Entry { id: entry_id(entry.log_id), payload }
        });
        self.write(Step::Append(entries.collect()))
    }

    fn first(&self) -> u64 {
        match (&self.wal, self.cache.entries.front()) {
            (Some(wal), _) => wal.entries().start,
            (None, Some(entry)) => entry.log_id.index,
            (None, None) => self.end(),
        }
    }

    fn end(&self) -> u64 {
        self.durable.last.map_or(0, |id| id.index + 1)
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<RaftEntry>> {
        let range = range.start.max(self.first())..range.end.min(self.end());
        let cached =
            self.cache.first().unwrap_or(u64::MAX).clamp(range.start, range.end.max(range.start));
        let mut entries = Vec::new();
        if let Some(wal) = &self.wal {
            wal.read(range.start..cached, |entry| {
                entries.push(decode(entry)?);
                Ok(())
            })?;
        }
        entries.extend(self.cache.range(cached..range.end));
        Ok(entries)
    }
}

// At least one, and as many as stay within the bound.
fn frame_entries(entries: &[RaftEntry]) -> usize {
    let mut bytes = 0;
    let fit = entries.iter().take_while(|entry| {
        bytes += written_bytes(entry);
        bytes <= FRAME_BYTES_MAX
    });
    fit.count().max(1)
}

fn written_bytes(entry: &RaftEntry) -> usize {
    const SMALL: usize = 64;
    match &entry.payload {
        EntryPayload::Normal(proposal) => SMALL + proposal.body.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => SMALL,
    }
}

// Commands in memory are several times the size of their bytes, which are kept as well.
fn kept_bytes(entry: &RaftEntry) -> usize {
    written_bytes(entry) * 5
}

fn decode(entry: &Entry<'_>) -> Result<RaftEntry, String> {
    let payload = match &entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Commands(body) => EntryPayload::Normal(Arc::new(Proposal::decode(body.0)?)),
        Payload::Members(members) => EntryPayload::Membership(membership(members)),
    };
    Ok(RaftEntry { log_id: log_id(entry.id), payload })
}

impl Cache {
    fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    fn push(&mut self, entry: RaftEntry) {
        self.bytes += kept_bytes(&entry);
        self.entries.push_back(entry);
    }

    // What is not committed yet stays: without a disk nobody else has it.
    fn trim(&mut self, committed: Option<u64>) {
        while self.bytes > CACHE_BYTES_MAX && self.first() < committed {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= kept_bytes(&entry);
        }
    }

    fn truncate(&mut self, since: u64) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= since) {
            let entry = self.entries.pop_back().expect("it was just looked at");
            self.bytes -= kept_bytes(&entry);
        }
    }

    fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|first| first <= upto) {
            self.pop_front();
        }
    }

    fn range(&self, range: Range<u64>) -> impl Iterator<Item = RaftEntry> + '_ {
        let first = self.first().unwrap_or(0);
        let skipped = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        self.entries.iter().skip(skipped).take(count).cloned()
    }

    fn id(&self, index: u64) -> Option<LogId<u64>> {
        self.range(index..index + 1).next().map(|entry| entry.log_id).filter(|id| id.index == index)
    }
}

fn stopped(Stopped: Stopped) -> StorageError<u64> {
    StorageIOError::write(AnyError::new(&Stopped)).into()
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<RaftEntry>, StorageError<u64>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let inner = self.inner.lock();
        inner.read(start..end).map_err(|error| {
            inner.meters.failed(crate::meters::Operation::Read);
            StorageIOError::read_logs(AnyError::new(&error)).into()
        })
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<RaftEntry>, StorageError<u64>> {
        self.try_get_log_entries(start..end.min(start + READ_ENTRIES_MAX)).await
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        let inner = self.inner.lock();
        Ok(LogState {
            last_purged_log_id: inner.durable.purged.map(log_id),
            last_log_id: inner.durable.last.map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let mut inner = self.inner.lock();
        inner.durable.vote = Some(ballot(vote));
        inner.write(Step::Vote(ballot(vote))).map_err(stopped)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.inner.lock().durable.vote.map(vote))
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<u64>>,
    ) -> Result<(), StorageError<u64>> {
        let mut inner = self.inner.lock();
        let committed = committed.map(entry_id);
        inner.durable.committed = committed;
        if let Some(wal) = &mut inner.wal {
            wal.set_committed(committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.inner.lock().durable.committed.map(log_id))
    }

    /// Blocks until the entries are on disk: this runs on the log's own thread, and there is nothing else to do for
    /// the library meanwhile, which awaits the sync before anything else.
    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let mut inner = self.inner.lock();
        if let Some(last) = entries.last() {
            inner.meters.writes(last.log_id.index);
        }
        let written = inner.append(&entries);
        if written.is_ok() {
            let committed = inner.durable.committed.map(|id| id.index);
            entries.into_iter().for_each(|entry| inner.cache.push(entry));
            inner.cache.trim(committed);
        }
        drop(inner);
        callback.log_io_completed(written.map_err(io::Error::other));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut inner = self.inner.lock();
        inner.write(Step::Truncate(since.index)).map_err(stopped)?;
        inner.cache.truncate(since.index);
        if inner.wal.is_none() && inner.end() > since.index {
            let before = since.index.checked_sub(1).and_then(|index| inner.cache.id(index));
            inner.durable.last = before.map(entry_id).or(inner.durable.purged);
        }
        Ok(())
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut inner = self.inner.lock();
        inner.write(Step::Purge(entry_id(upto))).map_err(stopped)?;
        if let Some(wal) = &mut inner.wal {
            wal.retire();
        }
        inner.cache.purge(upto.index);
        inner.durable.purged = Some(entry_id(upto));
        if inner.end() <= upto.index {
            inner.durable.last = Some(entry_id(upto));
        }
        Ok(())
    }
}
