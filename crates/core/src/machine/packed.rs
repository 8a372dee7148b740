//! A map in order of key that wastes little room.
//!
//! The standard B-tree fills its nodes to half where keys come in ascending order, as tickets, deadlines and most names
//! do, and to two thirds where they come in any order: with a hundred thousand locks that is as much as the locks
//! themselves. Here neighbours lie in runs, and a run has room for little more than it holds.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one run holds at most: to enter or leave a run moves half of it on average.
const RUN_BYTES_MAX: usize = 4_096;

/// A map in order of key.
#[derive(Clone, Debug)]
pub(super) struct PackedMap<K, V> {
    /// Neighbours, in order. None is empty unless it is the only one.
    runs: Vec<Vec<(K, V)>>,
    /// For each run but the first, a key that is above all entries before the run and not above its own: apart from the
    /// runs, because a search looks at many of them.
    floors: Vec<K>,
    len: usize,
}

impl<K, V> Default for PackedMap<K, V> {
    fn default() -> Self {
        PackedMap { runs: vec![Vec::new()], floors: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V> PackedMap<K, V> {
    const RUN_MAX: usize = {
        let fit = RUN_BYTES_MAX / size_of::<(K, V)>();
        if fit < 8 { 8 } else { fit }
    };
    /// A run grows and shrinks by so many entries.
    const STEP: usize = Self::RUN_MAX / 8;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let run = &self.runs[self.run_of(key)];
        place(run, key).ok().map(|place| &run[place].1)
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let run = self.run_of(key);
        let run = &mut self.runs[run];
        place(run, key).ok().map(|place| &mut run[place].1)
    }

    pub(super) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of a key, made if there is none yet.
    pub(super) fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        let run = self.run_of(key);
        let (run, place) = match place(&self.runs[run], key) {
            Ok(place) => (run, place),
            Err(place) => self.put(run, place, (key.clone(), V::default())),
        };
        &mut self.runs[run][place].1
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let run = self.run_of(&key);
        match place(&self.runs[run], &key) {
            Ok(place) => self.runs[run][place].1 = value,
            Err(place) => {
                self.put(run, place, (key, value));
            }
        }
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.run_of(key);
        let run = &mut self.runs[at];
        let place = place(run, key).ok()?;
        let (_, value) = run.remove(place);
        self.len -= 1;
        if run.len() + 2 * Self::STEP <= run.capacity() {
            run.shrink_to(run.len() + Self::STEP);
        }
        if run.len() < Self::RUN_MAX / 4 {
            self.melt(at);
        }
        Some(value)
    }

    pub(super) fn first(&self) -> Option<(&K, &V)> {
        self.runs[0].first().map(|(key, value)| (key, value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs.iter().flatten().map(|(key, value)| (key, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Everything from a key on, or behind it.
    pub(super) fn from<Q: Ord + ?Sized>(&self, from: Bound<&Q>) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (first, skipped) = match from {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => {
                let run = self.run_of(key);
                (run, self.runs[run].partition_point(|(at, _)| at.borrow() < key))
            }
            Bound::Excluded(key) => {
                let run = self.run_of(key);
                (run, self.runs[run].partition_point(|(at, _)| at.borrow() <= key))
            }
        };
        let rest = self.runs[first + 1..].iter().flatten();
        self.runs[first][skipped..].iter().chain(rest).map(|(key, value)| (key, value))
    }

    /// The one run that may have the key.
    fn run_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let found = search(self.floors.len(), |floor| self.floors[floor].borrow().cmp(key));
        found.map_or_else(|run| run, |floor| floor + 1)
    }

    /// Puts an entry in its place; returns where that is now.
    fn put(&mut self, run: usize, place: usize, entry: (K, V)) -> (usize, usize) {
        self.len += 1;
        let (run, place) = self.make_room(run, place, &entry.0);
        let entries = &mut self.runs[run];
        if entries.len() == entries.capacity() {
            entries.reserve_exact(Self::STEP.min(Self::RUN_MAX - entries.len()));
        }
        entries.insert(place, entry);
        (run, place)
    }

    /// Makes room in a full run; returns where the entry belongs then. Keys that come in ascending order, or nearly, leave
    /// full runs behind: what belongs at the end goes to the next run, and near the end a run is split where the entry
    /// belongs.
    fn make_room(&mut self, run: usize, place: usize, key: &K) -> (usize, usize) {
        if self.runs[run].len() < Self::RUN_MAX {
            return (run, place);
        }
        let next_has_room = self.runs.get(run + 1).is_some_and(|next| next.len() < Self::RUN_MAX);
        if place == Self::RUN_MAX && next_has_room {
            self.floors[run] = key.clone();
            return (run + 1, 0);
        }
        let near_end = place >= Self::RUN_MAX - Self::STEP;
        let at = if near_end { place } else { Self::RUN_MAX / 2 };
        let after = self.runs[run].split_off(at);
        self.runs[run].shrink_to_fit();
        let floor = if place == at { key.clone() } else { after[0].0.clone() };
        self.runs.insert(run + 1, after);
        self.floors.insert(run, floor);
        if place < at { (run, place) } else { (run + 1, place - at) }
    }

    /// Melts a small run with the next one if together they are small enough, or forgets it if it is empty.
    fn melt(&mut self, run: usize) {
        let next = self.runs.get(run + 1).map(Vec::len);
        match (self.runs[run].len(), next) {
            (0, None) if run > 0 => {
                self.runs.pop();
                self.floors.pop();
            }
            (len, Some(next)) if len == 0 || len + next <= Self::RUN_MAX / 2 => {
                // The next one's floor goes, this one's is low enough for both.
                self.floors.remove(run);
                let moved = self.runs.remove(run + 1);
                self.runs[run].reserve_exact(moved.len());
                self.runs[run].extend(moved);
            }
            _ => {}
        }
    }
}

fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(run: &[(K, V)], key: &Q) -> Result<usize, usize> {
    search(run.len(), |place| run[place].0.borrow().cmp(key))
}

/// Where the key is among so many in order, or would be. The standard search takes no branches and waits for one
/// comparison before it looks at the next; names lie elsewhere in memory, and guessing ahead is faster.
fn search(len: usize, compare: impl Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(middle),
            Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

impl<K: Ord + Clone + Serialize, V: Serialize> Serialize for PackedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Its length beforehand, which a chain of runs cannot tell: the format wants it.
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, K, V> Deserialize<'de> for PackedMap<K, V>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor(PhantomData))
    }
}

struct EntryVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for EntryVisitor<K, V>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Deserialize<'de>,
{
    type Value = PackedMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = PackedMap::default();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// So large that a run has few of them, and splits and melts often.
    type Large = [u64; 32];

    fn assert_packed<K: Ord + Clone, V>(map: &PackedMap<K, V>) {
        assert_eq!(map.floors.len() + 1, map.runs.len());
        for (run, floor) in map.floors.iter().enumerate() {
            assert!(map.runs[run].iter().all(|(key, _)| key < floor), "a run stays below the next");
            assert!(map.runs[run + 1].iter().all(|(key, _)| key >= floor), "and above its floor");
        }
        let alone = map.runs.len() == 1;
        assert!(map.runs.iter().all(|run| alone || !run.is_empty()), "no run is empty");
    }

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(steps in prop::collection::vec((0..60u16, 0..5u8), 0..600)) {
            let (mut map, mut tree) = (PackedMap::default(), BTreeMap::new());
            for (number, (key, kind)) in steps.into_iter().enumerate() {
                let value: Large = [number as u64; 32];
                match kind {
                    0 | 1 => {
                        map.insert(key, value);
                        tree.insert(key, value);
                    }
                    2 => prop_assert_eq!(map.get_or_default(&key), tree.entry(key).or_default()),
                    _ => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                }
                assert_packed(&map);
                prop_assert_eq!(map.len(), tree.len());
                prop_assert_eq!(map.get(&key), tree.get(&key));
                prop_assert_eq!(map.first(), tree.first_key_value());
                prop_assert!(map.iter().eq(&tree));
                for from in [Bound::Included(&key), Bound::Excluded(&key), Bound::Unbounded] {
                    prop_assert!(map.from(from).eq(tree.range((from, Bound::Unbounded))));
                }
            }
            let bytes = postcard::to_stdvec(&map).expect("plain data can be encoded");
            prop_assert_eq!(&bytes, &postcard::to_stdvec(&tree).expect("plain data can be encoded"));
            let again: PackedMap<u16, Large> = postcard::from_bytes(&bytes).expect("it was encoded");
            assert_packed(&again);
            prop_assert!(again.iter().eq(&tree));
        }
    }

    /// Bytes that the runs have room for, by the byte that they hold.
    fn room(map: &PackedMap<u64, ()>) -> f64 {
        let room: usize = map.runs.iter().map(Vec::capacity).sum();
        room as f64 / map.len() as f64
    }

    #[test]
    fn keys_in_ascending_order_or_nearly_leave_full_runs() {
        let (mut ascending, mut nearly) = (PackedMap::default(), PackedMap::default());
        for key in 0..100_000u64 {
            ascending.insert(key, ());
            nearly.insert(key ^ 15, ());
        }
        assert!(
            room(&ascending) < 1.01 && room(&nearly) < 1.15,
            "{} {}",
            room(&ascending),
            room(&nearly)
        );
    }

    #[test]
    fn keys_in_any_order_and_what_is_left_of_many_waste_little() {
        let mut map = PackedMap::default();
        for key in 0..100_000u64 {
            map.insert(key.wrapping_mul(0x9E37_79B9_7F4A_7C15), ());
        }
        assert!(room(&map) < 1.15, "{}", room(&map));
        for key in (0..100_000u64).filter(|key| key % 50 > 0) {
            map.remove(&key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        assert_eq!(map.len(), 2_000);
        assert!(room(&map) < 1.7, "{}", room(&map));
    }
}
