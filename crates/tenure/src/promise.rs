//! How long a grant is ours for sure, decided from times alone.

use std::time::Duration;

use crate::clock::Moment;

/// What the server promised, as a span of this machine's clock.
///
/// It counts from when the request was *sent*, so that time spent on the way never makes it longer, and it ends a
/// little before the server's own: whoever is stopped then has stopped before the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Work under the promise has stopped by now.
    pub(crate) until: Moment,
    /// A renewal should have come by now.
    pub(crate) renewed_by: Moment,
}

/// The time to drop the protected work in: this much of the promise is not used.
const STOPPING_MAX: Duration = Duration::from_millis(200);

impl Promise {
    /// The promise of an answer that is good for `valid_for`, to a request that was sent at `sent` and held back by the
    /// server for `since_request`. The two clocks may differ by one percent, so that much of the wait is not counted.
    pub(crate) fn of(sent: Moment, since_request: Duration, valid_for: Duration) -> Self {
        let from = sent + since_request.mul_f64(0.99);
        let stopping = (valid_for / 50).min(STOPPING_MAX);
        Promise { until: from + (valid_for - stopping), renewed_by: from + valid_for / 2 }
    }

    /// What is left of it.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        self.until.since(now)
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        now >= self.until
    }

    /// Whether a renewal is overdue.
    pub(crate) fn is_overdue(&self, now: Moment) -> bool {
        now >= self.renewed_by
    }

    /// The better of two promises: an answer that comes late must not shorten what a later one gave.
    pub(crate) fn or(self, other: Promise) -> Promise {
        if other.until > self.until { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_promise_counts_from_the_sending_and_ends_before_the_servers() {
        let sent = Moment::now();
        let promise = Promise::of(sent, Duration::ZERO, SECOND * 10);
        assert!(promise.until < sent + SECOND * 10);
        assert!(promise.until > sent + SECOND * 9);
        assert!(!promise.is_overdue(sent + SECOND * 4));
        assert!(promise.is_overdue(sent + SECOND * 6));
        assert!(promise.is_over(sent + SECOND * 10));
    }

    #[test]
    fn a_long_wait_at_the_server_does_not_eat_the_promise() {
        let sent = Moment::now();
        let promise = Promise::of(sent, SECOND * 100, SECOND * 10);
        assert!(promise.until > sent + SECOND * 107);
        assert!(promise.until < sent + SECOND * 109, "one percent of the wait is not counted");
    }

    #[test]
    fn a_late_answer_does_not_shorten_what_a_later_request_got() {
        let sent = Moment::now();
        let early = Promise::of(sent, Duration::ZERO, SECOND);
        let late = Promise::of(sent + SECOND, Duration::ZERO, SECOND);
        assert_eq!(late.or(early), late);
        assert_eq!(early.or(late), late);
    }

    #[test]
    fn a_tiny_promise_keeps_most_of_its_time() {
        let sent = Moment::now();
        let promise = Promise::of(sent, Duration::ZERO, Duration::from_millis(99));
        assert!(promise.left(sent) >= Duration::from_millis(97));
    }
}
