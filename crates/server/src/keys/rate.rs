//! Requests per second of one key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// A bucket that holds one second's worth and fills evenly ("generic cell rate": one number says when it would be
/// full again).
pub(super) struct Rate {
    base: Instant,
    per_second: u32,
    /// Nanoseconds after `base` at which the bucket is full.
    full_at: AtomicU64,
}

impl Rate {
    /// A full bucket. Zero per second counts as one.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Rate { base: now, per_second: per_second.max(1), full_at: AtomicU64::new(0) }
    }

    /// Its bound.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Takes one request, or says when there is room for the next.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.base).as_nanos();
        let now = u64::try_from(elapsed).unwrap_or(u64::MAX / 2);
        let step = SECOND / u64::from(self.per_second);
        let taken = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
            let next = full_at.max(now) + step;
            (next - now <= SECOND).then_some(next)
        });
        match taken {
            Ok(_) => Ok(()),
            Err(full_at) => Err(Duration::from_nanos(full_at + step - now - SECOND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_so_many_and_then_they_come_evenly() {
        let start = Instant::now();
        let rate = Rate::new(4, start);
        for _ in 0..4 {
            rate.take(start).unwrap();
        }
        assert_eq!(rate.take(start), Err(Duration::from_millis(250)));
        rate.take(start + Duration::from_millis(250)).unwrap();
        assert!(rate.take(start + Duration::from_millis(250)).is_err());
    }

    #[test]
    fn a_long_silence_saves_up_one_second_only() {
        let start = Instant::now();
        let rate = Rate::new(2, start);
        let later = start + Duration::from_secs(3600);
        rate.take(later).unwrap();
        rate.take(later).unwrap();
        assert!(rate.take(later).is_err());
    }
}
