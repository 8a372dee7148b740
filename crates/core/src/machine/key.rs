//! API keys made at run time, kept in the record so that every node knows them after every restart.

use serde::{Deserialize, Serialize};

use super::acquire::limit;
use super::due::NamedDue;
use super::{Decided, Machine, refuse};
use crate::answer::{Answer, Refusal};
use crate::command::KeyRecord;
use crate::limits;
use crate::text::KeyName;
use crate::time::Time;

/// A key with its spans turned into deadlines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredKey {
    record: KeyRecord,
    expires_at: Option<Time>,
    old_until: Option<Time>,
}

impl StoredKey {
    fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.expires_at.into_iter().chain(self.old_until)
    }
}

impl Machine {
    pub(super) fn put_key(&mut self, record: &KeyRecord) -> Decided<Answer> {
        if self.state.keys.len() >= limits::KEYS_MAX && !self.state.keys.contains_key(&record.name)
        {
            return refuse(limit("keys", limits::KEYS_MAX as u64));
        }
        self.unindex_key(&record.name);
        let now = self.state.now;
        let stored = StoredKey {
            expires_at: record.expires_in.map(|span| now + span),
            old_until: record.old.as_ref().map(|old| now + old.good_for),
            record: record.clone(),
        };
        self.state.keys.insert(record.name.clone(), stored);
        self.index_key(&record.name);
        Ok(Answer::Done)
    }

    pub(super) fn remove_key(&mut self, name: &KeyName) -> Decided<Answer> {
        self.unindex_key(name);
        match self.state.keys.remove(name) {
            Some(_) => Ok(Answer::Done),
            None => refuse(Refusal::NotFound { what: "key" }),
        }
    }

    pub(super) fn index_key(&mut self, name: &KeyName) {
        let Some(stored) = self.state.keys.get(name) else { return };
        for at in stored.deadlines() {
            self.index.deadlines.add_named(at, NamedDue::Key(name.clone()));
        }
    }

    fn unindex_key(&mut self, name: &KeyName) {
        let Some(stored) = self.state.keys.get(name) else { return };
        for at in stored.deadlines() {
            self.index.deadlines.remove_named(at, NamedDue::Key(name.clone()));
        }
    }

    /// A key or its old secret ran out.
    pub(super) fn expire_key(&mut self, name: &KeyName) {
        let now = self.state.now;
        let Some(stored) = self.state.keys.get_mut(name) else { return };
        if stored.expires_at.is_some_and(|at| at <= now) {
            self.state.keys.remove(name);
        } else if stored.old_until.is_some_and(|at| at <= now) {
            stored.old_until = None;
            stored.record.old = None;
        }
    }

    /// The keys made at run time that have not run out, with what is left of their time.
    pub fn keys(&self) -> Vec<KeyRecord> {
        let now = self.state.now;
        let shown = |stored: &StoredKey| {
            let mut record = stored.record.clone();
            record.expires_in = stored.expires_at.map(|at| at.since(now));
            if let (Some(old), Some(until)) = (&mut record.old, stored.old_until) {
                old.good_for = until.since(now);
            }
            record
        };
        self.state.keys.values().map(shown).collect()
    }
}
