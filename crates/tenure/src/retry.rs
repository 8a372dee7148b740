//! When to ask again, decided from numbers alone.

use std::time::Duration;

/// First pause after an attempt that failed.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two attempts, unless the server names a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longest pause taken on the server's word.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The pause after `failures` attempts in a row (1 = the first). It doubles up to [`PAUSE_MAX`]; `dice`, 0 to 255,
/// spreads it between a half and the whole, so that many clients do not come back together.
pub(crate) fn pause(failures: u32, retry_after: Duration, dice: u8) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let whole = doubled.min(PAUSE_MAX).max(retry_after.min(RETRY_AFTER_MAX));
    whole / 2 + whole.mul_f64(f64::from(dice) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        assert_eq!(pause(1, Duration::ZERO, 0), PAUSE_MIN / 2);
        assert_eq!(pause(1, Duration::ZERO, 255), PAUSE_MIN);
        assert_eq!(pause(1000, Duration::ZERO, 255), PAUSE_MAX);
        assert!(pause(2, Duration::ZERO, 0) >= PAUSE_MIN);
    }

    #[test]
    fn the_servers_word_counts_within_a_bound() {
        assert_eq!(pause(1, Duration::from_secs(10), 255), Duration::from_secs(10));
        assert_eq!(pause(1, Duration::from_secs(3600), 255), RETRY_AFTER_MAX);
    }
}
