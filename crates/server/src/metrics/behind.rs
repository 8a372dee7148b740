//! How far the slowest reader of changes is behind.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_core::Revision;

/// Changes that are this close together are taken for one: the bound of the error.
const TOGETHER: Duration = Duration::from_millis(10);
/// Times of commits that are kept; a reader further behind counts as far behind as the oldest of them.
const COMMITS_MAX: usize = 4096;

/// What was committed when, and how far readers have come.
#[derive(Default)]
pub(super) struct Behind(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// When the first of some changes was committed, and the last of them.
    commits: VecDeque<(Instant, Revision)>,
    readers: HashMap<ReaderId, Revision>,
    made: u64,
}

/// One reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReaderId(u64);

impl Behind {
    /// A reader comes. What was committed before is history, which it may read at its pace.
    pub(super) fn reader(&self) -> ReaderId {
        let mut inner = self.0.lock();
        inner.made += 1;
        let (id, newest) = (ReaderId(inner.made), inner.newest());
        inner.readers.insert(id, newest);
        id
    }

    /// A reader was handed what there is up to a change.
    pub(super) fn reached(&self, id: ReaderId, revision: Revision) {
        if let Some(at) = self.0.lock().readers.get_mut(&id) {
            *at = revision.max(*at);
        }
    }

    /// A reader goes.
    pub(super) fn gone(&self, id: ReaderId) {
        self.0.lock().readers.remove(&id);
    }

    /// Changes up to this one were committed.
    pub(super) fn committed(&self, revision: Revision, now: Instant) {
        let mut inner = self.0.lock();
        match inner.commits.back_mut() {
            Some((first, last)) if now.saturating_duration_since(*first) < TOGETHER => {
                *last = revision;
            }
            _ => {
                if inner.commits.len() >= COMMITS_MAX {
                    inner.commits.pop_front();
                }
                inner.commits.push_back((now, revision));
            }
        }
    }

    /// For how long the slowest reader has had something to read.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        let inner = self.0.lock();
        let slowest = inner.readers.values().min().copied().unwrap_or(inner.newest());
        let unread = inner.commits.partition_point(|(_, last)| *last <= slowest);
        let since = inner.commits.get(unread).map(|(since, _)| *since);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Inner {
    fn newest(&self) -> Revision {
        self.commits.back().map_or(Revision(0), |(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_reader_counts_from_the_oldest_change_it_has_not_read() {
        let behind = Behind::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        behind.committed(Revision(3), at(0));
        let (quick, slow) = (behind.reader(), behind.reader());
        assert_eq!(behind.longest(at(9)), Duration::ZERO, "what came before them is history");
        behind.committed(Revision(5), at(10));
        behind.committed(Revision(7), at(20));
        behind.reached(quick, Revision(7));
        assert_eq!(behind.longest(at(30)), Duration::from_secs(20));
        behind.reached(slow, Revision(5));
        assert_eq!(behind.longest(at(30)), Duration::from_secs(10));
        behind.gone(slow);
        assert_eq!(behind.longest(at(30)), Duration::ZERO);
    }
}
