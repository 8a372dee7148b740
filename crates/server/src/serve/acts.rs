//! Log lines of what happened to locks: what operators did, what ran out, who waited long and for whom.

use std::collections::HashMap;
use std::time::Duration;

use tenure_api::SessionEndName;
use tenure_core::{Action, Change, LockChange, LockName, SessionEnd, SessionId};
use tokio::sync::mpsc;

/// Lines that wait to be written; more are left out.
pub(super) const ACTS_MAX: usize = 1024;

/// Something worth a line.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// A grant ended by force or by itself, or a lock was recalled, resized or opened.
    Lock(&'static str, Box<LockChange>),
    /// A grant came late, and who had held the lock until then.
    SlowWait(Box<LockChange>, Option<Box<LockChange>>),
    /// A session ended otherwise than by its client.
    Session(SessionId, SessionEnd),
}

/// What is worth a line among these changes.
pub(super) fn of(changes: &[Change], slow: Duration) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut freed: HashMap<&LockName, &LockChange> = HashMap::new();
    for change in changes {
        let change = match change {
            Change::Lock(change) => change,
            Change::SessionEnded { id, reason, .. } => {
                if *reason != SessionEnd::Closed {
                    acts.push(Act::Session(*id, reason.clone()));
                }
                continue;
            }
        };
        if let Some(event) = event(change.action) {
            acts.push(Act::Lock(event, Box::new(change.clone())));
        }
        match change.action {
            Action::Released | Action::Expired | Action::SessionEnded | Action::Broken => {
                freed.insert(&change.name, change);
            }
            Action::Granted if u128::from(change.micros) > slow.as_micros() => {
                let before = freed.get(&change.name).map(|before| Box::new((*before).clone()));
                acts.push(Act::SlowWait(Box::new(change.clone()), before));
            }
            _ => {}
        }
    }
    acts
}

fn event(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::Expired => "lock_expired",
        Action::Broken => "lock_broken",
        Action::Recalled => "lock_recalled",
        Action::Resized => "lock_resized",
        Action::Opened => "lock_opened",
        _ => return None,
    })
}

/// Writes them as they come.
pub(super) async fn write(mut told: mpsc::Receiver<Act>) {
    while let Some(act) = told.recv().await {
        line(&act);
    }
}

fn line(act: &Act) {
    match act {
        Act::Lock(event @ ("lock_broken" | "lock_expired"), change) => tracing::warn!(
            event,
            lock = change.name.as_str(),
            token = change.token.map(tenure_core::Token::get),
            owner = change.owner.as_ref().map(AsRef::<str>::as_ref),
            session = change.session.map(tracing::field::display),
            note = change.note.as_ref().map(AsRef::<str>::as_ref),
            by = change.by.as_ref().map(AsRef::<str>::as_ref),
            reason = change.reason.as_ref().map(AsRef::<str>::as_ref),
            held = seconds(change),
        ),
        Act::Lock(event, change) => tracing::info!(
            event,
            lock = change.name.as_str(),
            token = change.token.map(tenure_core::Token::get),
            by = change.by.as_ref().map(AsRef::<str>::as_ref),
            reason = change.reason.as_ref().map(AsRef::<str>::as_ref),
        ),
        Act::SlowWait(change, before) => tracing::warn!(
            event = "slow_wait",
            lock = change.name.as_str(),
            note = change.note.as_ref().map(AsRef::<str>::as_ref),
            waited = seconds(change),
            holder = before.as_ref().and_then(|b| b.note.as_ref()).map(AsRef::<str>::as_ref),
            held = before.as_deref().map(seconds),
        ),
        Act::Session(id, reason) => {
            let (by, why) = reason.force().map(|force| (&force.by, &force.reason)).unzip();
            tracing::info!(
                event = "session_ended",
                session = %id,
                reason = SessionEndName::from(reason).as_str(),
                by = by.map(AsRef::<str>::as_ref),
                why = why.map(AsRef::<str>::as_ref),
            );
        }
    }
}

fn seconds(change: &LockChange) -> f64 {
    Duration::from_micros(change.micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use tenure_core::Revision;

    use super::*;

    fn change(action: Action, lock: &str, micros: u64) -> Change {
        Change::Lock(LockChange {
            revision: Revision(1),
            name: LockName::new(lock).unwrap(),
            action,
            claim: None,
            token: None,
            owner: None,
            session: None,
            note: None,
            by: None,
            reason: None,
            micros,
        })
    }

    #[test]
    fn a_slow_wait_names_who_held_until_then() {
        let slow = Duration::from_secs(1);
        let changes = [
            change(Action::Released, "a", 5_000_000),
            change(Action::Granted, "a", 4_000_000),
            change(Action::Granted, "b", 900_000),
        ];
        let acts = of(&changes, slow);
        let [Act::SlowWait(late, Some(before))] = &acts[..] else { panic!("{acts:?}") };
        assert_eq!((late.micros, before.micros), (4_000_000, 5_000_000));
    }

    #[test]
    fn everyday_changes_are_not_worth_a_line() {
        let closed = Change::SessionEnded {
            revision: Revision(2),
            id: SessionId(1),
            reason: SessionEnd::Closed,
        };
        let everyday = [Action::Granted, Action::Queued, Action::Left, Action::Released];
        let mut changes: Vec<Change> =
            everyday.into_iter().map(|action| change(action, "a", 10)).collect();
        changes.push(closed);
        assert_eq!(of(&changes, Duration::from_secs(1)), []);
        assert_eq!(of(&[change(Action::Broken, "a", 1)], Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn every_act_of_an_operator_is_worth_a_line() {
        let acts = [Action::Broken, Action::Recalled, Action::Resized, Action::Opened];
        for action in acts {
            let lines = of(&[change(action, "a", 0)], Duration::from_secs(1));
            assert!(matches!(lines[..], [Act::Lock(..)]), "{action:?}: {lines:?}");
        }
    }
}
