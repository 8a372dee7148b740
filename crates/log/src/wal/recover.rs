//! Reading a log back: which frames count, and whether anything that was acknowledged is gone.
//!
//! A frame is written only after the one before it was synced. So a bad frame at the very end is a write that never
//! ended, and nobody was told of it: it is dropped. A bad frame with a sound one behind it was synced once: the disk
//! lost it, and the log is refused. A file is made whole before it gets its name and never changes its size, so a
//! shorter one is refused, too, and so is a log without the segment that is known to be begun.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use tenure_core::Time;

use super::frame::{Salt, frame_at, later_frame};
use super::index::{Index, Slot};
use super::record::{self, EntryId, Payload, Record, Step};
use super::segment::{
    Durable, FirstPage, HEADER_BYTES, Header, Identity, read_header, segment_name, segment_number,
};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::proposal;

/// A log as its files tell it.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// What is known besides the entries.
    pub(crate) durable: Durable,
    /// Where the entries are.
    pub(crate) index: Index,
    /// The sequence of the next frame.
    pub(crate) next_sequence: u64,
    /// The segments that count, oldest first.
    pub(crate) chain: VecDeque<Link>,
    /// The segment that is written to.
    pub(crate) tip: Option<Tip>,
    /// Files that were prepared and not used.
    pub(crate) prepared: Vec<u64>,
    /// Files that count no more.
    pub(crate) void: Vec<u64>,
    /// The highest number of any segment.
    pub(crate) highest: u64,
    /// The stamp of the last batch.
    pub(crate) stamp: Time,
    /// The last entry and the size of each frame with entries.
    pub(crate) appended: Vec<(u64, u64)>,
}

/// One segment that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) number: u64,
    /// The last entry before it.
    pub(crate) last_before: Option<u64>,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The segment.
    pub(crate) number: u64,
    /// Where the last frame begins; its end if there is none.
    pub(crate) last_frame: u64,
    /// Where the last frame ends.
    pub(crate) end: u64,
    /// The size of the file.
    pub(crate) bytes: u64,
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: Identity,
    log: Recovered,
}

/// Reads all segments, of which `begun` was begun, if any was.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    identity: Identity,
    begun: Option<u64>,
) -> Result<Recovered, OpenError> {
    let log = Recovered { next_sequence: 1, ..Recovered::default() };
    let mut reader = Reader { disk, dir, identity, log };
    let pages = reader.first_pages()?;
    reader.refuse_a_lost_end(&pages, begun)?;
    let chain = reader.chain(&pages)?;
    for (position, header) in chain.iter().enumerate() {
        reader.read_segment(header, chain.get(position + 1))?;
    }
    reader.refuse_a_gap(chain.first())?;
    reader.sort_out_the_rest(&pages, &chain)?;
    Ok(reader.log)
}

impl Reader<'_> {
    fn damaged(&self, number: u64, offset: usize, why: impl Into<String>) -> OpenError {
        let file = self.dir.join(segment_name(number));
        OpenError::Damaged { file, offset: offset as u64, why: why.into() }
    }

    fn first_pages(&mut self) -> Result<BTreeMap<u64, FirstPage>, OpenError> {
        let failed = |error| OpenError::Io { what: "list", path: self.dir.into(), error };
        let files = self.disk.list().map_err(failed)?;
        let mut pages = BTreeMap::new();
        for (name, bytes) in files {
            let Some(number) = segment_number(&name) else { continue };
            let page = self.read(number, bytes.min(HEADER_BYTES as u64))?;
            let page = read_header(&page, self.identity, number);
            if let FirstPage::Foreign(why) = page {
                return Err(OpenError::Foreign { file: self.dir.join(name), why });
            }
            pages.insert(number, page);
            self.log.highest = self.log.highest.max(number);
        }
        Ok(pages)
    }

    fn read(&self, number: u64, bytes: u64) -> Result<Vec<u8>, OpenError> {
        let name = segment_name(number);
        let failed =
            |error: io::Error| OpenError::Io { what: "read", path: self.dir.join(&name), error };
        let mut buffer = vec![0; usize::try_from(bytes).expect("a segment fits in memory")];
        let file = self.disk.open(&name).map_err(failed)?;
        file.read_at(&mut buffer, 0).map_err(failed)?;
        Ok(buffer)
    }

    fn read_whole(&self, number: u64) -> Result<Vec<u8>, OpenError> {
        let name = segment_name(number);
        let failed = |error| OpenError::Io { what: "read", path: self.dir.join(&name), error };
        let bytes = self.disk.open(&name).and_then(|file| file.bytes()).map_err(failed)?;
        self.read(number, bytes)
    }

    // A segment is known to be begun once its first page was synced. It stays until a newer one is known to be.
    fn refuse_a_lost_end(
        &self,
        pages: &BTreeMap<u64, FirstPage>,
        begun: Option<u64>,
    ) -> Result<(), OpenError> {
        let Some(begun) = begun else { return Ok(()) };
        if pages.range(begun..).any(|(_, page)| matches!(page, FirstPage::Header(_))) {
            return Ok(());
        }
        let why = match pages.get(&begun) {
            None => "it is missing, and it is the newest one",
            Some(FirstPage::Broken(why) | FirstPage::Foreign(why)) => why,
            Some(FirstPage::Header(_) | FirstPage::Prepared) => "its first page is gone",
        };
        Err(self.damaged(begun, 0, why))
    }

    // The segments that count: from the last one with a header back to the oldest there is.
    fn chain(&self, pages: &BTreeMap<u64, FirstPage>) -> Result<Vec<Header>, OpenError> {
        let mut chain = Vec::new();
        let last = pages.iter().rev().find_map(|(_, page)| match page {
            FirstPage::Header(header) => Some(header),
            _ => None,
        });
        let mut next = last;
        while let Some(header) = next {
            chain.push((**header).clone());
            next = match header.previous.map(|(number, _)| (number, pages.get(&number))) {
                None | Some((_, None)) => None,
                Some((_, Some(FirstPage::Header(previous)))) => Some(previous),
                Some((number, Some(FirstPage::Broken(why) | FirstPage::Foreign(why)))) => {
                    return Err(self.damaged(number, 0, why.clone()));
                }
                Some((number, Some(FirstPage::Prepared))) => {
                    return Err(self.damaged(number, 0, "its first page is gone"));
                }
            };
        }
        chain.reverse();
        Ok(chain)
    }

    fn read_segment(&mut self, header: &Header, next: Option<&Header>) -> Result<(), OpenError> {
        let number = header.number;
        if self.log.chain.is_empty() {
            self.log.durable = header.durable.clone();
            self.log.next_sequence = header.first_sequence;
        }
        let last_before = header.durable.last.map(|id| id.index);
        self.log.chain.push_back(Link { number, last_before });
        let bytes = self.read_whole(number)?;
        if (bytes.len() as u64) < header.bytes {
            let why = format!("it is cut off there, and had {} bytes", header.bytes);
            return Err(self.damaged(number, bytes.len(), why));
        }
        let salt = self.identity.salt(number);
        // Behind this end lies only what the next segment says again.
        let end = next.and_then(|next| next.previous).map(|(_, end)| end);
        let counted = end.and_then(|end| usize::try_from(end).ok()).unwrap_or(usize::MAX);
        let mut offset = HEADER_BYTES;
        let mut last_frame = offset;
        while offset < counted {
            let Some(frame) = frame_at(&bytes, offset, salt)
                .filter(|frame| frame.sequence == self.log.next_sequence)
            else {
                break;
            };
            let record =
                record::decode(frame.payload).map_err(|why| self.damaged(number, offset, why))?;
            self.replay(number, offset, frame.bytes, &record)?;
            self.log.next_sequence += 1;
            last_frame = offset;
            offset += frame.bytes;
        }
        match next {
            Some(next) => self.refuse_a_short_segment(header, offset, next),
            None => {
                self.refuse_a_hole(number, &bytes, offset, salt)?;
                let (last_frame, end) = (last_frame as u64, offset as u64);
                let bytes = bytes.len() as u64;
                self.log.tip = Some(Tip { number, last_frame, end, bytes });
                Ok(())
            }
        }
    }

    fn refuse_a_short_segment(
        &self,
        header: &Header,
        offset: usize,
        next: &Header,
    ) -> Result<(), OpenError> {
        let end = next.previous.map_or(0, |(_, end)| end);
        if offset as u64 == end && self.log.next_sequence == next.first_sequence {
            return Ok(());
        }
        let why = format!(
            "frame {} is not sound, and the log goes on in segment {}",
            self.log.next_sequence, next.number
        );
        Err(self.damaged(header.number, offset, why))
    }

    fn refuse_a_hole(
        &self,
        number: u64,
        bytes: &[u8],
        offset: usize,
        salt: Salt,
    ) -> Result<(), OpenError> {
        let sequence = self.log.next_sequence;
        if let Some(later) = later_frame(bytes, offset, sequence, salt) {
            let why = format!("frame {sequence} is not sound, and there is one at byte {later}");
            return Err(self.damaged(number, offset, why));
        }
        if bytes.get(offset..).is_some_and(|rest| rest.starts_with(b"TnFr")) {
            let why = "the last write never ended, and nobody was told of it";
            tracing::warn!(event = "log_tail_dropped", segment = number, offset, why);
        }
        Ok(())
    }

    fn replay(
        &mut self,
        segment: u64,
        offset: usize,
        frame_bytes: usize,
        record: &Record<'_>,
    ) -> Result<(), OpenError> {
        let durable = &mut self.log.durable;
        durable.committed = record.committed.or(durable.committed);
        match &record.step {
            Step::Vote(vote) => durable.vote = Some(*vote),
            Step::Truncate(since) => {
                self.log.index.truncate(*since);
                durable.last = since
                    .checked_sub(1)
                    .and_then(|index| self.log.index.id(index))
                    .or(durable.purged);
            }
            Step::Purge(upto) => {
                self.log.index.purge(upto.index);
                durable.purged = Some(*upto);
                if durable.last.is_none_or(|last| last.index < upto.index) {
                    durable.last = Some(*upto);
                }
            }
            Step::Append(entries) => {
                let offset_in_slot = u32::try_from(offset).expect("a segment is below 4 GiB");
                for (position, entry) in entries.iter().enumerate() {
                    if self.log.index.end().is_some_and(|end| end != entry.id.index) {
                        let why = format!("entry {} is out of place", entry.id.index);
                        return Err(self.damaged(segment, offset, why));
                    }
                    let position = u32::try_from(position).expect("few entries in a frame");
                    self.append(entry.id, Slot { segment, offset: offset_in_slot, position });
                    if let Payload::Commands(body) = &entry.payload {
                        self.log.stamp = proposal::stamp(body.0)
                            .map_err(|why| self.damaged(segment, offset, why))?;
                    }
                }
                if let Some(last) = entries.last() {
                    self.log.appended.push((last.id.index, frame_bytes as u64));
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, id: EntryId, slot: Slot) {
        self.log.index.push(id, slot);
        self.log.durable.last = Some(id);
    }

    // The oldest segment knows how far the log had come before it: all of that must be purged by now.
    fn refuse_a_gap(&self, oldest: Option<&Header>) -> Result<(), OpenError> {
        let Some(header) = oldest else { return Ok(()) };
        let before = header.durable.last.map(|id| id.index);
        let purged = self.log.durable.purged.map(|id| id.index);
        match header.previous {
            Some((number, end)) if before > purged => {
                Err(self.damaged(number, usize::try_from(end).unwrap_or(0), "it is missing"))
            }
            _ => Ok(()),
        }
    }

    fn sort_out_the_rest(
        &mut self,
        pages: &BTreeMap<u64, FirstPage>,
        chain: &[Header],
    ) -> Result<(), OpenError> {
        let last = chain.last().map(|header| header.number);
        for (&number, page) in pages {
            if chain.iter().any(|header| header.number == number) {
                continue;
            }
            if last.is_some_and(|last| number < last) {
                self.log.void.push(number);
                continue;
            }
            // The header is synced before the first frame is written: a frame without a header was acknowledged.
            let bytes = self.read_whole(number)?;
            let salt = self.identity.salt(number);
            if later_frame(&bytes, 0, self.log.next_sequence, salt).is_some() {
                let why = match page {
                    FirstPage::Broken(why) => why.clone(),
                    _ => "its first page is gone".into(),
                };
                return Err(self.damaged(number, 0, why));
            }
            self.log.prepared.push(number);
        }
        Ok(())
    }
}
