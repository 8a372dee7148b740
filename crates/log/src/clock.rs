//! Machine time from a monotonic clock: when a batch counts as made, and when the next tick is due. Pure.

use std::time::{Duration, Instant};

use tenure_core::Time;

/// How far a stamp may be above the last committed one. What a pause takes longer is dropped: a node that stood
/// still for ten minutes must not end every lease at once.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(1);
/// Between two entries while anything has a deadline, so that a restart loses no more than this.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// From the start to the first tick, so that time goes on in a node that never lives for a [`TICK`].
pub(crate) const FIRST_TICK: Duration = Duration::from_millis(100);

/// Stamps the batches of one term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamper {
    base: Time,
    base_clock: Duration,
    last: Time,
}

impl Stamper {
    /// A term begins: `last` is the stamp of the last entry of the log, committed or not, `clock` the time now.
    pub(crate) fn new(last: Time, clock: Duration) -> Self {
        Stamper { base: last, base_clock: clock, last }
    }

    /// The stamp of a batch that was closed at `clock`, after entries up to `committed` took effect. It never goes
    /// back, and never runs ahead of the clock.
    pub(crate) fn stamp(&mut self, clock: Duration, committed: Time) -> Time {
        let now = self.base + clock.saturating_sub(self.base_clock);
        let latest = (committed + STEP_MAX).max(self.last);
        let stamp = now.max(self.last).min(latest);
        if now > stamp {
            (self.base, self.base_clock) = (stamp, clock);
        }
        self.last = stamp;
        stamp
    }
}

/// When the next tick is due, if nothing else is written before: `last` was the last stamp, given at `stamped`.
pub(crate) fn tick_at(last: Time, stamped: Instant, deadline: Option<Time>) -> Option<Instant> {
    deadline.map(|deadline| stamped + deadline.since(last).min(TICK))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_stamp_follows_the_clock_from_the_last_entry_on() {
        let mut stamper = Stamper::new(Time::from_micros(5 * SECOND), seconds(100.0));
        let committed = Time::from_micros(5 * SECOND);
        let stamp = stamper.stamp(seconds(100.25), committed);
        assert_eq!(stamp.as_micros(), 5 * SECOND + 250_000);
    }

    #[test]
    fn back_to_back_batches_lose_no_time() {
        let mut stamper = Stamper::new(Time::ZERO, Duration::ZERO);
        let mut committed = Time::ZERO;
        for millisecond in 1..=5_000u64 {
            committed = stamper.stamp(Duration::from_millis(millisecond), committed);
        }
        assert_eq!(committed.as_micros(), 5 * SECOND);
    }

    #[test]
    fn a_pause_is_dropped_beyond_one_step() {
        let mut stamper = Stamper::new(Time::ZERO, Duration::ZERO);
        let stamp = stamper.stamp(seconds(600.0), Time::ZERO);
        assert_eq!(stamp.as_micros(), SECOND);
        let next = stamper.stamp(seconds(600.5), stamp);
        assert_eq!(next.as_micros(), SECOND + SECOND / 2, "and never made up");
    }

    #[test]
    fn a_leader_without_a_majority_stays_within_a_step_of_what_is_committed() {
        let mut stamper = Stamper::new(Time::ZERO, Duration::ZERO);
        let committed = Time::from_micros(10);
        let stamps = [1.0, 2.0, 60.0].map(|clock| stamper.stamp(seconds(clock), committed));
        assert!(stamps.iter().all(|stamp| stamp.since(committed) <= STEP_MAX), "{stamps:?}");
    }

    #[test]
    fn a_stamp_never_goes_back() {
        let last = Time::from_micros(9 * SECOND);
        let mut stamper = Stamper::new(last, seconds(3.0));
        // The last entry of the log is not committed yet and lies more than a step above what is.
        assert_eq!(stamper.stamp(seconds(3.0), Time::from_micros(SECOND)), last);
        assert_eq!(stamper.stamp(seconds(2.0), Time::from_micros(SECOND)), last);
    }

    #[test]
    fn ticks_come_at_the_deadline_or_every_second_or_never() {
        let (last, stamped) = (Time::from_micros(SECOND), Instant::now());
        let at = |micros| tick_at(last, stamped, Some(Time::from_micros(micros)));
        assert_eq!(at(SECOND + 300_000), Some(stamped + Duration::from_millis(300)));
        assert_eq!(at(50 * SECOND), Some(stamped + TICK));
        assert_eq!(at(0), Some(stamped), "what is overdue is due now");
        assert_eq!(tick_at(last, stamped, None), None);
    }
}
