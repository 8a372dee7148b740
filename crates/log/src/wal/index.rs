//! Where each entry of the log is. Pure.

use std::collections::VecDeque;

use super::record::EntryId;

/// Where one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// In which segment.
    pub(crate) segment: u64,
    /// At which byte of it the entry's frame begins.
    pub(crate) offset: u32,
    /// The how-manieth entry of its frame, from 0.
    pub(crate) position: u32,
}

/// The places of all entries that are not purged. 16 bytes each; terms are kept once per leader.
#[derive(Debug, Default)]
pub(crate) struct Index {
    first: u64,
    slots: VecDeque<Slot>,
    // The first index of each leader's run of entries.
    leaders: VecDeque<EntryId>,
}

impl Index {
    /// The index after the last entry; `None` if there is no entry.
    pub(crate) fn end(&self) -> Option<u64> {
        (!self.slots.is_empty()).then(|| self.first + self.slots.len() as u64)
    }

    /// The indexes there are.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.slots.len() as u64
    }

    /// Adds an entry after the last one; any entry if there is none.
    pub(crate) fn push(&mut self, id: EntryId, slot: Slot) {
        match self.end() {
            None => self.first = id.index,
            Some(end) => assert_eq!(end, id.index, "entries follow one another"),
        }
        self.slots.push_back(slot);
        if self.leaders.back().is_none_or(|run| (run.term, run.node) != (id.term, id.node)) {
            self.leaders.push_back(id);
        }
    }

    /// Where an entry is.
    pub(crate) fn slot(&self, index: u64) -> Option<Slot> {
        let distance = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get(distance).copied()
    }

    /// The whole name of an entry.
    pub(crate) fn id(&self, index: u64) -> Option<EntryId> {
        self.slot(index)?;
        let run = self.leaders.iter().rev().find(|run| run.index <= index)?;
        Some(EntryId { index, ..*run })
    }

    /// Forgets the entries from `since` on.
    pub(crate) fn truncate(&mut self, since: u64) {
        let kept = usize::try_from(since.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.truncate(kept);
        while self.leaders.back().is_some_and(|run| run.index >= since) {
            self.leaders.pop_back();
        }
    }

    /// Forgets the entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.first <= upto && self.slots.pop_front().is_some() {
            self.first += 1;
        }
        // The run that reaches beyond stays, from a later beginning.
        while self.leaders.get(1).is_some_and(|run| run.index <= self.first) {
            self.leaders.pop_front();
        }
        if self.slots.is_empty() {
            self.leaders.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term, node: 1, index }
    }

    fn filled() -> Index {
        let mut index = Index::default();
        for (term, at) in [(1, 4), (1, 5), (2, 6), (2, 7), (3, 8)] {
            let offset = u32::try_from(at * 100).unwrap();
            index.push(id(term, at), Slot { segment: 1, offset, position: 0 });
        }
        index
    }

    #[test]
    fn an_entry_is_found_with_its_leader() {
        let index = filled();
        assert_eq!(index.slot(6).unwrap().offset, 600);
        assert_eq!([4, 5, 6, 8].map(|at| index.id(at).unwrap().term), [1, 1, 2, 3]);
        assert_eq!((index.id(3), index.id(9)), (None, None));
    }

    #[test]
    fn what_is_truncated_or_purged_is_gone() {
        let mut index = filled();
        index.truncate(7);
        assert_eq!((index.range(), index.id(7)), (4..7, None));
        index.push(id(4, 7), Slot { segment: 2, offset: 0, position: 0 });
        assert_eq!(index.id(7), Some(id(4, 7)));
        index.purge(5);
        assert_eq!((index.id(5), index.id(6), index.id(7)), (None, Some(id(2, 6)), Some(id(4, 7))));
        index.purge(20);
        assert_eq!(index.end(), None);
        index.push(id(5, 21), Slot { segment: 2, offset: 0, position: 0 });
        assert_eq!(index.id(21), Some(id(5, 21)));
    }
}
