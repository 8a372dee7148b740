//! Snapshots on disk: the whole state of the machine as of one entry. The newest two are kept, and the log from the
//! older one on, so that a damaged snapshot loses nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::wal::record::{EntryId, Members};

const MAGIC: &[u8; 8] = b"TENURSNP";
const FORMAT: u32 = 1;
const PREFIX_BYTES: usize = 24;
const TEMPORARY: &str = "snapshot.tmp";
/// Snapshots kept.
const KEPT_MAX: usize = 2;

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// The random id of the log.
    pub(crate) log: u64,
    /// The last entry in it.
    pub(crate) last: Option<EntryId>,
    /// The entry that said who belongs to the cluster, and what it said.
    pub(crate) members: (Option<EntryId>, Members),
    /// Its name for peers.
    pub(crate) id: String,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// What it is of.
    pub(crate) meta: Meta,
    /// The machine's bytes.
    pub(crate) state: Arc<Vec<u8>>,
}

/// Where snapshots are kept.
pub(crate) enum Snapshots {
    /// In a directory.
    Disk {
        /// The directory.
        disk: Arc<dyn Disk>,
        /// The log they belong to.
        log: u64,
    },
    /// The newest one in memory.
    Memory(parking_lot::Mutex<Option<Snapshot>>),
}

/// The name of the snapshot up to an entry.
pub(crate) fn snapshot_name(index: u64) -> String {
    format!("snap-{index:016x}.snap")
}

/// The index in a snapshot's name.
pub(crate) fn snapshot_index(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("snap-")?.strip_suffix(".snap")?;
    let index = u64::from_str_radix(digits, 16).ok()?;
    (snapshot_name(index) == name).then_some(index)
}

/// The newest sound snapshot and the newer ones that are damaged.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The newest sound one.
    pub(crate) newest: Option<Snapshot>,
    /// The last entry in the newest one of all, by its name: the log went at least that far once.
    pub(crate) reached: Option<u64>,
    /// What is wrong with newer ones; each is a refusal unless the log reaches back far enough.
    pub(crate) damaged: Vec<OpenError>,
}

/// Looks for the newest sound snapshot of a log in a directory.
pub(crate) fn find(disk: &dyn Disk, dir: &Path, log: u64) -> Result<Found, OpenError> {
    let failed = |error| OpenError::Io { what: "read snapshots in", path: dir.into(), error };
    let indexes = indexes(disk).map_err(failed)?;
    let mut found = Found { reached: indexes.last().copied(), ..Found::default() };
    for index in indexes.into_iter().rev() {
        let file = dir.join(snapshot_name(index));
        let bytes = read_file(disk, &snapshot_name(index)).map_err(failed)?;
        match decode(&bytes) {
            Ok(snapshot) if snapshot.meta.log == log => {
                found.newest = Some(snapshot);
                return Ok(found);
            }
            Ok(_) => {
                return Err(OpenError::Foreign { file, why: "it belongs to another log".into() });
            }
            Err(Unreadable::Foreign(why)) => return Err(OpenError::Foreign { file, why }),
            Err(Unreadable::Damaged(why)) => {
                found.damaged.push(OpenError::Damaged { file, offset: 0, why });
            }
        }
    }
    Ok(found)
}

impl Snapshots {
    /// The random id of the log; 0 in memory.
    pub(crate) fn log(&self) -> u64 {
        match self {
            Snapshots::Disk { log, .. } => *log,
            Snapshots::Memory(_) => 0,
        }
    }

    /// Keeps a snapshot. Once this returns it survives a crash. The entry up to which the log is not needed any more,
    /// if there is one.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> io::Result<Option<u64>> {
        match self {
            Snapshots::Disk { disk, .. } => save(&**disk, snapshot),
            Snapshots::Memory(newest) => {
                *newest.lock() = Some(snapshot.clone());
                Ok(None)
            }
        }
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> io::Result<Option<Snapshot>> {
        match self {
            Snapshots::Disk { disk, .. } => {
                let Some(index) = indexes(&**disk)?.pop() else { return Ok(None) };
                let bytes = read_file(&**disk, &snapshot_name(index))?;
                decode(&bytes).map(Some).map_err(|unreadable| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{unreadable:?}"))
                })
            }
            Snapshots::Memory(newest) => Ok(newest.lock().clone()),
        }
    }
}

fn save(disk: &dyn Disk, snapshot: &Snapshot) -> io::Result<Option<u64>> {
    let index = snapshot.meta.last.map_or(0, |last| last.index);
    let written = disk.create(TEMPORARY, 0).and_then(|file| {
        let head = encode_head(snapshot);
        file.write_at(&head, 0)?;
        file.write_at(&snapshot.state, head.len() as u64)?;
        file.sync()
    });
    if let Err(error) = written {
        // What was written takes room that others need; the next attempt begins anew anyway.
        let _ = disk.remove(TEMPORARY);
        return Err(error);
    }
    disk.rename(TEMPORARY, &snapshot_name(index))?;
    disk.sync_names()?;
    let mut kept = indexes(disk)?;
    while kept.len() > KEPT_MAX {
        disk.remove(&snapshot_name(kept.remove(0)))?;
    }
    Ok(if kept.len() == KEPT_MAX { kept.first().copied() } else { None })
}

/// Removes a damaged snapshot that the log makes up for.
pub(crate) fn remove(disk: &dyn Disk, file: &Path) -> io::Result<()> {
    match file.file_name().and_then(|name| name.to_str()) {
        Some(name) => disk.remove(name),
        None => Ok(()),
    }
}

fn indexes(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let files = disk.list()?;
    let mut indexes: Vec<u64> = files.iter().filter_map(|(name, _)| snapshot_index(name)).collect();
    indexes.sort_unstable();
    Ok(indexes)
}

/// All bytes of a file.
pub(crate) fn read_file(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.bytes()?).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[derive(Debug)]
enum Unreadable {
    Foreign(String),
    Damaged(String),
}

// magic, format, bytes of meta, checksum of both parts, reserved; meta; state
fn encode_head(snapshot: &Snapshot) -> Vec<u8> {
    let meta = postcard::to_stdvec(&snapshot.meta).expect("plain data can be encoded");
    let mut head = Vec::with_capacity(PREFIX_BYTES + meta.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    let meta_bytes = u32::try_from(meta.len()).expect("few nodes in a cluster");
    head.extend_from_slice(&meta_bytes.to_le_bytes());
    head.extend_from_slice(&checksum(&meta, &snapshot.state).to_le_bytes());
    head.extend_from_slice(&checksum(&head[8..20], &[]).to_le_bytes());
    head.extend_from_slice(&meta);
    head
}

fn decode(bytes: &[u8]) -> Result<Snapshot, Unreadable> {
    let damaged = |why: &str| Unreadable::Damaged(why.into());
    let (prefix, rest) = bytes.split_at_checked(PREFIX_BYTES).ok_or(damaged("it is cut off"))?;
    let number = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("4 bytes"));
    if checksum(&prefix[8..20], &[]) != number(20) {
        return Err(damaged("the checksum of its head is wrong"));
    }
    if &prefix[..8] != MAGIC || number(8) != FORMAT {
        return Err(Unreadable::Foreign(format!("it is no snapshot of format {FORMAT}")));
    }
    let meta_bytes = usize::try_from(number(12)).map_err(|_| damaged("it is too large"))?;
    let (meta, state) = rest.split_at_checked(meta_bytes).ok_or(damaged("it is cut off"))?;
    if checksum(meta, state) != number(16) {
        return Err(damaged("its checksum is wrong"));
    }
    let meta = postcard::from_bytes(meta)
        .map_err(|error| Unreadable::Damaged(format!("its head is unreadable: {error}")))?;
    Ok(Snapshot { meta, state: Arc::new(state.to_vec()) })
}

fn checksum(first: &[u8], second: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(first);
    hasher.update(second);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let last = Some(EntryId { term: 1, node: 1, index: 9 });
        let meta = Meta { log: 5, last, id: "1-1-9".into(), ..Meta::default() };
        Snapshot { meta, state: Arc::new(b"the state of a machine".to_vec()) }
    }

    #[test]
    fn a_saved_snapshot_survives_a_crash() {
        let disk = crate::disk::fault::FaultDisk::default();
        save(&disk, &snapshot()).unwrap();
        let found = find(&disk.after_crash(|| false), Path::new("log"), 5).unwrap();
        assert_eq!(found.newest, Some(snapshot()));
    }

    #[test]
    fn a_snapshot_is_read_back_and_any_flipped_bit_is_noticed() {
        let mut bytes = encode_head(&snapshot());
        bytes.extend_from_slice(&snapshot().state);
        assert_eq!(decode(&bytes).unwrap(), snapshot());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
