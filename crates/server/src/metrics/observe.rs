//! What the log's changes say.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_core::{Action, Change, LockName, Token};

use super::build::Meters;
use super::labels::end_label;

/// Hand-overs that are measured at once; beyond it the oldest go unmeasured.
const HAND_OVERS_MAX: usize = 4096;

/// Grants to waiters that were committed and not answered yet.
#[derive(Default)]
pub(super) struct HandOvers(Mutex<HashMap<Token, Instant>>);

impl HandOvers {
    fn begin(&self, tokens: impl Iterator<Item = Token>, now: Instant) {
        let mut open = self.0.lock();
        for token in tokens {
            if open.len() >= HAND_OVERS_MAX {
                open.clear();
            }
            open.insert(token, now);
        }
    }

    /// How long ago the grant was committed, once.
    pub(super) fn answered(&self, token: Token) -> Option<Duration> {
        self.0.lock().remove(&token).map(|since| since.elapsed())
    }
}

/// Counts ends and recalls, and begins the clock of each grant that a release of the same batch made possible.
pub(super) fn changed(meters: &Meters, open: &HandOvers, changes: &[Change], now: Instant) {
    let mut freed: HashSet<&LockName> = HashSet::new();
    let mut handed_on = Vec::new();
    for change in changes {
        let Change::Lock(change) = change else { continue };
        meters.changes.inc();
        if let Some(reason) = end_label(change.action) {
            meters.ended.get_or_create(&[("reason", reason)]).inc();
            freed.insert(&change.name);
        }
        match change.action {
            Action::Recalled => drop(meters.recalls.inc()),
            Action::Granted if change.micros > 0 && freed.contains(&change.name) => {
                handed_on.extend(change.token);
            }
            _ => {}
        }
    }
    if !handed_on.is_empty() {
        open.begin(handed_on.into_iter(), now);
    }
}
