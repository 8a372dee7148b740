//! Which numbers of numbered requests a session has used, as ranges: a retry is recognised for as long as the session
//! lives, and nothing need be remembered by time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Disjoint ranges of used numbers, first → last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequences(BTreeMap<u64, u64>);

impl Sequences {
    /// Whether the number was used, or lies in a gap that was given up.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// Notes a number as used. Beyond [`limits::SEQUENCE_GAPS_MAX`] gaps the lowest counts as used too.
    pub(super) fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        if let Some((before, end)) = self.0.range(..number).next_back().map(|(a, b)| (*a, *b))
            && end.checked_add(1) == Some(number)
        {
            first = before;
        }
        if let Some(next) = number.checked_add(1)
            && let Some(end) = self.0.remove(&next)
        {
            last = end;
        }
        self.0.insert(first, last);
        if self.0.len() > limits::SEQUENCE_GAPS_MAX {
            self.close_lowest_gap();
        }
    }

    fn close_lowest_gap(&mut self) {
        let Some((first, _)) = self.0.pop_first() else { return };
        if let Some((_, last)) = self.0.pop_first() {
            self.0.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_any_order_melt_into_ranges() {
        let mut used = Sequences::default();
        for number in [5, 1, 3, 2, 4, 9] {
            assert!(!used.contains(number));
            used.insert(number);
            assert!(used.contains(number));
        }
        assert_eq!(used.0, BTreeMap::from([(1, 5), (9, 9)]));
        assert!(!used.contains(6) && !used.contains(0) && !used.contains(10));
    }

    #[test]
    fn too_many_gaps_close_from_below() {
        let mut used = Sequences::default();
        for number in 0..=limits::SEQUENCE_GAPS_MAX as u64 {
            used.insert(number * 2);
        }
        assert!(used.contains(1), "the lowest gap counts as used");
        assert!(!used.contains(3));
        assert_eq!(used.0.len(), limits::SEQUENCE_GAPS_MAX);
    }

    #[test]
    fn the_largest_number_is_a_number_like_any_other() {
        let mut used = Sequences::default();
        used.insert(u64::MAX);
        used.insert(u64::MAX - 1);
        assert_eq!(used.0, BTreeMap::from([(u64::MAX - 1, u64::MAX)]));
    }
}
