//! Tickets of one owner.

use std::collections::BTreeSet;

use crate::id::TicketId;

/// A set of tickets that mostly has one member, which costs no allocation.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) enum TicketSet {
    #[default]
    Empty,
    One(TicketId),
    #[expect(clippy::box_collection, reason = "most sets have one member and are smaller for it")]
    Many(Box<BTreeSet<TicketId>>),
}

impl TicketSet {
    pub(in crate::machine) fn insert(&mut self, id: TicketId) {
        match self {
            TicketSet::Empty => *self = TicketSet::One(id),
            TicketSet::One(first) if *first == id => {}
            TicketSet::One(first) => {
                *self = TicketSet::Many(Box::new(BTreeSet::from([*first, id])));
            }
            TicketSet::Many(all) => {
                all.insert(id);
            }
        }
    }

    pub(in crate::machine) fn remove(&mut self, id: TicketId) {
        match self {
            TicketSet::One(only) if *only == id => *self = TicketSet::Empty,
            TicketSet::Many(all) => {
                all.remove(&id);
                if all.is_empty() {
                    *self = TicketSet::Empty;
                }
            }
            TicketSet::Empty | TicketSet::One(_) => {}
        }
    }

    pub(in crate::machine) fn is_empty(&self) -> bool {
        matches!(self, TicketSet::Empty)
    }

    pub(in crate::machine) fn len(&self) -> usize {
        match self {
            TicketSet::Empty => 0,
            TicketSet::One(_) => 1,
            TicketSet::Many(all) => all.len(),
        }
    }

    /// In arrival order.
    pub(in crate::machine) fn iter(&self) -> impl Iterator<Item = TicketId> + '_ {
        let (one, many) = match self {
            TicketSet::Empty => (None, None),
            TicketSet::One(id) => (Some(*id), None),
            TicketSet::Many(all) => (None, Some(all.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}
