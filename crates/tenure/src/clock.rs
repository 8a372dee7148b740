//! The clock that promises are counted on: monotonic, and it goes on while the machine sleeps. A laptop that wakes
//! up after an hour must know that its locks are gone.

use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a sleep may go without looking at the clock again. The runtime's timers stand still while the machine
/// sleeps; after it woke, no wait is wrong by more than this.
const GLANCE_MAX: Duration = Duration::from_millis(500);

// Elsewhere than on Linux the monotonic clock of the system is the best there is; on macOS it counts sleep.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A point on this machine's clock. Means nothing to any other machine and is never sent anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// This very moment.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).expect("a machine runs for a positive time");
        let nanos = u32::try_from(time.tv_nsec).expect("a second has a billion nanoseconds");
        Moment(Duration::new(seconds, nanos))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
impl Moment {
    /// So long before this.
    pub(crate) fn minus(self, span: Duration) -> Self {
        Moment(self.0.saturating_sub(span))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// Waits until the clock shows `moment`, also across a sleep of the machine.
pub(crate) async fn sleep_until(moment: Moment) {
    loop {
        let left = moment.since(Moment::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(GLANCE_MAX)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = Moment::now();
        let second = Moment::now();
        assert!(second >= first);
        assert_eq!(first.since(second + Duration::from_secs(1)), Duration::ZERO);
    }
}
