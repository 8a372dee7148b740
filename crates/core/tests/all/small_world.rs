//! A small world looked through exhaustively: a few clients, one or two locks, and a network that delays, repeats and
//! loses what they say, a clock that jumps to whatever is due, and restarts. Breadth first over the real machine, so
//! that what is found is a shortest way to it.
//!
//! Checked in every state: weights fit (G1), tokens rise (G2), a client that believes by its own clock that it holds is
//! a holder (G3), nothing is lost by a restart (G4, a restart is a move), nobody waits for a free lock
//! (G5), an id acts once, and never after a cancel was answered (G6); and where nothing can happen any more, everything
//! is free after a while.
//!
//! `TENURE_SMALL_WORLD_DEPTH` looks deeper than a test run should take.

mod client;
mod world;

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use client::{Client, Kind};
use world::{Move, World};

#[test]
fn two_clients_that_retry_and_give_up_never_hold_together() {
    look_through(
        "two clients, one lock",
        World::new(&[(Kind::Named, "a"), (Kind::Named, "a")], 1),
        5,
    );
}

#[test]
fn a_session_and_a_client_without_an_id_never_hold_together() {
    look_through(
        "a session, no id",
        World::new(&[(Kind::InSession, "a"), (Kind::Unnamed, "a")], 1),
        6,
    );
}

#[test]
fn a_request_for_two_locks_never_holds_beside_those_for_one() {
    let clients = [(Kind::Named, "a b"), (Kind::Unnamed, "a"), (Kind::Unnamed, "b")];
    look_through("two locks at once", World::new(&clients, 0), 5);
}

#[test]
fn three_clients_of_one_lock_are_served_in_turn() {
    let clients = [(Kind::Unnamed, "a"), (Kind::Named, "a"), (Kind::Unnamed, "a")];
    look_through("three clients", World::new(&clients, 0), 5);
}

/// Every state within so many moves, each once.
fn look_through(what: &str, start: World, depth: u32) {
    let asked = std::env::var("TENURE_SMALL_WORLD_DEPTH").ok();
    let depth = asked.and_then(|depth| depth.parse().ok()).unwrap_or(depth);
    let mut seen: HashSet<u128> = HashSet::from([fingerprint(&start)]);
    // Where each state came from, to tell the way.
    let mut came: Vec<(usize, Option<Move>)> = vec![(0, None)];
    let mut frontier = VecDeque::from([(0, 0, start)]);
    let (mut deepest, mut ends) = (0, 0);
    while let Some((index, moves, world)) = frontier.pop_front() {
        deepest = deepest.max(moves);
        let possible = world.moves();
        if possible.is_empty() || moves == depth {
            ends += 1;
            check(&world.free_in_the_end(), &came, index, None);
            continue;
        }
        for next in possible {
            let (after, found) = world.after(next);
            check(&found, &came, index, Some(next));
            if seen.insert(fingerprint(&after)) {
                came.push((index, Some(next)));
                frontier.push_back((came.len() - 1, moves + 1, after));
            }
        }
    }
    println!("{what}: {} states, {deepest} moves deep, {ends} ends", came.len());
}

fn check(
    found: &Result<(), String>,
    came: &[(usize, Option<Move>)],
    index: usize,
    last: Option<Move>,
) {
    let Err(found) = found else { return };
    let mut way: Vec<String> = last.iter().map(|last| format!("{last:?}")).collect();
    let mut at = index;
    while let (before, Some(step)) = came[at] {
        way.push(format!("{step:?}"));
        at = before;
    }
    way.reverse();
    panic!("{found}\n  {}", way.join("\n  "));
}

/// 128 bits, so that no two states are taken for the same.
fn fingerprint(world: &World) -> u128 {
    let mut halves = (DefaultHasher::new(), DefaultHasher::new());
    1.hash(&mut halves.1);
    world.hash(&mut Both(&mut halves.0, &mut halves.1));
    u128::from(halves.0.finish()) << 64 | u128::from(halves.1.finish())
}

/// Two hashers that are told the same.
struct Both<'a>(&'a mut DefaultHasher, &'a mut DefaultHasher);

impl Hasher for Both<'_> {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}
