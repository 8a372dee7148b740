//! The clock that promises are counted by: it never goes back and goes on while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point on `CLOCK_BOOTTIME`, in nanoseconds. The same for all processes of a machine, so it may be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boottime(u64);

impl Boottime {
    /// So far away that it never comes.
    pub(crate) const NEVER: Boottime = Boottime(u64::MAX);

    /// The clock's reading.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).expect("the time since boot is not negative");
        let nanos = u64::try_from(now.tv_nsec).expect("nanoseconds are not negative");
        Boottime(seconds * 1_000_000_000 + nanos)
    }

    /// The point so many nanoseconds after boot.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Boottime(nanos)
    }

    /// Nanoseconds since boot.
    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point so much later, at most [`Boottime::NEVER`].
    pub(crate) fn plus(self, span: Duration) -> Self {
        Boottime(self.0.saturating_add(nanos_of(span)))
    }

    /// The point so much earlier, at least boot.
    pub(crate) fn minus(self, span: Duration) -> Self {
        Boottime(self.0.saturating_sub(nanos_of(span)))
    }

    /// For a timer; what is beyond its range is as good as never.
    pub(crate) fn as_timespec(self) -> Timespec {
        let seconds = self.0 / 1_000_000_000;
        let nanos = self.0 % 1_000_000_000;
        Timespec {
            tv_sec: seconds.try_into().unwrap_or(i64::MAX),
            tv_nsec: nanos.try_into().unwrap_or(999_999_999),
        }
    }
}

fn nanos_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stop_at_boot_and_at_never() {
        assert_eq!(Boottime::from_nanos(5).minus(Duration::from_secs(1)), Boottime::from_nanos(0));
        assert_eq!(Boottime::NEVER.plus(Duration::from_secs(1)), Boottime::NEVER);
    }

    #[test]
    fn a_timer_is_set_to_the_same_point() {
        let spec = Boottime::from_nanos(3_000_000_007).as_timespec();
        assert_eq!((spec.tv_sec, spec.tv_nsec), (3, 7));
    }
}
