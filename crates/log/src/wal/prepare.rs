//! The next segment, made before it is needed: a full disk is met here, while there is still room to release and
//! renew in the current one.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::segment::{HEADER_BYTES, SEGMENT_TEMPORARY, segment_name};
use crate::alarm::Alarm;
use crate::disk::{Disk, DiskFile};
use crate::meters::Operation;

/// Between two attempts to make a segment.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at how much room the disk has.
const LOOK: Duration = Duration::from_secs(5);

/// A segment full of zeros, or of what its salt makes worthless.
pub(crate) struct Prepared {
    /// Its number.
    pub(crate) number: u64,
    /// The file.
    pub(crate) file: Box<dyn DiskFile>,
    /// Its size.
    pub(crate) bytes: u64,
}

/// Makes segments on a thread of its own.
pub(crate) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    desk: Mutex<Bench>,
    changed: Condvar,
    disk: Arc<dyn Disk>,
    alarm: Arc<Alarm>,
    segment_bytes: u64,
}

struct Bench {
    number: u64,
    ready: Option<Prepared>,
    // Files to be used again or removed, oldest first.
    retired: VecDeque<String>,
    failing: bool,
    closing: bool,
}

/// What the thread does next.
enum Job {
    Prepare { number: u64, from: Option<String> },
    Remove(String),
    Look,
    Close,
}

impl Preparer {
    /// Starts the thread. Segments are numbered from `number` on and made of `retired` files where possible.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        alarm: Arc<Alarm>,
        segment_bytes: u64,
        number: u64,
        retired: Vec<String>,
    ) -> io::Result<Self> {
        let retired = retired.into();
        let bench = Bench { number, ready: None, retired, failing: false, closing: false };
        let desk = Mutex::new(bench);
        let changed = Condvar::new();
        let shared = Arc::new(Shared { desk, changed, disk, alarm, segment_bytes });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tenure-segments".into())
            .spawn(move || worker.work())?;
        Ok(Preparer { shared, thread: Some(thread) })
    }

    /// The next segment, if it is ready within `wait`. `Err` if making it fails.
    pub(crate) fn take(&self, wait: Duration) -> Result<Option<Prepared>, NoSegment> {
        let mut bench = self.shared.desk.lock();
        if bench.ready.is_none() && !bench.failing {
            self.shared.changed.wait_for(&mut bench, wait);
        }
        match bench.ready.take() {
            Some(prepared) => {
                self.shared.changed.notify_all();
                Ok(Some(prepared))
            }
            None if bench.failing => Err(NoSegment),
            None => Ok(None),
        }
    }

    /// Files that count no more, oldest first.
    pub(crate) fn retire(&self, names: impl IntoIterator<Item = String>) {
        self.shared.desk.lock().retired.extend(names);
        self.shared.changed.notify_all();
    }
}

/// The next segment cannot be made at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSegment;

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.desk.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        loop {
            match self.next_job() {
                Job::Close => return,
                Job::Look => self.alarm.health.set_disk_free(self.disk.free_bytes().ok()),
                Job::Remove(name) => {
                    if let Err(error) = self.disk.remove(&name) {
                        self.alarm.meters.failed(Operation::Purge);
                        tracing::warn!(event = "segment_kept", %name, %error, "cannot remove it");
                    }
                }
                Job::Prepare { number, from } => self.prepare(number, from),
            }
        }
    }

    fn next_job(&self) -> Job {
        let mut bench = self.desk.lock();
        loop {
            if bench.closing {
                return Job::Close;
            }
            // A segment that was freed can be used at once, whatever kept a new one from being made.
            if bench.ready.is_none() && (!bench.failing || !bench.retired.is_empty()) {
                // A number is used once, whether or not its segment comes to be.
                let number = bench.number;
                bench.number += 1;
                return Job::Prepare { number, from: bench.retired.pop_front() };
            }
            if let Some(name) = bench.retired.pop_front() {
                return Job::Remove(name);
            }
            let pause = if bench.failing { RETRY } else { LOOK };
            let woken = !self.changed.wait_for(&mut bench, pause).timed_out();
            bench.failing = bench.failing && woken;
            if !woken && bench.ready.is_some() {
                return Job::Look;
            }
        }
    }

    fn prepare(&self, number: u64, from: Option<String>) {
        let made = match from {
            Some(old) => self.recycle(&old, number),
            None => self.make(number),
        };
        self.alarm.health.set_disk_free(self.disk.free_bytes().ok());
        let mut bench = self.desk.lock();
        match made {
            Ok(file) => {
                bench.failing = false;
                bench.ready = Some(Prepared { number, file, bytes: self.segment_bytes });
                self.alarm.health.change(|troubles| troubles.full = false);
            }
            Err(error) => {
                self.alarm.meters.failed(Operation::Prepare);
                tracing::error!(event = "segment_not_made", %error, "trying again");
                bench.failing = true;
                if is_full(&error) {
                    self.alarm.health.change(|troubles| troubles.full = true);
                    // A snapshot may make room: an old segment is as good as a new one.
                    self.alarm.desk.ring();
                }
            }
        }
        drop(bench);
        self.changed.notify_all();
    }

    fn make(&self, number: u64) -> io::Result<Box<dyn DiskFile>> {
        let made = self.disk.create(SEGMENT_TEMPORARY, self.segment_bytes);
        if made.is_err() {
            // What was written before the disk was full is room that a release can use. If even this fails, the
            // next attempt begins with it.
            let _ = self.disk.remove(SEGMENT_TEMPORARY);
        }
        let file = made?;
        self.name(number)?;
        Ok(file)
    }

    // Renamed before its header is wiped: a segment that counts is never seen without its header.
    fn recycle(&self, old: &str, number: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(old)?;
        if file.bytes()? != self.segment_bytes {
            self.disk.remove(old)?;
            return self.make(number);
        }
        self.disk.rename(old, SEGMENT_TEMPORARY)?;
        self.disk.sync_names()?;
        file.write_at(&[0; HEADER_BYTES], 0)?;
        file.sync()?;
        self.name(number)?;
        Ok(file)
    }

    fn name(&self, number: u64) -> io::Result<()> {
        self.disk.rename(SEGMENT_TEMPORARY, &segment_name(number))?;
        self.disk.sync_names()
    }
}

/// Whether an error means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
