//! A disk in memory that fails as disks do: writes that were not synced are lost in a crash, wholly or in part; a
//! failed sync loses them for good although they can still be read; a full disk makes no file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile};
use crate::wal::identity::IDENTITY_FILE;

const SECTOR: usize = 512;

/// The disk; clones share it.
#[derive(Clone, Default)]
pub(crate) struct FaultDisk {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    // What a crash leaves of the names.
    synced: BTreeMap<String, Arc<Mutex<Content>>>,
    faults: Faults,
    // Told that the power is off, so that nobody tries for ever.
    power_off: Option<Box<dyn Fn() + Send>>,
}

/// What goes wrong from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// So many syncs fail.
    pub(crate) sync_failures: u32,
    /// So many syncs of the identity file fail.
    pub(crate) identity_sync_failures: u32,
    /// So many writes fail, half done.
    pub(crate) write_failures: u32,
    /// No file can be made.
    pub(crate) full: bool,
    /// No segment can be made, but there is room for something small.
    pub(crate) nearly_full: bool,
    /// Syncs do not return until this is false again.
    pub(crate) stuck: bool,
    /// After so many more operations nothing works any more.
    pub(crate) power_off_after: Option<u64>,
}

#[derive(Clone, Default)]
struct Content {
    current: Vec<u8>,
    synced: Vec<u8>,
    // Written since the last sync, successful or not.
    dirty: Vec<Range<usize>>,
}

struct FaultFile {
    inner: Arc<Inner>,
    content: Arc<Mutex<Content>>,
    identity: bool,
}

impl FaultDisk {
    /// Changes what goes wrong.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.inner.state.lock().faults);
        self.inner.released.notify_all();
    }

    /// Turns the power off after so many more operations; whoever tries then is told so by `told`.
    pub(crate) fn power_off_after(&self, operations: u64, told: impl Fn() + Send + 'static) {
        let mut state = self.inner.state.lock();
        state.faults.power_off_after = Some(operations);
        state.power_off = Some(Box::new(told));
    }

    /// The disk as the next start finds it after the power went off. Of what was not synced, each sector is there or
    /// not as `dice` says.
    pub(crate) fn after_crash(&self, mut dice: impl FnMut() -> bool) -> FaultDisk {
        let state = self.inner.state.lock();
        let keep = |(name, content): (&String, &Arc<Mutex<Content>>)| {
            let left = content.lock().after_crash(&mut dice);
            (name.clone(), Arc::new(Mutex::new(left)))
        };
        let files: BTreeMap<_, _> = state.synced.iter().map(keep).collect();
        drop(state);
        let state = State { synced: files.clone(), files, ..State::default() };
        FaultDisk { inner: Arc::new(Inner { state: Mutex::new(state), ..Inner::default() }) }
    }

    /// A copy of all files as they can be read now, synced.
    pub(crate) fn copy(&self) -> FaultDisk {
        let state = self.inner.state.lock();
        let whole = |(name, content): (&String, &Arc<Mutex<Content>>)| {
            let current = content.lock().current.clone();
            let content = Content { synced: current.clone(), current, dirty: Vec::new() };
            (name.clone(), Arc::new(Mutex::new(content)))
        };
        let files: BTreeMap<_, _> = state.files.iter().map(whole).collect();
        drop(state);
        let state = State { synced: files.clone(), files, ..State::default() };
        FaultDisk { inner: Arc::new(Inner { state: Mutex::new(state), ..Inner::default() }) }
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let content = self.inner.state.lock().files[name].clone();
        let mut content = content.lock();
        edit(&mut content.current);
        content.synced = content.current.clone();
    }

    /// The bytes of a file.
    pub(crate) fn bytes_of(&self, name: &str) -> Vec<u8> {
        self.inner.state.lock().files[name].lock().current.clone()
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.inner.state.lock().files.keys().cloned().collect()
    }
}

impl Content {
    fn after_crash(&self, dice: &mut impl FnMut() -> bool) -> Content {
        let mut left = self.synced.clone();
        for range in &self.dirty {
            if left.len() < range.end && dice() {
                left.resize(range.end, 0);
            }
            let mut at = range.start;
            while at < range.end.min(left.len()) {
                let end = ((at / SECTOR + 1) * SECTOR).min(range.end).min(left.len());
                if dice() {
                    left[at..end].copy_from_slice(&self.current[at..end]);
                }
                at = end;
            }
        }
        Content { current: left.clone(), synced: left, dirty: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        self.dirty.push(offset..end);
    }

    fn sync(&mut self) {
        self.synced.resize(self.current.len(), 0);
        for range in std::mem::take(&mut self.dirty) {
            self.synced[range.clone()].copy_from_slice(&self.current[range]);
        }
    }
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.faults.power_off_after {
            Some(0) => {
                if let Some(told) = &self.power_off {
                    told();
                }
                Err(io::Error::other("the power is off"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Inner {
    fn file(self: &Arc<Self>, name: &str, content: Arc<Mutex<Content>>) -> Box<dyn DiskFile> {
        let identity = name.starts_with(IDENTITY_FILE);
        Box::new(FaultFile { inner: self.clone(), content, identity })
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        let size = |content: &Arc<Mutex<Content>>| content.lock().current.len() as u64;
        Ok(state.files.iter().map(|(name, content)| (name.clone(), size(content))).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        Ok(self.inner.file(name, state.files.get(name).ok_or_else(missing)?.clone()))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        if state.faults.full || (state.faults.nearly_full && bytes > 0) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let zeros = vec![0; usize::try_from(bytes).unwrap()];
        let content = Content { current: zeros.clone(), synced: zeros, dirty: Vec::new() };
        let content = Arc::new(Mutex::new(content));
        state.files.insert(name.into(), content.clone());
        Ok(self.inner.file(name, content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        let content = state.files.remove(from).ok_or_else(missing)?;
        state.files.insert(to.into(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        state.files.remove(name).ok_or_else(missing).map(drop)
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        state.operate()?;
        state.synced = state.files.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(if self.inner.state.lock().faults.full { 0 } else { 1 << 40 })
    }
}

impl DiskFile for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap();
        let bytes = content.current.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        let fails = state.faults.write_failures > 0;
        let written = state.operate();
        if fails {
            state.faults.write_failures -= 1;
        }
        let offset = usize::try_from(offset).unwrap();
        let half = if fails || written.is_err() { bytes.len() / 2 } else { bytes.len() };
        self.content.lock().write(&bytes[..half], offset);
        written?;
        if fails { Err(io::Error::other("the disk refused a write")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        while state.faults.stuck {
            self.inner.released.wait(&mut state);
        }
        state.operate()?;
        let faults = &mut state.faults;
        let failures = if self.identity && faults.identity_sync_failures > 0 {
            &mut faults.identity_sync_failures
        } else {
            &mut faults.sync_failures
        };
        if *failures > 0 {
            *failures -= 1;
            // The system forgets that these were to be written. They can still be read.
            self.content.lock().dirty.clear();
            return Err(io::Error::other("the disk refused a sync"));
        }
        self.content.lock().sync();
        Ok(())
    }
}
