//! The write-ahead log: segments of zeros that are overwritten frame by frame, each frame synced before the next one
//! is written. `docs/design/log.md` tells why it is so and what a crash may leave.

mod frame;
pub(crate) mod identity;
mod index;
mod prepare;
pub(crate) mod record;
mod recover;
pub(crate) mod segment;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_core::Time;

use crate::alarm::Alarm;
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::meters::Operation;
use frame::{FRAME_HEADER_BYTES, frame_at, seal};
use identity::IdentityFile;
use index::{Index, Slot};
use prepare::{Preparer, is_full};
use record::{EntryId, Record, Step};
use recover::{Link, Tip};
use segment::{Durable, HEADER_BYTES, Header, Identity, encode_header, segment_name};

/// Size of a new segment.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;
/// Between the first two attempts to write a frame that failed; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long one look for a prepared segment takes at most.
const TAKE_WAIT: Duration = Duration::from_millis(100);

/// The log was told to stop before its disk took what it was to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log stopped before its disk took a write")]
pub(crate) struct Stopped;

/// An open log.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    alarm: Arc<Alarm>,
    identity: Identity,
    identity_file: IdentityFile,
    durable: Durable,
    index: Index,
    next_sequence: u64,
    chain: VecDeque<Link>,
    active: Option<Active>,
    // The last segment with a frame that counts, and where that frame ended.
    end: Option<(u64, u64)>,
    buffer: Vec<u8>,
    preparer: Preparer,
}

/// The segment that is written to.
struct Active {
    number: u64,
    file: Box<dyn DiskFile>,
    end: u64,
    bytes: u64,
}

/// What opening a log found besides the log.
#[derive(Debug)]
pub(crate) struct Found {
    /// The stamp of the last batch.
    pub(crate) stamp: Time,
    /// The last entry and the size of each frame with entries.
    pub(crate) appended: Vec<(u64, u64)>,
}

impl Wal {
    /// Reads the log in a directory, or begins one if its identity is all there is.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        mut identity_file: IdentityFile,
        segment_bytes: u64,
        alarm: Arc<Alarm>,
    ) -> Result<(Self, Found), OpenError> {
        let identity = identity_file.identity();
        let log = recover::recover(&*disk, dir, identity, identity_file.begun())?;
        let retired = log.void.iter().chain(&log.prepared).copied().map(segment_name).collect();
        let failed = |what| move |error| OpenError::Io { what, path: dir.into(), error };
        let active = match log.tip {
            Some(tip) => {
                let active = reopen(&*disk, tip).map_err(failed("write again the end of"))?;
                // The process may have died before this was noted, or after a sync of the note failed.
                identity_file
                    .set_begun(tip.number)
                    .map_err(failed("note the newest segment of"))?;
                Some(active)
            }
            None => None,
        };
        let preparer =
            Preparer::start(disk.clone(), alarm.clone(), segment_bytes, log.highest + 1, retired)
                .map_err(failed("start a thread for"))?;
        let wal = Wal {
            disk,
            alarm,
            identity,
            identity_file,
            durable: log.durable,
            index: log.index,
            next_sequence: log.next_sequence,
            chain: log.chain,
            end: active.as_ref().map(|active| (active.number, active.end)),
            active,
            buffer: Vec::new(),
            preparer,
        };
        Ok((wal, Found { stamp: log.stamp, appended: log.appended }))
    }

    /// What is known besides the entries.
    pub(crate) fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The indexes of the entries there are.
    pub(crate) fn entries(&self) -> std::ops::Range<u64> {
        self.index.range()
    }

    /// Notes how far the log is committed; written with the next frame.
    pub(crate) fn set_committed(&mut self, committed: Option<EntryId>) {
        self.durable.committed = committed;
    }

    /// Writes one step and returns once it is synced, with the bytes it took. Blocks and tries again for as long as
    /// the disk refuses.
    pub(crate) fn write(&mut self, step: Step<'_>) -> Result<u64, Stopped> {
        let record = Record { committed: self.durable.committed, step };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(FRAME_HEADER_BYTES, 0);
        let mut buffer = record.encode(buffer);
        let written = self.write_frame(&mut buffer);
        let bytes = buffer.len() as u64;
        self.buffer = buffer;
        let (segment, offset) = written?;
        self.note(&record.step, segment, offset);
        Ok(bytes)
    }

    /// Reads entries from the disk and hands each record they are in to `each`, with the position of the entry.
    pub(crate) fn read(
        &self,
        range: std::ops::Range<u64>,
        mut each: impl FnMut(&record::Entry<'_>) -> Result<(), String>,
    ) -> io::Result<()> {
        let mut frame: Option<(Slot, Vec<u8>)> = None;
        let mut file: Option<(u64, Box<dyn DiskFile>)> = None;
        for index in range {
            let Some(slot) = self.index.slot(index) else { break };
            let known = frame
                .take()
                .filter(|(at, _)| (at.segment, at.offset) == (slot.segment, slot.offset));
            let bytes = match known {
                Some((_, bytes)) => bytes,
                None => self.read_frame(slot, &mut file)?,
            };
            let found = frame_at(&bytes, 0, self.identity.salt(slot.segment))
                .ok_or_else(|| unreadable("its checksum is wrong"))?;
            let record = record::decode(found.payload).map_err(unreadable)?;
            let Step::Append(entries) = &record.step else {
                return Err(unreadable("it has no entries"));
            };
            let entry = entries
                .get(slot.position as usize)
                .filter(|entry| entry.id.index == index)
                .ok_or_else(|| unreadable("it has other entries"))?;
            each(entry).map_err(unreadable)?;
            frame = Some((slot, bytes));
        }
        Ok(())
    }

    /// Forgets segments whose entries are all purged.
    pub(crate) fn retire(&mut self) {
        let purged = self.durable.purged.map(|id| id.index);
        let mut names = Vec::new();
        while self.chain.get(1).is_some_and(|next| next.last_before <= purged) {
            let oldest = self.chain.pop_front().expect("there are two");
            names.push(segment_name(oldest.number));
        }
        self.preparer.retire(names);
    }

    fn read_frame(
        &self,
        slot: Slot,
        file: &mut Option<(u64, Box<dyn DiskFile>)>,
    ) -> io::Result<Vec<u8>> {
        if file.as_ref().is_none_or(|(number, _)| *number != slot.segment) {
            *file = Some((slot.segment, self.disk.open(&segment_name(slot.segment))?));
        }
        let (_, file) = file.as_ref().expect("it was just opened");
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        file.read_at(&mut bytes, u64::from(slot.offset))?;
        let payload = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")) as usize;
        if payload as u64 > file.bytes()? {
            return Err(unreadable("its length is wrong"));
        }
        bytes.resize(FRAME_HEADER_BYTES + payload, 0);
        let rest = u64::from(slot.offset) + FRAME_HEADER_BYTES as u64;
        file.read_at(&mut bytes[FRAME_HEADER_BYTES..], rest)?;
        Ok(bytes)
    }

    // A frame whose write or sync failed may or may not be on disk, and no later sync tells: it is written again,
    // under the same sequence, at the start of a new segment whose header makes the first copy void.
    fn write_frame(&mut self, buffer: &mut [u8]) -> Result<(u64, u64), Stopped> {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.try_frame(buffer) {
                Ok(Some(place)) => {
                    self.alarm.disk_works();
                    self.next_sequence += 1;
                    self.end = self.active.as_ref().map(|active| (active.number, active.end));
                    return Ok(place);
                }
                Ok(None) => {}
                Err((operation, error)) => {
                    self.active = None;
                    self.alarm.disk_failed(operation, &error, is_full(&error));
                    self.alarm.pause(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            if self.alarm.is_stopping() {
                return Err(Stopped);
            }
        }
    }

    // `None`: the next segment is not there yet.
    fn try_frame(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<Option<(u64, u64)>, (Operation, io::Error)> {
        let bytes = buffer.len() as u64;
        if self.active.as_ref().is_none_or(|active| active.end + bytes > active.bytes)
            && !self.activate(bytes)?
        {
            return Ok(None);
        }
        let active = self.active.as_mut().expect("there is a segment with room");
        seal(buffer, self.next_sequence, self.identity.salt(active.number));
        let offset = active.end;
        active.file.write_at(buffer, offset).map_err(|error| (Operation::Write, error))?;
        sync(&self.alarm, &*active.file)?;
        active.end += bytes;
        Ok(Some((active.number, offset)))
    }

    // The header is synced before the first frame is written, so that a frame without a header is damage. So is the
    // note that there is this segment, so that a log without it is damage.
    fn activate(&mut self, frame_bytes: u64) -> Result<bool, (Operation, io::Error)> {
        let Some(prepared) = self.prepared()? else { return Ok(false) };
        let room = prepared.bytes - HEADER_BYTES as u64;
        assert!(frame_bytes <= room, "a batch is bounded, and so is its frame");
        let header = Header {
            identity: self.identity,
            number: prepared.number,
            bytes: prepared.bytes,
            first_sequence: self.next_sequence,
            previous: self.end,
            durable: self.durable.clone(),
        };
        let written = prepared
            .file
            .write_at(&encode_header(&header), 0)
            .map_err(|error| (Operation::Write, error))
            .and_then(|()| sync(&self.alarm, &*prepared.file));
        if let Err(failed) = written {
            self.preparer.retire([segment_name(prepared.number)]);
            return Err(failed);
        }
        let last_before = self.durable.last.map(|id| id.index);
        let link = Link { number: prepared.number, last_before };
        if let Err(error) = self.identity_file.set_begun(link.number) {
            // The note may be there, and the older one too: no segment that either tells of is given up.
            self.chain.push_back(link);
            return Err((Operation::Sync, error));
        }
        // A segment that was begun and got no frame that counts is not part of the chain.
        let end = self.end.map(|(number, _)| number);
        while self.chain.back().is_some_and(|link| Some(link.number) > end) {
            let void = self.chain.pop_back().expect("it was just looked at");
            self.preparer.retire([segment_name(void.number)]);
        }
        self.chain.push_back(link);
        self.active = Some(Active {
            number: prepared.number,
            file: prepared.file,
            end: HEADER_BYTES as u64,
            bytes: prepared.bytes,
        });
        Ok(true)
    }

    fn prepared(&mut self) -> Result<Option<prepare::Prepared>, (Operation, io::Error)> {
        self.preparer.take(TAKE_WAIT).map_err(|prepare::NoSegment| {
            let full = self.alarm.health.troubles().full;
            let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
            (Operation::Prepare, io::Error::new(kind, "the next segment cannot be made"))
        })
    }

    fn note(&mut self, step: &Step<'_>, segment: u64, offset: u64) {
        let offset = u32::try_from(offset).expect("a segment is below 4 GiB");
        match step {
            Step::Vote(vote) => self.durable.vote = Some(*vote),
            Step::Append(entries) => {
                for (position, entry) in entries.iter().enumerate() {
                    let position = u32::try_from(position).expect("few entries in a frame");
                    self.index.push(entry.id, Slot { segment, offset, position });
                    self.durable.last = Some(entry.id);
                }
            }
            Step::Truncate(since) => {
                self.index.truncate(*since);
                self.durable.last = since
                    .checked_sub(1)
                    .and_then(|index| self.index.id(index))
                    .or(self.durable.purged);
            }
            Step::Purge(upto) => {
                self.index.purge(upto.index);
                self.durable.purged = Some(*upto);
                if self.durable.last.is_none_or(|last| last.index < upto.index) {
                    self.durable.last = Some(*upto);
                }
            }
        }
    }
}

// The last frame may come from memory that no sync ever reached: a process may have died after a failed sync. So it
// is written again, which makes it new to the system, and synced before anything builds on it.
fn reopen(disk: &dyn Disk, tip: Tip) -> io::Result<Active> {
    let file = disk.open(&segment_name(tip.number))?;
    let again = [(0, HEADER_BYTES as u64), (tip.last_frame, tip.end)];
    for (from, to) in again.into_iter().filter(|(from, to)| from < to) {
        let mut bytes = vec![0; usize::try_from(to - from).expect("a frame fits in memory")];
        file.read_at(&mut bytes, from)?;
        file.write_at(&bytes, from)?;
    }
    file.sync()?;
    Ok(Active { number: tip.number, file, end: tip.end, bytes: tip.bytes })
}

fn sync(alarm: &Alarm, file: &dyn DiskFile) -> Result<(), (Operation, io::Error)> {
    let begun = Instant::now();
    file.sync().map_err(|error| (Operation::Sync, error))?;
    alarm.meters.synced(begun.elapsed());
    Ok(())
}

fn unreadable(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of the log: {}", why.into()))
}
