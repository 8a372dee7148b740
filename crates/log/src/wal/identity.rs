//! The file that says whose log this is, and which of its segments was begun last.
//!
//! ```text
//! page 0: the identity · page 1, page 2: the number of a segment, written in turn
//! ```
//! The number is synced after the first page of its segment and before the first frame in it. So a segment of this
//! or a higher number must be there: without the note, a log that lost its newest segment would look like a shorter
//! one, and a log that lost its only segment like a new one. The pages are overwritten in place, which needs no
//! room on a full disk, and in turn, so that a torn write leaves the one before.

use std::io;
use std::path::Path;

use super::segment::{FirstPage, Identity, encode_identity, opened, read_identity, sealed};
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;

/// The file's name.
pub(crate) const IDENTITY_FILE: &str = "log.id";
const TEMPORARY: &str = "log.id.tmp";

const BEGUN_MAGIC: &[u8; 8] = b"TENURBGN";
const PAGE_BYTES: usize = 4096;
const NOTES: [usize; 2] = [PAGE_BYTES, 2 * PAGE_BYTES];
const FILE_BYTES: usize = 3 * PAGE_BYTES;

/// The open file.
pub(crate) struct IdentityFile {
    identity: Identity,
    begun: Option<u64>,
    file: Box<dyn DiskFile>,
    // Where the next note goes: not where the newest one is.
    next: usize,
}

impl IdentityFile {
    /// Begins a log. Written beside and renamed: there is never half of it.
    pub(crate) fn create(disk: &dyn Disk, identity: Identity) -> io::Result<Self> {
        let file = disk.create(TEMPORARY, 0)?;
        let mut bytes = encode_identity(identity);
        bytes.resize(FILE_BYTES, 0);
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(TEMPORARY, IDENTITY_FILE)?;
        disk.sync_names()?;
        Ok(IdentityFile { identity, begun: None, file, next: 0 })
    }

    /// Reads the file of a log that was begun.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let path = || dir.join(IDENTITY_FILE);
        let failed = |error| OpenError::Io { what: "read", path: path(), error };
        let damaged = |offset: usize, why: String| OpenError::Damaged {
            file: path(),
            offset: offset as u64,
            why,
        };
        let file = disk.open(IDENTITY_FILE).map_err(failed)?;
        let mut bytes = vec![0; FILE_BYTES];
        let there = file.bytes().map_err(failed)?.min(FILE_BYTES as u64);
        bytes.truncate(usize::try_from(there).expect("at most a file of ours"));
        file.read_at(&mut bytes, 0).map_err(failed)?;
        let page = &bytes[..bytes.len().min(PAGE_BYTES)];
        let identity = read_identity(page).map_err(|page| match page {
            FirstPage::Foreign(why) => OpenError::Foreign { file: path(), why },
            FirstPage::Broken(why) => damaged(0, why),
            FirstPage::Header(_) | FirstPage::Prepared => damaged(0, "it is empty".into()),
        })?;
        if bytes.len() < FILE_BYTES {
            return Err(damaged(bytes.len(), "it is cut off".into()));
        }
        let (begun, next) = newest(&bytes).map_err(|why| damaged(NOTES[0], why))?;
        Ok(IdentityFile { identity, begun, file, next })
    }

    /// Whose log it is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The segment that was begun last, at least.
    pub(crate) fn begun(&self) -> Option<u64> {
        self.begun
    }

    /// Notes that a segment was begun, and syncs the note. After an error the note may or may not be there.
    pub(crate) fn set_begun(&mut self, number: u64) -> io::Result<()> {
        let note = sealed(BEGUN_MAGIC, &number.to_le_bytes());
        self.file.write_at(&note, NOTES[self.next] as u64)?;
        self.file.sync()?;
        self.begun = Some(number);
        self.next = 1 - self.next;
        Ok(())
    }
}

// The newest note and where the next one goes. A write that never ended spoils one of them, not both.
fn newest(file: &[u8]) -> Result<(Option<u64>, usize), String> {
    let notes = NOTES.map(|at| {
        let page = &file[at..at + PAGE_BYTES];
        let unused = page.iter().all(|byte| *byte == 0);
        if unused { Ok(None) } else { opened(BEGUN_MAGIC, page).map(u64::from_le_bytes).map(Some) }
    });
    match notes {
        [Err(_), Err(_)] => Err("nothing tells which segment was begun last".into()),
        [Err(_), Ok(second)] => Ok((second, 0)),
        [Ok(first), Err(_)] => Ok((first, 1)),
        [Ok(first), Ok(second)] => Ok((first.max(second), usize::from(first > second))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::FaultDisk;

    const IDENTITY: Identity = Identity { log: 5, node: 1 };

    fn open(disk: &FaultDisk) -> Result<IdentityFile, OpenError> {
        IdentityFile::open(disk, Path::new("log"))
    }

    #[test]
    fn the_newest_note_is_read_back_and_a_torn_one_leaves_the_one_before() {
        let disk = FaultDisk::default();
        let mut file = IdentityFile::create(&disk, IDENTITY).unwrap();
        assert_eq!(open(&disk).unwrap().begun(), None);
        for number in [1, 2, 5, 6, 7] {
            let (before, place) = (file.begun(), NOTES[file.next]);
            file.set_begun(number).unwrap();
            let mut read = open(&disk).unwrap();
            assert_eq!((read.identity(), read.begun()), (IDENTITY, Some(number)));
            let torn = disk.copy();
            torn.edit(IDENTITY_FILE, |bytes| bytes[place + 22..place + PAGE_BYTES].fill(9));
            assert_eq!(open(&torn).unwrap().begun(), before);
            // A start notes it again, in the other place.
            read.set_begun(number).unwrap();
            file = open(&disk).unwrap();
        }
    }

    #[test]
    fn a_note_never_takes_the_place_of_the_one_before() {
        let disk = FaultDisk::default();
        let mut file = IdentityFile::create(&disk, IDENTITY).unwrap();
        for number in 1..=4 {
            let place = NOTES[file.next];
            file.set_begun(number).unwrap();
            disk.edit(IDENTITY_FILE, |bytes| bytes[place] ^= 1);
            let before = Some(number - 1).filter(|before| *before > 0);
            assert_eq!(open(&disk).unwrap().begun(), before);
            disk.edit(IDENTITY_FILE, |bytes| bytes[place] ^= 1);
        }
    }

    #[test]
    fn a_cut_identity_file_is_refused() {
        let disk = FaultDisk::default();
        IdentityFile::create(&disk, IDENTITY).unwrap();
        for cut in 0..FILE_BYTES {
            let torn = disk.copy();
            torn.edit(IDENTITY_FILE, |bytes| bytes.truncate(cut));
            assert!(matches!(open(&torn), Err(OpenError::Damaged { .. })), "cut at {cut}");
        }
    }
}
