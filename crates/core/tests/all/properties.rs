//! Random sequences of commands: the machine, the machine after a restart and the naive model say the same, and the
//! guarantees hold after every batch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tenure_core::*;

use crate::commands::{Dice, KEYS, Known, NAMES, name};
use crate::naive::{Naive, said, said_settled};

/// The three, step by step.
#[derive(Default)]
struct Run {
    machine: Machine,
    /// Went through a snapshot at some step before.
    twin: Machine,
    naive: Naive,
    known: Known,
    now: Time,
    /// What was done, to be read when it fails.
    told: Vec<String>,
    tokens: BTreeMap<LockName, Token>,
    last_token: Token,
    revision: Revision,
    /// Tickets that wait for their outcome.
    waiting: Vec<TicketId>,
    answers: BTreeSet<String>,
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn the_machine_says_what_the_naive_model_says(steps in steps()) {
        Run::default().all(&steps.0)?;
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn no_command_makes_the_machine_panic(steps in steps()) {
        nonsense(&steps.0)?;
    }
}

/// What the comparison is worth: random commands get every kind of answer there is.
#[test]
fn random_commands_reach_every_answer() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..500 {
        let steps = steps().new_tree(&mut runner).expect("numbers can be drawn").current();
        let mut run = Run::default();
        run.all(&steps.0).expect("the model agrees");
        reached.extend(run.answers);
    }
    let expected = [
        "granted",
        "queued",
        "renewed",
        "released true",
        "released false",
        "cancelled true",
        "depth 2",
        "opened",
        "kept alive",
        "lost [\"",
        "session ended 1",
        "recalled 1",
        "broken 1",
        "next true",
        "granted 1",
        "refused: held",
        "refused: timed out",
        "refused: deadlock",
        "refused: already held",
        "refused: capacity mismatch",
        "refused: out of reach",
        "request finished TimedOut",
        "request finished Cancelled",
        "request finished Expired",
        "request finished Over",
        "request finished HandedOver",
        "request finished Broken",
        "request id reused",
        "lost Expired",
        "lost HandedOver",
        "lost SessionEnded",
        "lost Broken",
        "session ended Closed",
        "session ended Expired",
        "limit held",
        "limit waiting",
        "not found session",
        "invalid mode",
        "invalid permits",
    ];
    let missing: Vec<_> =
        expected.iter().filter(|part| !reached.iter().any(|said| said.contains(**part))).collect();
    assert!(missing.is_empty(), "no answer says {missing:?}");
}

/// `PROPTEST_CASES` runs more; what fails becomes a script.
fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn steps() -> impl Strategy<Value = Steps> {
    proptest::collection::vec(any::<(u8, Dice)>(), 1..80).prop_map(Steps)
}

/// When and what. A failure shows the commands, not the numbers they were made of.
struct Steps(Vec<(u8, Dice)>);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands, as above", self.0.len())
    }
}

impl Run {
    fn all(&mut self, steps: &[(u8, Dice)]) -> Result<(), TestCaseError> {
        let mut commands = Vec::new();
        for (when, dice) in steps {
            commands.push(self.known.command(dice));
            // One in four commands takes effect together with the next.
            if when % 4 != 0 {
                self.now = self.later(when / 4);
                self.step(Batch::at(self.now, std::mem::take(&mut commands)))?;
            }
        }
        self.step(Batch::at(self.now, commands))
    }

    /// Mostly no time passes, or as much as until something is due.
    fn later(&self, choice: u8) -> Time {
        let due = self.machine.next_deadline().unwrap_or(self.now).max(self.now);
        match choice % 16 {
            0..=7 => self.now,
            8 => self.now + Duration::from_millis(500),
            9 => self.now + Duration::from_secs(2),
            10 => Time::from_micros(due.as_micros().saturating_sub(1)).max(self.now),
            11..=13 => due,
            14 => due + Duration::from_secs(7),
            _ => self.now + Duration::from_secs(if choice > 60 { 3_600 } else { 30 }),
        }
    }

    fn step(&mut self, batch: Batch) -> Result<(), TestCaseError> {
        self.told.push(format!("at {} {:?}", batch.now.as_micros(), batch.commands));
        let applied = self.machine.apply(&batch);
        let twin = self.twin.apply(&batch);
        let (answers, settled) = self.naive.apply(&batch);
        for answer in &applied.answers {
            self.known.learn(answer);
        }
        let said_answers: Vec<String> = applied.answers.iter().map(said).collect();
        let said_outcomes: Vec<(TicketId, String)> =
            applied.settled.iter().map(|(id, settled)| (*id, said_settled(settled))).collect();
        prop_assert_eq!(&said_answers, &answers, "machine, model after {}", self.read());
        prop_assert_eq!(&said_outcomes, &settled, "machine, model after {}", self.read());
        prop_assert_eq!(&applied.answers, &twin.answers, "restart after {}", self.read());
        prop_assert_eq!(&applied.settled, &twin.settled, "restart after {}", self.read());
        prop_assert_eq!(&applied.changes, &twin.changes, "restart after {}", self.read());
        self.compare_pictures()?;
        self.answers.extend(answers.into_iter().chain(settled.into_iter().map(|(_, said)| said)));
        self.check_outcomes(&applied)?;
        self.check_feed(&applied)?;
        self.restart_twin()
    }

    fn read(&self) -> String {
        self.told.join("\n")
    }

    fn compare_pictures(&self) -> Result<(), TestCaseError> {
        for lock in NAMES.map(|lock| self.machine.lock(&name(lock))) {
            prop_assert_eq!(picture(&lock), self.naive.picture(&lock.name), "{}", self.read());
            prop_assert!(fits(&lock), "{:?} after {}", lock, self.read());
        }
        prop_assert!(self.naive.nobody_waits_in_vain(), "somebody waits after {}", self.read());
        prop_assert_eq!(
            self.machine.next_deadline(),
            self.naive.next_deadline(),
            "{}",
            self.read()
        );
        prop_assert_eq!(self.machine.now(), self.now, "time is what the batches say");
        for key in KEYS.map(|key| KeyName::new(key).expect("is a key name")) {
            prop_assert_eq!(self.machine.usage(&key), self.naive.usage(&key), "{}", self.read());
        }
        Ok(())
    }

    /// Who was queued gets one outcome, and nobody else does.
    fn check_outcomes(&mut self, applied: &Applied) -> Result<(), TestCaseError> {
        for answer in &applied.answers {
            if let Answer::Queued(queued) = answer
                && !self.waiting.contains(&queued.ticket)
            {
                self.waiting.push(queued.ticket);
            }
        }
        for (ticket, _) in &applied.settled {
            let place = self.waiting.iter().position(|waiting| waiting == ticket);
            prop_assert!(place.is_some(), "{:?} has two outcomes after {}", ticket, self.read());
            self.waiting.remove(place.expect("it was just found"));
        }
        let waiters = self.machine.stats().waiters;
        prop_assert_eq!(self.waiting.len(), waiters, "outcomes are missing after {}", self.read());
        Ok(())
    }

    /// Revisions have no gap, and every new token is higher than all before.
    fn check_feed(&mut self, applied: &Applied) -> Result<(), TestCaseError> {
        for change in &applied.changes {
            self.revision.0 += 1;
            prop_assert_eq!(change.revision(), self.revision, "a gap after {}", self.read());
            let Change::Lock(change) = change else { continue };
            let Some(token) = change.token else { continue };
            let is_new = self.tokens.get(&change.name).is_none_or(|latest| token > *latest);
            match change.action {
                Action::Granted => {
                    prop_assert!(
                        is_new && token > self.last_token,
                        "{:?} after {}",
                        change,
                        self.read()
                    );
                }
                Action::Converted => {
                    let latest = self.tokens.get(&change.name);
                    prop_assert!(latest.is_none_or(|latest| token >= *latest), "{change:?}");
                }
                _ => continue,
            }
            self.last_token = self.last_token.max(token);
            let latest = self.tokens.entry(change.name.clone()).or_default();
            *latest = token.max(*latest);
        }
        Ok(())
    }

    /// A restored machine is the same: its snapshot is, and the next answers will be.
    fn restart_twin(&mut self) -> Result<(), TestCaseError> {
        let bytes = self.machine.snapshot();
        prop_assert_eq!(&self.twin.snapshot(), &bytes, "after {}", self.read());
        if self.told.len().is_multiple_of(3) {
            self.twin = Machine::restore(&bytes).expect("a machine reads its own snapshot");
            prop_assert_eq!(&self.twin.snapshot(), &bytes, "after {}", self.read());
        }
        Ok(())
    }
}

fn picture(lock: &LockView) -> String {
    let holders: Vec<String> = lock
        .holders
        .iter()
        .map(|HolderView { holder, .. }| {
            format!("{} {:?} {}", holder.token, holder.claim, holder.expires_in.as_micros())
        })
        .collect();
    let queue: Vec<String> = lock
        .queue
        .iter()
        .map(|waiter| format!("{:?} {}", waiter.claim, waiter.waited.as_micros()))
        .collect();
    format!(
        "{}: holders {holders:?} queue {queue:?} opens {}",
        lock.name,
        lock.opens_in.as_micros()
    )
}

/// G1: an exclusive holder is alone, and no permits are given beyond what there can be.
fn fits(lock: &LockView) -> bool {
    let claims: Vec<Claim> = lock.holders.iter().map(|view| view.holder.claim).collect();
    let exclusive = claims.contains(&Claim::Exclusive);
    let weights = claims.iter().map(|claim| match claim {
        Claim::Permits { weight, .. } => weight.get(),
        Claim::Exclusive | Claim::Shared => 0,
    });
    (!exclusive || claims.len() == 1) && weights.map(u64::from).sum::<u64>() <= 1 << 31
}

/// Commands with every number at its worst, at times that jump: no panic, and the record stays one that can be read.
fn nonsense(steps: &[(u8, Dice)]) -> Result<(), TestCaseError> {
    let (mut machine, mut known) = (Machine::new(), Known::default());
    for (when, dice) in steps {
        let commands = vec![known.command(dice), known.nonsense(dice)];
        let now = match when % 16 {
            0 => Time::MAX,
            1 => Time::ZERO,
            2 => Time::from_micros(u64::MAX - 1),
            _ => machine.next_deadline().unwrap_or(Time::ZERO),
        };
        let applied = machine.apply(&Batch::at(now, commands));
        applied.answers.iter().for_each(|answer| known.learn(answer));
        let bytes = machine.snapshot();
        let restored = Machine::restore(&bytes).expect("a machine reads its own snapshot");
        prop_assert_eq!(restored.snapshot(), bytes);
        look_at_everything(&machine);
        machine = restored;
    }
    Ok(())
}

fn look_at_everything(machine: &Machine) {
    for sort in [Sort::Name, Sort::Waiters, Sort::HeldFor] {
        let page =
            Page { prefix: "", after: "", limit: usize::MAX, held: false, waited: false, sort };
        for summary in machine.locks(&page) {
            let lock = machine.lock(&summary.name);
            assert!(fits(&lock), "{lock:?}");
            for HolderView { holder, .. } in &lock.holders {
                assert!(machine.check(&lock.name, holder.token).0, "a holder's token is current");
            }
        }
    }
    machine.sessions(None, usize::MAX);
    machine.stats();
    machine.grants();
    machine.keys();
}
