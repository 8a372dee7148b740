//! The whole state as bytes. What can be found again from the state is not in it.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Index, Machine, State};
use crate::change::Applied;
use crate::id::{SessionId, TicketId};
use crate::text::KeyName;

/// The first byte of a snapshot: raised whenever what follows changes its shape.
const VERSION: u8 = 3;

/// The bytes are not a snapshot this program can read.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// Of another version of this program.
    #[error("the snapshot has format {found}, this program reads format {VERSION}")]
    Version {
        /// Its format.
        found: u8,
    },
    /// Not a snapshot.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
}

impl Machine {
    /// The whole state as bytes: equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let bytes = vec![VERSION];
        postcard::to_extend(&self.state, bytes).expect("plain data can be written to memory")
    }

    /// How many records a snapshot has whose number nothing else bounds: locks, requests that hold or wait, sessions,
    /// request ids. Making the snapshot takes as long as these are many.
    pub fn records(&self) -> usize {
        let State { locks, tickets, sessions, requests, .. } = &self.state;
        locks.len() + tickets.len() + sessions.len() + requests.len()
    }

    /// The machine a snapshot was taken of.
    pub fn restore(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                let state: State = postcard::from_bytes(rest)?;
                Ok(Machine::indexed(state))
            }
            Some((&found, _)) => Err(BadSnapshot::Version { found }),
            None => Err(postcard::Error::DeserializeUnexpectedEnd.into()),
        }
    }

    fn indexed(state: State) -> Self {
        let mut machine = Machine { state, index: Index::default(), applied: Applied::default() };
        let tickets: Vec<TicketId> = machine.state.tickets.keys().copied().collect();
        for id in tickets {
            machine.index_ticket(id);
        }
        let upgrades: Vec<TicketId> = machine.state.upgrades.keys().copied().collect();
        for id in upgrades {
            machine.index_upgrade(id);
        }
        let sessions: Vec<SessionId> = machine.state.sessions.keys().copied().collect();
        for id in sessions {
            machine.index_session(id);
        }
        let keys: Vec<KeyName> = machine.state.keys.keys().cloned().collect();
        for name in keys {
            machine.index_key(&name);
        }
        machine.index_locks();
        machine
    }

    fn index_locks(&mut self) {
        let now = self.state.now;
        for (name, lock) in self.state.locks.iter() {
            self.index.held_locks += usize::from(lock.is_held());
            self.index.waited_locks += usize::from(lock.queue_length() > 0);
            self.index.idle_locks += usize::from(lock.idle_since().is_some());
            if lock.opens_at() > now {
                self.index
                    .deadlines
                    .add_named(lock.opens_at(), super::due::NamedDue::Opens(name.clone()));
            }
        }
    }
}

/// Hash maps go to bytes in order of key, so that equal states give equal bytes.
pub(super) mod sorted {
    use super::*;

    pub(in super::super) fn serialize<K: Ord + Hash + Serialize, V: Serialize, S: Serializer>(
        map: &HashMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, K, V, D>(
        deserializer: D,
    ) -> Result<HashMap<K, V>, D::Error>
    where
        K: Eq + Hash + Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        HashMap::deserialize(deserializer)
    }
}
