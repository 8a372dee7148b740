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
    // Whether the last write failed, so that a good one costs no lock.
    failed: AtomicBool,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

impl Alarm {
    /// No trouble yet.
    pub(crate) fn new(health: Arc<Health>, desk: Arc<Desk>, meters: Arc<Meters>) -> Self {
        let failed = AtomicBool::new(false);
        let (stopping, stopped) = (Mutex::new(false), Condvar::new());
        Alarm { health, desk, meters, failed, stopping, stopped }
    }

    /// A write or sync failed, or there is no segment to write to: nothing is acknowledged until it succeeds.
    pub(crate) fn disk_failed(&self, operation: Operation, error: &io::Error, full: bool) {
        self.meters.failed(operation);
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::error!(?operation, %error, "the log cannot be written; trying again");
        }
        self.health.change(|troubles| {
            troubles.stalled = true;
            troubles.full |= full;
        });
        self.desk.give_up(self.reason());
    }

    /// A write was synced.
    pub(crate) fn disk_works(&self) {
        if self.failed.swap(false, Ordering::Relaxed) {
            tracing::info!("the log is written again");
            self.health.change(|troubles| troubles.stalled = false);
        }
    }

    /// Looks after a batch that takes too long, until told to stop. Runs on a thread of its own, because the one
    /// that writes may be stuck in the system.
    pub(crate) fn watch(&self) {
        while !self.pause(LOOK) {
            let under_way = self.desk.under_way_for(Instant::now());
            if under_way.is_some_and(|time| time >= STALL_MAX)
                && !self.failed.swap(true, Ordering::Relaxed)
            {
                tracing::error!("the log has not been written for {STALL_MAX:?}");
                self.health.change(|troubles| troubles.stalled = true);
            }
            if self.failed.load(Ordering::Relaxed) {
                self.desk.give_up(self.reason());
            }
        }
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
