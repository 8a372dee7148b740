//! Grants, releases and expiries per second, for people who look at one answer and not at a graph.

use std::time::Instant;

use parking_lot::Mutex;
use tenure_core::{Action, Change};

/// Whole seconds that are looked back on.
const SECONDS: u64 = 10;

/// Events of the last seconds.
pub(super) struct Rates(Mutex<Window>);

struct Window {
    began: Instant,
    /// The last second anything was counted in.
    newest: u64,
    counts: [Counts; SECONDS as usize + 1],
}

#[derive(Clone, Copy, Default)]
struct Counts {
    grants: u32,
    releases: u32,
    expiries: u32,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        Rates(Mutex::new(Window { began: now, newest: 0, counts: Default::default() }))
    }

    /// Counts what a batch changed.
    pub(super) fn changed(&self, changes: &[Change], now: Instant) {
        let mut window = self.0.lock();
        let counts = window.at(now);
        for change in changes {
            let Change::Lock(change) = change else { continue };
            match change.action {
                Action::Granted => counts.grants += 1,
                Action::Released => counts.releases += 1,
                Action::Expired => counts.expiries += 1,
                _ => {}
            }
        }
    }

    /// Per second over the last whole seconds; the second under way is left out.
    pub(super) fn per_second(&self, now: Instant) -> tenure_api::Rates {
        let mut window = self.0.lock();
        window.at(now);
        let whole = window.newest.min(SECONDS);
        if whole == 0 {
            return tenure_api::Rates::default();
        }
        let current = slot(window.newest);
        let others = window.counts.iter().enumerate().filter(|(index, _)| *index != current);
        let mut sum = tenure_api::Rates::default();
        for (_, counts) in others {
            sum.grants += f64::from(counts.grants);
            sum.releases += f64::from(counts.releases);
            sum.expiries += f64::from(counts.expiries);
        }
        let seconds = whole as f64;
        tenure_api::Rates {
            grants: sum.grants / seconds,
            releases: sum.releases / seconds,
            expiries: sum.expiries / seconds,
        }
    }
}

impl Window {
    /// The counts of the second of `now`; those of seconds in between are zero.
    fn at(&mut self, now: Instant) -> &mut Counts {
        let second = now.saturating_duration_since(self.began).as_secs().max(self.newest);
        for passed in (self.newest + 1..=second).rev().take(self.counts.len()) {
            self.counts[slot(passed)] = Counts::default();
        }
        self.newest = second;
        &mut self.counts[slot(second)]
    }
}

fn slot(second: u64) -> usize {
    (second % (SECONDS + 1)) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tenure_core::{LockChange, LockName, Revision};

    use super::*;

    fn granted() -> Change {
        Change::Lock(LockChange {
            revision: Revision(1),
            name: LockName::new("a").expect("is a name"),
            action: Action::Granted,
            claim: None,
            token: None,
            owner: None,
            session: None,
            note: None,
            by: None,
            reason: None,
            micros: 0,
        })
    }

    #[test]
    fn a_rate_is_over_the_last_whole_seconds() {
        let start = Instant::now();
        let rates = Rates::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        rates.changed(&vec![granted(); 30], at(500));
        assert_eq!(rates.per_second(at(900)).grants, 0.0);
        assert_eq!(rates.per_second(at(1000)).grants, 30.0);
        assert_eq!(rates.per_second(at(10_500)).grants, 3.0);
        assert_eq!(rates.per_second(at(11_000)).grants, 0.0);
        assert_eq!(rates.per_second(at(90_000)).grants, 0.0);
    }
}
