//! A whole node on a disk that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_core::{
    Acquire, Answer, Command, Lease, LeaseRecord, LockName, Release, RequestId, RequestName, Target,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Node;
use crate::disk::fault::FaultDisk;
use crate::error::{Reason, SubmitError};
use crate::options::Options;
use crate::outcome::Reply;

const SEGMENT: u64 = 64 * 1024;
const TTL: Duration = Duration::from_secs(30);
/// Longer than any node may take to answer or to recover.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

async fn start(disk: &FaultDisk) -> Node {
    start_with(disk, Options::memory()).await
}

pub(super) async fn start_with(disk: &FaultDisk, options: Options) -> Node {
    Node::start_on(Arc::new(disk.clone()), SEGMENT, options).await.unwrap()
}

fn lease(name: &str) -> Lease {
    let mut dice = [0; 32];
    dice[..name.len()].copy_from_slice(name.as_bytes());
    Lease::from_random(dice)
}

pub(super) fn acquire(name: &str) -> Command {
    let lease = LeaseRecord::Plain(lease(name));
    Command::Acquire(Box::new(Acquire { lease, ..Acquire::exclusive(name, TTL) }))
}

pub(super) fn release(name: &str) -> Command {
    let Command::Acquire(acquired) = acquire(name) else { unreachable!() };
    Command::Release(Box::new(Release {
        caller: acquired.caller,
        name: None,
        target: Target::Lease(lease(name).hash()),
        names: Vec::new(),
        request: None,
    }))
}

// What `Log::submit` does.
pub(super) async fn submit(node: &Node, command: Command) -> Result<Reply, SubmitError> {
    if let Some(reason) = node.alarm.health.troubles().refuses(&command) {
        return Err(SubmitError::Unavailable(reason));
    }
    let answer = node.alarm.desk.ask(command)?;
    timeout(PATIENCE, answer).await.expect("an answer in bounded time").unwrap()
}

fn waiting(name: &str, lease_of: &str) -> Command {
    let Command::Acquire(other) = acquire(name) else { unreachable!() };
    let request = RequestName::Client(RequestId::new(format!("request-{lease_of}")).unwrap());
    let lease = LeaseRecord::Plain(lease(lease_of));
    Command::Acquire(Box::new(Acquire { wait: TTL, request, lease, ..*other }))
}

type Asked = oneshot::Receiver<Result<Reply, SubmitError>>;

fn ask(node: &Node, command: Command) -> Asked {
    node.alarm.desk.ask(command).unwrap()
}

// Leaves a command, and returns when it is being written.
async fn under_way(node: &Node, command: Command) -> Asked {
    let asked = ask(node, command);
    let departs = async {
        while node.alarm.desk.under_way_for(Instant::now()).is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, departs).await.expect("in bounded time");
    asked
}

pub(super) async fn granted(node: &Node, name: &str) {
    let reply = submit(node, acquire(name)).await.unwrap();
    assert!(matches!(reply.answer, Answer::Granted(_)), "{reply:?}");
}

async fn until_ready(node: &Node, ready: bool) {
    let mut watch = node.alarm.health.watch();
    let becomes = watch.wait_for(|status| status.ready == ready);
    timeout(PATIENCE, becomes).await.expect("in bounded time").unwrap();
}

pub(super) fn is_held(node: &Node, name: &str) -> bool {
    let name = LockName::new(name).unwrap();
    !node.shared.state.read().machine.lock(&name).holders.is_empty()
}

#[tokio::test]
async fn a_failed_sync_answers_unknown_and_the_node_recovers() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "before").await;
    disk.set(|faults| faults.sync_failures = 1);
    assert_eq!(submit(&node, acquire("during")).await.unwrap_err(), SubmitError::Unknown);
    until_ready(&node, true).await;
    granted(&node, "after").await;
    assert!(node.alarm.meters.errors().contains(&("sync", 1)));
    // Not a clean end: only what was synced is left.
    let after_crash = disk.after_crash(|| false);
    drop(node);
    let node = start(&after_crash).await;
    assert!(is_held(&node, "before") && is_held(&node, "after"));
    assert!(is_held(&node, "during"), "what was unknown happened: it was written again");
    node.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_for_longer_refuses_at_once_what_comes_meanwhile() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    disk.set(|faults| faults.sync_failures = u32::MAX);
    assert_eq!(submit(&node, acquire("a")).await.unwrap_err(), SubmitError::Unknown);
    until_ready(&node, false).await;
    let refused = submit(&node, acquire("b")).await.unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::NoQuorum));
    disk.set(|faults| faults.sync_failures = 0);
    until_ready(&node, true).await;
    granted(&node, "b").await;
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_met_ahead_and_leaves_room_to_release() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "held").await;
    disk.set(|faults| faults.full = true);
    // The segment that was prepared is used up, and the next one cannot be made.
    let mut names = (0..).map(|number| format!("lock-{number}"));
    while node.alarm.health.status().ready {
        let answer = submit(&node, acquire(&names.next().unwrap())).await;
        assert!(
            matches!(answer, Ok(_) | Err(SubmitError::Unavailable(Reason::StorageFull))),
            "{answer:?}"
        );
    }
    assert_eq!(node.alarm.health.status().reason, Some(Reason::StorageFull));
    let refused = submit(&node, acquire("new")).await.unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::StorageFull));
    let released = submit(&node, release("held")).await.unwrap();
    assert!(matches!(released.answer, Answer::Released(_)), "{released:?}");
    disk.set(|faults| faults.full = false);
    until_ready(&node, true).await;
    granted(&node, "new").await;
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_that_is_used_up_to_the_last_byte_recovers() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "held").await;
    // With or without a segment prepared by now: it is used up.
    disk.set(|faults| faults.full = true);
    // Releases of nothing take room as well.
    while submit(&node, release("nothing")).await.is_ok() {}
    let refused = submit(&node, release("held")).await.unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::StorageFull));
    disk.set(|faults| faults.full = false);
    until_ready(&node, true).await;
    submit(&node, release("held")).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_unknown_after_a_while_and_stops_in_time() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    disk.set(|faults| faults.stuck = true);
    assert_eq!(submit(&node, acquire("a")).await.unwrap_err(), SubmitError::Unknown);
    let refused = submit(&node, acquire("b")).await.unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::NoQuorum));
    disk.set(|faults| faults.stuck = false);
    until_ready(&node, true).await;
    granted(&node, "b").await;
    disk.set(|faults| faults.stuck = true);
    let (mut written, mut queued) =
        (under_way(&node, acquire("c")).await, ask(&node, acquire("d")));
    timeout(PATIENCE, node.stop()).await.expect("a stop in bounded time");
    assert_eq!(written.try_recv().unwrap().unwrap_err(), SubmitError::Unknown);
    let refused = queued.try_recv().unwrap().unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::Stopping));
    disk.set(|faults| faults.stuck = false);
}

#[tokio::test]
async fn what_was_asked_before_the_disk_was_full_is_refused_unless_it_makes_room() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "held").await;
    disk.set(|faults| faults.stuck = true);
    let written = under_way(&node, acquire("a")).await;
    let (grows, shrinks) = (ask(&node, acquire("b")), ask(&node, release("held")));
    node.alarm.health.change(|troubles| troubles.full = true);
    disk.set(|faults| faults.stuck = false);
    assert!(written.await.unwrap().is_ok());
    let refused = grows.await.unwrap().unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::StorageFull));
    assert!(matches!(shrinks.await.unwrap().unwrap().answer, Answer::Released(_)));
    node.stop().await;
}

#[tokio::test]
async fn a_connection_that_goes_while_the_next_one_is_written_does_not_cost_it_the_place() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "a").await;
    let older = submit(&node, waiting("a", "b")).await.unwrap();
    disk.set(|faults| faults.stuck = true);
    let newer = under_way(&node, waiting("a", "b")).await;
    drop(older);
    disk.set(|faults| faults.stuck = false);
    let newer = newer.await.unwrap().unwrap();
    submit(&node, Command::Tick).await.unwrap();
    let name = LockName::new("a").unwrap();
    assert_eq!(node.shared.state.read().machine.lock(&name).queue_length, 1);
    drop(newer);
    node.stop().await;
}

#[tokio::test]
async fn a_waiter_whose_answer_was_unknown_leaves_its_place() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "a").await;
    let Command::Acquire(other) = acquire("a") else { unreachable!() };
    let waiting = Acquire { wait: TTL, lease: LeaseRecord::Plain(lease("b")), ..*other };
    disk.set(|faults| faults.sync_failures = 1);
    let unknown = submit(&node, Command::Acquire(Box::new(waiting))).await.unwrap_err();
    assert_eq!(unknown, SubmitError::Unknown);
    until_ready(&node, true).await;
    // Each answer comes after what the dropped outcome told the machine.
    submit(&node, Command::Tick).await.unwrap();
    submit(&node, Command::Tick).await.unwrap();
    let name = LockName::new("a").unwrap();
    assert_eq!(node.shared.state.read().machine.lock(&name).queue_length, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_a_long_read_held_up_recovers() {
    let node = Node::start(Options::memory()).await.unwrap();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (enough, until) = std::sync::mpsc::channel::<()>();
    let shared = node.shared.clone();
    let reader = std::thread::spawn(move || {
        let _reading = shared.state.read();
        locked.send(()).unwrap();
        // Ends when the other side is dropped.
        until.recv().unwrap_err();
    });
    is_locked.recv().unwrap();
    assert_eq!(submit(&node, acquire("a")).await.unwrap_err(), SubmitError::Unknown);
    assert!(!node.alarm.health.status().ready);
    assert_eq!(node.alarm.meters.commit_lag(), 1, "it is written and not in effect");
    drop(enough);
    reader.join().unwrap();
    until_ready(&node, true).await;
    granted(&node, "b").await;
    assert_eq!((node.alarm.meters.commit_lag(), node.alarm.meters.elections()), (0, 1));
    let stall = node.alarm.meters.clock_stall();
    assert!(stall >= Duration::from_secs(3), "all but one second was dropped: {stall:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_makes_room_by_snapshots() {
    let disk = FaultDisk::default();
    let node = start(&disk).await;
    granted(&node, "held").await;
    disk.set(|faults| faults.nearly_full = true);
    let mut number = 0;
    while node.alarm.health.status().ready {
        number += 1;
        let name = format!("lock-{number}");
        if submit(&node, acquire(&name)).await.is_ok() {
            // Refused at the last moment or not: the release tells.
            drop(submit(&node, release(&name)).await);
        }
    }
    // Nobody frees anything: the log of what was released is worth nothing any more.
    until_ready(&node, true).await;
    granted(&node, "new").await;
    assert!(is_held(&node, "held"));
    node.stop().await;
    drop(node);
    disk.set(|faults| faults.nearly_full = false);
    let node = start(&disk).await;
    assert!(is_held(&node, "held") && is_held(&node, "new"));
    node.stop().await;
}
