//! What the log's changes say.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_core::{Action, Change, LockName, Token};

use super::build::Meters;
use super::labels::{Mode, end_label};

/// Hand-overs that are measured at once; beyond it the oldest go unmeasured.
const HAND_OVERS_MAX: usize = 4096;

/// Grants to waiters of which one half is known: that they were committed, or that they were answered. The log wakes
/// the waiter first and tells its changes second, so either may come first.
#[derive(Default)]
pub(super) struct HandOvers(Mutex<HashMap<Token, Half>>);

enum Half {
    Committed(Instant),
    Answered,
}

impl HandOvers {
    /// A grant is about to be answered: how long ago it was committed, if it was a hand-over and that is known.
    pub(super) fn answered(&self, token: Token) -> Option<Duration> {
        let mut open = self.0.lock();
        match open.remove(&token) {
            Some(Half::Committed(since)) => Some(since.elapsed()),
            Some(Half::Answered) => None,
            None => {
                Self::put(&mut open, token, Half::Answered);
                None
            }
        }
    }

    /// A grant to a waiter was committed: the time of its hand-over if it has been answered already.
    fn committed(&self, token: Token, is_hand_over: bool, now: Instant) -> Option<Duration> {
        let mut open = self.0.lock();
        match open.remove(&token) {
            Some(_) => is_hand_over.then_some(Duration::ZERO),
            None => {
                if is_hand_over {
                    Self::put(&mut open, token, Half::Committed(now));
                }
                None
            }
        }
    }

    fn put(open: &mut HashMap<Token, Half>, token: Token, half: Half) {
        if open.len() >= HAND_OVERS_MAX {
            open.clear();
        }
        open.insert(token, half);
    }
}

/// Counts ends with the time that was held until then, and recalls, and notes each grant that an end of the same batch made possible.
pub(super) fn changed(meters: &Meters, open: &HandOvers, changes: &[Change], now: Instant) {
    let mut freed: HashSet<&LockName> = HashSet::new();
    for change in changes {
        let Change::Lock(change) = change else { continue };
        meters.changes.inc();
        if let Some(reason) = end_label(change.action) {
            meters.ended.get_or_create(&[("reason", reason)]).inc();
            if let Some(claim) = &change.claim {
                let held = Duration::from_micros(change.micros);
                meters.hold[Mode::of(claim) as usize].observe(held.as_secs_f64());
            }
            freed.insert(&change.name);
        }
        if change.action == Action::Recalled {
            meters.recalls.inc();
        }
        if change.action == Action::Granted
            && change.micros > 0
            && let Some(token) = change.token
            && let Some(took) = open.committed(token, freed.contains(&change.name), now)
        {
            meters.handover.observe(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_is_measured_in_whichever_order_its_halves_come() {
        let open = HandOvers::default();
        let now = Instant::now();
        assert_eq!(open.committed(Token::new(1), true, now), None);
        assert!(open.answered(Token::new(1)).is_some());
        assert_eq!(open.answered(Token::new(2)), None);
        assert_eq!(open.committed(Token::new(2), true, now), Some(Duration::ZERO));
        assert_eq!(open.answered(Token::new(3)), None);
        assert_eq!(open.committed(Token::new(3), false, now), None);
        assert!(open.0.lock().is_empty());
    }

    #[test]
    fn halves_that_stay_alone_are_forgotten() {
        let open = HandOvers::default();
        for n in 0..=HAND_OVERS_MAX as u64 {
            open.committed(Token::new(n), true, Instant::now());
        }
        assert!(open.0.lock().len() <= HAND_OVERS_MAX);
    }
}
