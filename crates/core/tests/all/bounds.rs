//! What grows has a bound, and who meets it is told which.

use std::time::Duration;

use tenure_core::*;

use crate::commands::name;

/// Commands applied together, as a busy server does.
const BATCH: usize = 10_000;

fn apply(machine: &mut Machine, seconds: u64, commands: Vec<Command>) -> Vec<Answer> {
    let now = Time::ZERO + Duration::from_secs(seconds);
    machine.apply(&Batch::at(now, commands)).answers
}

fn acquire(lock: &str, number: u64, id: Option<&str>) -> Acquire {
    let mut dice = [0; 32];
    for (place, byte) in dice.iter_mut().take(8).enumerate() {
        *byte = u8::try_from(number / 62u64.pow(u32::try_from(place).expect("is small")) % 62)
            .expect("below 62");
    }
    let mut acquire = Acquire::exclusive(lock, Duration::from_secs(100));
    acquire.lease = LeaseRecord::Plain(Lease::from_random(dice));
    if let Some(id) = id {
        acquire.request = RequestName::Client(RequestId::new(id).expect("is an id"));
    }
    acquire
}

fn ask(machine: &mut Machine, seconds: u64, acquire: Acquire) -> Answer {
    apply(machine, seconds, vec![Command::Acquire(Box::new(acquire))]).remove(0)
}

fn cancel(id: &str) -> Command {
    Command::Cancel(Box::new(Cancel {
        caller: Caller::new(KeyName::new("local").expect("is a key name")),
        names: vec![name("deploy")],
        session: None,
        request: RequestId::new(id).expect("is an id"),
    }))
}

fn open(machine: &mut Machine) -> Life {
    let open = OpenSession {
        caller: Caller::new(KeyName::new("local").expect("is a key name")),
        ttl: Duration::from_secs(3_600),
        note: None,
        request: RequestName::Unnamed,
        secret: SessionSecret::from_random([1; 32]),
    };
    match apply(machine, 0, vec![Command::OpenSession(Box::new(open))]).remove(0) {
        Answer::Opened(opened) => Life::Session(opened.session),
        answer => panic!("a session is opened: {answer:?}"),
    }
}

fn refused(answer: &Answer) -> &Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        answer => panic!("is refused: {answer:?}"),
    }
}

#[test]
fn a_full_memory_of_ids_refuses_new_ones_and_forgets_none_early() {
    let mut machine = Machine::new();
    let session = open(&mut machine);
    let ids: Vec<String> =
        (0..limits::REQUESTS_KEPT_PER_KEY_MAX).map(|number| format!("request-{number}")).collect();
    for some in ids.chunks(BATCH) {
        apply(&mut machine, 0, some.iter().map(|id| cancel(id)).collect());
    }
    let own = Refusal::Limit(DeniedBy { limit: "request_ids", max: 500_000 });
    assert_eq!(*refused(&ask(&mut machine, 1, acquire("deploy", 1, Some("another-1")))), own);
    let mut other = acquire("beside", 9, Some("another-1"));
    other.caller.key = KeyName::new("other").unwrap();
    assert!(matches!(ask(&mut machine, 1, other), Answer::Granted(_)), "other keys have room");
    let by = |id: &String| match cancel(id) {
        Command::Cancel(mut cancel) => {
            cancel.caller.key = KeyName::new("other").unwrap();
            Command::Cancel(cancel)
        }
        command => command,
    };
    for some in ids.chunks(BATCH) {
        apply(&mut machine, 1, some.iter().map(by).collect());
    }
    let full = Refusal::Limit(DeniedBy { limit: "request_ids", max: 1_000_000 });
    assert_eq!(*refused(&ask(&mut machine, 1, acquire("deploy", 1, Some("another-1")))), full);
    assert_eq!(*refused(&apply(&mut machine, 1, vec![cancel("another-1")])[0]), full);
    let first = ask(&mut machine, 1, acquire("deploy", 1, Some("request-0")));
    assert!(matches!(refused(&first), Refusal::RequestFinished { .. }), "the oldest is known");
    let mut numbered = acquire("stage", 2, Some("seq-0001"));
    numbered.life = session;
    assert!(matches!(ask(&mut machine, 1, numbered), Answer::Granted(_)), "a number needs no room");
    assert!(matches!(ask(&mut machine, 1, acquire("other", 3, None)), Answer::Granted(_)));
    let later = ask(&mut machine, 3_600, acquire("deploy", 1, Some("another-1")));
    assert!(matches!(later, Answer::Granted(_)), "after an hour there is room again");
}

#[test]
fn a_queue_takes_so_many_and_a_release_serves_the_first() {
    let mut machine = Machine::new();
    ask(&mut machine, 0, acquire("deploy", 0, None));
    let waiter = |number: u64| {
        let mut waiter = acquire("deploy", number, None);
        waiter.wait = Duration::from_secs(100);
        waiter
    };
    let numbers: Vec<u64> = (1..=limits::QUEUE_MAX as u64).collect();
    for some in numbers.chunks(BATCH) {
        let commands = some.iter().map(|number| Command::Acquire(Box::new(waiter(*number))));
        let answers = apply(&mut machine, 0, commands.collect());
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Queued(_))));
    }
    let one_more = ask(&mut machine, 0, waiter(999_999));
    let full = Refusal::Limit(DeniedBy { limit: "queue", max: 100_000 });
    assert_eq!(*refused(&one_more), full);
    let release = Release {
        caller: Caller::new(KeyName::new("local").expect("is a key name")),
        name: None,
        target: Target::Lease(acquire("deploy", 0, None).lease.hash()),
        names: vec![],
        request: None,
    };
    let batch = Batch::at(Time::ZERO, vec![Command::Release(Box::new(release))]);
    let applied = machine.apply(&batch);
    assert_eq!(applied.settled.len(), 1, "one is served");
    assert_eq!(applied.settled[0].0, TicketId(2), "the first of them");
}

#[test]
fn idle_locks_beyond_the_bound_are_forgotten_oldest_first() {
    let mut machine = Machine::new();
    let over = 500;
    for number in 0..limits::IDLE_LOCKS_MAX as u64 + over {
        let acquire = acquire(&format!("lock/{number:06}"), number, None);
        let release = Release {
            caller: acquire.caller.clone(),
            name: None,
            target: Target::Lease(acquire.lease.hash()),
            names: vec![],
            request: None,
        };
        let commands =
            vec![Command::Acquire(Box::new(acquire)), Command::Release(Box::new(release))];
        apply(&mut machine, 0, commands);
    }
    apply(&mut machine, 0, vec![]);
    assert_eq!(machine.stats().idle, limits::IDLE_LOCKS_MAX);
    assert_eq!(machine.lock(&name("lock/000499")).latest_token, None, "the oldest are gone");
    assert!(machine.lock(&name("lock/000500")).latest_token.is_some(), "the others are not");
}

#[test]
fn numbers_left_out_long_ago_count_as_used() {
    let mut machine = Machine::new();
    let session = open(&mut machine);
    let numbered = |number: u64| {
        let id = format!("seq-{number:08}");
        let mut acquire = acquire(&format!("lock/{number}"), number, Some(&id));
        acquire.life = session;
        Command::Acquire(Box::new(acquire))
    };
    let every_other = (1..=limits::SEQUENCE_GAPS_MAX as u64 + 1).map(|number| numbered(number * 2));
    apply(&mut machine, 0, every_other.collect());
    let answers = apply(&mut machine, 0, vec![numbered(3), numbered(5)]);
    let over = Refusal::RequestFinished { ended: Ended::Over, token: None, force: None };
    assert_eq!(*refused(&answers[0]), over, "the lowest gap was given up");
    assert!(matches!(answers[1], Answer::Granted(_)), "the next was not");
}
