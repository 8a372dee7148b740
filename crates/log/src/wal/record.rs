//! What the payload of a frame says, in types of our own: another version of the consensus library must not change
//! what old disks mean.

use serde::{Deserialize, Serialize, Serializer};

/// Names one entry of the log in all its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryId {
    /// The term of the leader that proposed it.
    pub(crate) term: u64,
    /// The node that led.
    pub(crate) node: u64,
    /// Its place.
    pub(crate) index: u64,
}

/// Whom this node voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    /// In which term.
    pub(crate) term: u64,
    /// Whom.
    pub(crate) node: u64,
    /// Whether a majority did.
    pub(crate) committed: bool,
}

/// Who belongs to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// The sets that each need a majority; two while the cluster changes.
    pub(crate) voters: Vec<Vec<u64>>,
    /// All nodes with their addresses.
    pub(crate) nodes: Vec<(u64, String)>,
}

/// One frame's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    /// How far the log was committed when it was written: it rides along so that it costs no sync of its own.
    pub(crate) committed: Option<EntryId>,
    /// What happened.
    #[serde(borrow)]
    pub(crate) step: Step<'a>,
}

/// What one frame does to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step<'a> {
    /// Entries follow the last one.
    Append(#[serde(borrow)] Vec<Entry<'a>>),
    /// A vote was given.
    Vote(Ballot),
    /// Entries from this index on never were.
    Truncate(u64),
    /// Entries up to this one are in a snapshot.
    Purge(EntryId),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    /// Its name.
    pub(crate) id: EntryId,
    /// What it says.
    #[serde(borrow)]
    pub(crate) payload: Payload<'a>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Payload<'a> {
    /// Nothing: a leader begins its term.
    Blank,
    /// A batch of commands; see [`Proposal`](crate::proposal::Proposal).
    Commands(#[serde(borrow)] Bytes<'a>),
    /// Another cluster.
    Members(Members),
}

/// Bytes written as bytes, not one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Record<'_> {
    /// Appends the bytes of it to a buffer.
    pub(crate) fn encode(&self, buffer: Vec<u8>) -> Vec<u8> {
        postcard::to_extend(self, buffer).expect("plain data can be encoded")
    }
}

/// The record in a frame's payload; an error tells what is wrong with it.
pub(crate) fn decode(payload: &[u8]) -> Result<Record<'_>, String> {
    match postcard::take_from_bytes(payload) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(format!("{} bytes are left over after a record", rest.len())),
        Err(error) => Err(format!("not a record of this version: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_read_back() {
        let id = EntryId { term: 3, node: 1, index: 77 };
        let members = Members { voters: vec![vec![1, 2]], nodes: vec![(1, "a".into())] };
        let entries = [Payload::Blank, Payload::Commands(Bytes(b"xyz")), Payload::Members(members)];
        let entries = entries.map(|payload| Entry { id, payload }).to_vec();
        let vote = Ballot { term: 4, node: 1, committed: true };
        for step in [Step::Append(entries), Step::Vote(vote), Step::Truncate(5), Step::Purge(id)] {
            let record = Record { committed: Some(id), step };
            assert_eq!(decode(&record.encode(Vec::new())), Ok(record.clone()));
        }
    }

    #[test]
    fn left_over_bytes_are_no_record() {
        let record = Record { committed: None, step: Step::Truncate(5) };
        let mut bytes = record.encode(Vec::new());
        bytes.push(0);
        assert!(decode(&bytes).is_err());
    }
}
