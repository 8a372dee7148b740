//! Killed at any moment, a log loses nothing that it had acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use tenure_core::{Acquire, Answer, Life};
use tenure_log::{Log, Options};

use crate::commands::{acquire, ask, granted, lease, release};

/// Longer than the test, so that nothing expires.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// How often the process is killed; more by `TENURE_KILLS`.
const KILLS: u32 = 100;
/// How many tasks ask at the same time.
const TASKS: u32 = 4;
/// Names the directory to the process that is going to be killed, and tells its requests from those before.
const DIRECTORY: &str = "TENURE_KILL_DIRECTORY";
const ROUND: &str = "TENURE_KILL_ROUND";

fn options(dir: &Path) -> Options {
    // Small, so that some of them die while a snapshot is written or the log is purged.
    Options { snapshot_log_bytes: 32 * 1024, ..Options::disk(dir) }
}

/// The process that is killed: run by the test below, it says what was acknowledged until it dies. Run by anybody
/// else, it has nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let round: u32 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.unwrap().block_on(async {
        let log = Log::open(options(Path::new(&dir))).await.unwrap();
        say("ready", 0);
        let tasks: Vec<_> =
            (0..TASKS).map(|task| tokio::spawn(take_and_give(log.clone(), round, task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn take_and_give(log: Log, round: u32, task: u32) {
    for step in 0..100_000 {
        let dice = (round * TASKS + task) * 100_000 + step;
        let long = Acquire { life: Life::Own(TTL), ..acquire(&format!("lock-{dice}"), dice) };
        granted(ask(&log, long).await);
        say("granted", dice);
        // Every other one stays.
        if step % 2 == 0 {
            let reply = log.submit(release(dice)).await.unwrap();
            assert!(matches!(reply.answer, Answer::Released(_)), "{reply:?}");
            say("released", dice);
        }
    }
}

fn say(what: &str, dice: u32) {
    let mut out = std::io::stdout().lock();
    // One write, so that a line is there or not.
    out.write_all(format!("{what} {dice}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn spawn(dir: &Path, round: u32) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed", "--nocapture", "--quiet"])
        .env(DIRECTORY, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Granted,
    Released,
}

// Reads what the process says, kills it after so many lines, and reads the rest.
fn live_and_die(dir: &Path, round: u32, lines: u64, told: &mut HashMap<u32, Told>) {
    let mut child = spawn(dir, round);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = 0;
    while heard < lines {
        let Some(Ok(line)) = said.next() else { break };
        heard += u64::from(note(&line, told));
    }
    // Not at the end of a line, but anywhere in what the process does next.
    std::thread::sleep(Duration::from_micros((lines * 37) % 1_500));
    child.kill().unwrap();
    child.wait().unwrap();
    for line in said.map_while(Result::ok) {
        note(&line, told);
    }
}

fn note(line: &str, told: &mut HashMap<u32, Told>) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let dice = words.get(1).and_then(|digits| digits.parse().ok());
    match (words[0], dice) {
        ("ready", _) => {}
        ("granted", Some(dice)) => drop(told.insert(dice, Told::Granted)),
        ("released", Some(dice)) => drop(told.insert(dice, Told::Released)),
        _ => return false,
    }
    true
}

#[tokio::test]
async fn a_log_that_is_killed_at_any_moment_keeps_what_it_acknowledged() {
    let kills = std::env::var("TENURE_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut told = HashMap::new();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..kills {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        live_and_die(dir.path(), round, (dice >> 33) % 120, &mut told);
        if round % 10 == 9 {
            verify(dir.path(), round, &told).await;
        }
    }
    assert!(told.len() > kills as usize, "only {} requests were answered", told.len());
}

async fn verify(dir: &Path, round: u32, told: &HashMap<u32, Told>) {
    let log =
        Log::open(options(dir)).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    let grants = log.read(|machine| machine.grants()).await.unwrap();
    let held: HashMap<_, _> =
        grants.iter().map(|grant| (grant.name.as_str().to_owned(), grant.lease)).collect();
    for (dice, last) in told {
        let found = held.get(&format!("lock-{dice}"));
        match last {
            // A release of the same may have been on its way when the process died: only even ones are released.
            Told::Granted if dice % 2 == 1 => {
                assert_eq!(found, Some(&Some(lease(*dice))), "round {round}: grant {dice} is lost");
            }
            Told::Granted => {}
            Told::Released => assert_eq!(found, None, "round {round}: {dice} is held again"),
        }
    }
    log.stop().await;
}
