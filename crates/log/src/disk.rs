//! The directory a log lives in, as seven verbs. Everything that can fail on a disk passes through here, so that a
//! test can make each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::error::OpenError;

const LOCK_FILE: &str = "log.lock";
const ZEROS_BYTES: usize = 1 << 20;
/// How long a process, or a node of this one, may take to give the directory up while it ends.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);
const LOCK_RETRY: Duration = Duration::from_millis(10);

#[cfg(test)]
pub(crate) mod fault;

/// One directory of files.
pub(crate) trait Disk: Send + Sync {
    /// Names and sizes in bytes of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file of `bytes` zeros, all of them written and synced, so that later writes into it need no room and
    /// change nothing but data. An old file of that name is lost.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, taking the place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names last: creations, renames and removals before this survive a crash.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes free for us.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One open file.
pub(crate) trait DiskFile: Send + Sync {
    /// Its size in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; an end of file before that is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. After an error any part of it may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// What was written before this survives a crash. After an error nothing is known of it, and a later success
    /// says nothing about it either.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of this machine, held by a lock while this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    // Closing it gives up the lock.
    _lock: File,
    names: File,
}

impl Directory {
    /// Opens a directory for this process alone, making it if absent.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |what, error: io::Error| OpenError::Io { what, path: path.into(), error };
        fs::create_dir_all(path).map_err(|error| failed("make the directory", error))?;
        let lock = private_file()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(|error| failed("open the lock file in", error))?;
        let begun = Instant::now();
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT_MAX => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(OpenError::InUse { dir: path.into() });
                }
                Err(error) => return Err(failed("lock", error.into())),
            }
        }
        let names = File::open(path).map_err(|error| failed("open", error))?;
        Ok(Directory { path: path.into(), _lock: lock, names })
    }
}

// The log has leases in it: nobody else may read it.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It was renamed or removed since the name was read: the next segment is made on another thread.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(private_file().open(self.path.join(name))?))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = private_file().create(true).truncate(true).open(self.path.join(name))?;
        // Not fallocate: blocks that were never written are turned into written ones by a journal commit at the
        // first write to each, which is what the zeros are to avoid.
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let chunk = (bytes - offset).min(ZEROS_BYTES as u64);
            file.write_all_at(&zeros[..usize::try_from(chunk).expect("at most 1 MiB")], offset)?;
            offset += chunk;
        }
        file.sync_all()?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.names.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_file_that_is_renamed_meanwhile_does_not_fail_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Directory::open(dir.path()).unwrap();
        disk.create("still", 0).unwrap();
        disk.create("there", 0).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    disk.rename("there", "here").unwrap();
                    disk.rename("here", "there").unwrap();
                }
            });
            let listed = (0..20_000).map(|_| disk.list());
            let failed = listed.filter(|files| {
                !files.as_ref().is_ok_and(|files| files.iter().any(|(name, _)| name == "still"))
            });
            let failed = failed.count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0);
        });
    }
}
