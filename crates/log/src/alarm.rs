//! What the disk's troubles mean for callers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::desk::Desk;
use crate::error::Reason;
use crate::meters::{Meters, Operation};
use crate::status::Health;

/// A batch that is under way for longer is answered as unknown, and new commands are refused.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(5);
/// Between two looks at how long the batch has been under way.
const LOOK: Duration = Duration::from_millis(250);

/// Tells callers when the disk fails, and the node's state to who asks.
pub(crate) struct Alarm {
    pub(crate) health: Arc<Health>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) meters: Arc<Meters>,
    stall: Mutex<Stall>,
    // Whether there is a stall, so that a good write costs no lock.
    stalled: AtomicBool,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

/// Why nothing is acknowledged at the moment.
#[derive(Clone, Copy, Default)]
struct Stall {
    /// The last write failed.
    failed: bool,
    /// The batch under way takes too long. The watcher alone says so, and takes it back when it has arrived.
    late: bool,
}

impl Alarm {
    /// No trouble yet.
    pub(crate) fn new(health: Arc<Health>, desk: Arc<Desk>, meters: Arc<Meters>) -> Self {
        let (stall, stalled) = (Mutex::default(), AtomicBool::new(false));
        let (stopping, stopped) = (Mutex::new(false), Condvar::new());
        Alarm { health, desk, meters, stall, stalled, stopping, stopped }
    }

    /// A write or sync failed, or there is no segment to write to: nothing is acknowledged until it succeeds.
    pub(crate) fn disk_failed(&self, operation: Operation, error: &io::Error, full: bool) {
        self.meters.failed(operation);
        let before = self.set(|stall| stall.failed = true);
        if !before.failed {
            tracing::error!(event = "log_write_failed", ?operation, %error, "trying again");
        }
        if full {
            self.health.change(|troubles| troubles.full = true);
        }
        self.desk.give_up(self.reason());
    }

    /// A write was synced.
    pub(crate) fn disk_works(&self) {
        if self.stalled.load(Ordering::Relaxed) {
            self.set(|stall| *stall = Stall::default());
            tracing::info!(event = "log_written_again");
        }
    }

    /// Looks after a batch that takes too long, until told to stop. Runs on a thread of its own, because the one
    /// that writes may be stuck in the system.
    pub(crate) fn watch(&self) {
        while !self.pause(LOOK) {
            self.look();
        }
    }

    fn look(&self) {
        let under_way = self.desk.under_way_for(Instant::now());
        let late = under_way.is_some_and(|time| time >= STALL_MAX);
        if !late && !self.stalled.load(Ordering::Relaxed) {
            return;
        }
        let before = self.set(|stall| stall.late = late);
        if late && !before.late {
            tracing::error!(event = "log_stalled", after = ?STALL_MAX);
        }
        if self.stalled.load(Ordering::Relaxed) {
            self.desk.give_up(self.reason());
        }
    }

    /// Changes why nothing is acknowledged, and tells. The cause and what is told change together: else a batch that
    /// arrives while the watcher speaks would leave a node that refuses everything for ever. Gives what was before.
    fn set(&self, change: impl FnOnce(&mut Stall)) -> Stall {
        let mut stall = self.stall.lock();
        let before = *stall;
        change(&mut stall);
        let stalled = stall.failed || stall.late;
        self.stalled.store(stalled, Ordering::Relaxed);
        self.health.change(|troubles| troubles.stalled = stalled);
        before
    }

    /// Gives up retries; whoever pauses is woken.
    pub(crate) fn stop(&self) {
        *self.stopping.lock() = true;
        self.stopped.notify_all();
    }

    /// Whether retries are given up.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.lock()
    }

    /// Waits, but not beyond the stop. Whether that came.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let mut stopping = self.stopping.lock();
        if !*stopping {
            self.stopped.wait_for(&mut stopping, time);
        }
        *stopping
    }

    fn reason(&self) -> Reason {
        self.health.troubles().reason().unwrap_or(Reason::NoQuorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Durability;

    fn alarm() -> Alarm {
        let meters = Arc::new(Meters::new());
        let health = Arc::new(Health::new(Durability::Disk, 1, meters.clone()));
        health.change(|troubles| troubles.starting = false);
        Alarm::new(health, Arc::default(), meters)
    }

    fn is_stalled(alarm: &Alarm) -> bool {
        alarm.health.troubles().stalled
    }

    #[test]
    fn a_batch_that_arrives_while_the_watcher_speaks_leaves_no_stall_behind() {
        let alarm = alarm();
        alarm.desk.depart(Vec::new(), Instant::now() - STALL_MAX);
        // The write ends, and the watcher still sees its batch under way.
        alarm.disk_works();
        alarm.look();
        assert!(is_stalled(&alarm));
        alarm.desk.arrive();
        alarm.look();
        assert!(!is_stalled(&alarm), "nothing else would ever take it back");
    }

    #[test]
    fn a_late_batch_that_arrives_ends_the_stall_at_once() {
        let alarm = alarm();
        alarm.desk.depart(Vec::new(), Instant::now() - STALL_MAX);
        alarm.look();
        assert!(is_stalled(&alarm));
        alarm.desk.arrive();
        alarm.disk_works();
        assert!(!is_stalled(&alarm), "the next caller is not refused for the last one's sake");
    }

    // A round in which the stop comes before the pause proves nothing, so there are many.
    #[test]
    fn whoever_pauses_is_woken_by_the_stop() {
        const LONG: Duration = Duration::from_secs(3600);
        for _ in 0..200 {
            let alarm = Arc::new(alarm());
            let (paused, (told, woken)) = (alarm.clone(), std::sync::mpsc::channel());
            std::thread::spawn(move || {
                while !paused.pause(LONG) {}
                told.send(()).expect("the test waits");
            });
            while alarm.stopped.notify_all() == 0 {
                std::thread::yield_now();
            }
            std::thread::yield_now();
            alarm.stop();
            woken.recv_timeout(LONG / 360).expect("the stop ends the pause");
        }
    }

    #[test]
    fn a_failed_write_stalls_until_one_succeeds_whatever_the_watcher_sees() {
        let alarm = alarm();
        alarm.disk_failed(Operation::Sync, &io::Error::other("EIO"), false);
        alarm.look();
        assert!(is_stalled(&alarm));
        alarm.disk_works();
        assert!(!is_stalled(&alarm));
    }
}
