//! What the bare machine costs: acquire and release cycles a second, and bytes for each lock that is held.
//!
//! `MIMALLOC_PURGE_DELAY=0 cargo run --release -p tenure-core --example apply_cost`: without a delay, memory that was
//! given back is not counted.

use std::time::Duration;

use tenure_core::*;

/// The server's, which decides what a record takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Locks held for the larger measurements.
const HELD: u64 = 100_000;
/// Cycles timed.
const CYCLES: u64 = 300_000;

fn main() {
    // Memory first, and everything kept: what was given back would be used again and not be counted.
    let (mut machine, bytes) = holding_many(false);
    println!("without a session: {bytes} bytes for each of {HELD} held locks");
    let (in_session, bytes) = holding_many(true);
    println!("in a session:      {bytes} bytes for each of {HELD} held locks");
    println!("in a snapshot:     {} bytes for each", machine.snapshot().len() as u64 / HELD);
    println!("held locks  cycles per CPU second  µs per command");
    for (held, machine) in [(1, &mut Machine::new()), (HELD, &mut machine)] {
        hold(machine, 1, None);
        let micros = cycles(machine).as_secs_f64() * 1e6 / CYCLES as f64;
        println!("{held:>10}  {:>21.0}  {:>14.2}", 1e6 / micros, micros / 2.0);
    }
    assert_eq!(in_session.stats().grants as u64, HELD, "all are held");
}

/// Another lock taken and given back, again and again.
fn cycles(machine: &mut Machine) -> Duration {
    let start = cpu_time();
    for cycle in 0..CYCLES {
        let acquire = acquire(&format!("cycle/{}", cycle % 1_000), HELD + cycle, None);
        let hash = acquire.lease.hash();
        apply(machine, Command::Acquire(Box::new(acquire)));
        let release = Release {
            caller: caller(),
            name: None,
            target: Target::Lease(hash),
            names: vec![],
            request: None,
        };
        apply(machine, Command::Release(Box::new(release)));
    }
    cpu_time() - start
}

fn hold(machine: &mut Machine, locks: u64, session: Option<SessionHandle>) {
    for number in 0..locks {
        // Scattered as names are, so that the tree of locks fills as it would.
        let name = format!("held/{:08x}", (number as u32).wrapping_mul(0x9E37_79B1));
        let acquire = acquire(&name, number, session);
        apply(machine, Command::Acquire(Box::new(acquire)));
    }
}

/// A machine with many held locks, and how much the process grew by each.
fn holding_many(in_session: bool) -> (Machine, u64) {
    let mut machine = Machine::new();
    let session = in_session.then(|| open_session(&mut machine));
    let before = resident_bytes();
    hold(&mut machine, HELD, session);
    let grown = resident_bytes() - before;
    (machine, grown / HELD)
}

fn open_session(machine: &mut Machine) -> SessionHandle {
    let open = OpenSession {
        caller: caller(),
        ttl: Duration::from_secs(3_600),
        note: None,
        request: RequestName::Unnamed,
        secret: SessionSecret::from_random([1; 32]),
    };
    let Answer::Opened(opened) = apply(machine, Command::OpenSession(Box::new(open))) else {
        panic!("a session is opened")
    };
    opened.session
}

fn acquire(name: &str, number: u64, session: Option<SessionHandle>) -> Acquire {
    let mut dice = [0; 32];
    // One letter of each byte, modulo 62: base 62 keeps leases apart.
    let mut rest = number;
    for byte in &mut dice[..8] {
        *byte = u8::try_from(rest % 62).expect("below 62");
        rest /= 62;
    }
    let mut acquire = Acquire::exclusive(name, Duration::from_secs(3_600));
    acquire.lease = LeaseRecord::Plain(Lease::from_random(dice));
    // An owner of its own for each, as the library sends it.
    if let Some(session) = session {
        acquire.life = Life::Session(session);
        acquire.owner = Owner::new(format!("t-{number}")).ok();
    }
    acquire
}

fn caller() -> Caller {
    Caller::new(KeyName::new("local").expect("is a key name"))
}

fn apply(machine: &mut Machine, command: Command) -> Answer {
    machine.apply(&Batch::at(Time::ZERO, vec![command])).answers.remove(0)
}

/// What the kernel says this process has in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1024
}

/// Time this thread was on a processor: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the first number is nanoseconds"))
}
