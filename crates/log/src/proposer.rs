//! The one task that makes entries: it fetches what callers left, stamps it and carries it through the log. While
//! one entry is being synced the next one gathers, so many callers share a sync and a lone one waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use openraft::LogId;
use openraft::error::{ClientWriteError, RaftError};
use tenure_core::{Batch, Command, Detach, Time, WallTime};
use tokio::time::sleep_until;

use crate::alarm::Alarm;
use crate::clock::{FIRST_TICK, Stamper, tick_at};
use crate::desk::{BATCH_COMMANDS_MAX, Caller, Taken};
use crate::error::SubmitError;
use crate::outcome::Reply;
use crate::proposal::Proposal;
use crate::raft::Raft;
use crate::raft::machine::Shared;

/// Between two attempts while there is no leader.
const LEADER_RETRY: Duration = Duration::from_millis(20);
/// What is less is what rounding to microseconds leaves.
const DROPPED_MIN: Duration = Duration::from_millis(1);
/// Between two snapshots taken because the disk is full.
const FULL_RETRY: Duration = Duration::from_secs(5);
/// Entries made after the word to stop, to answer what had been left before it.
const LAST_BATCHES_MAX: usize = 64;

/// The proposer of a node.
pub(crate) struct Proposer {
    raft: Raft,
    shared: Arc<Shared>,
    alarm: Arc<Alarm>,
    stopping: Arc<AtomicBool>,
    snapshot_log_bytes: u64,
    clock: Instant,
    stamper: Stamper,
    stamped: (Time, Instant),
    term: Option<u64>,
    // The newest snapshot that the library knew of when the one under way was asked for.
    snapshot_asked: Option<Option<LogId<u64>>>,
    full_asked_at: Option<Instant>,
}

/// The library ended; nothing can be proposed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended;

impl Proposer {
    /// A proposer for a log whose last batch has this stamp.
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        stopping: Arc<AtomicBool>,
        snapshot_log_bytes: u64,
        stamp: Time,
    ) -> Self {
        let clock = Instant::now();
        let alarm = shared.alarm.clone();
        let last = stamp.max(shared.now());
        Proposer {
            raft,
            shared,
            alarm,
            stopping,
            snapshot_log_bytes,
            clock,
            stamper: Stamper::new(last, Duration::ZERO),
            stamped: (last, clock),
            term: None,
            snapshot_asked: None,
            full_asked_at: None,
        }
    }

    /// Proposes until told to stop, or until the library ends.
    pub(crate) async fn run(mut self) {
        let ran = self.serve().await;
        if ran == Err(Ended) {
            if !self.alarm.is_stopping() {
                tracing::error!(event = "log_ended", "by itself: this node serves no more");
            }
            self.alarm.health.change(|troubles| troubles.stalled = true);
            self.alarm.desk.close();
        }
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        self.begin_term().await?;
        if self.is_long() {
            // What was just replayed is not to be replayed again by a copy, nor by the next start: a process that dies
            // often might never see the end of it.
            self.shared.stand_still_once();
            self.keep_log_short().await?;
        }
        self.shared.go_live();
        self.alarm.health.change(|troubles| troubles.starting = false);
        let mut first_tick = Some(Instant::now() + FIRST_TICK);
        while !self.stopping.load(Ordering::Acquire) {
            let due = self.next_tick(first_tick);
            self.wait_for_work(due).await;
            if self.stopping.load(Ordering::Acquire) {
                break;
            }
            let mut taken = self.take();
            if due.is_some_and(|due| due <= Instant::now()) {
                first_tick = None;
                if taken.commands.is_empty() {
                    taken.commands.push(Command::Tick);
                    taken.callers.push(Caller::Nobody);
                }
            }
            self.propose(taken).await?;
            self.keep_log_short().await?;
        }
        self.finish().await
    }

    // What was left before the word to stop is carried out, and the time is noted, so that a restart loses none.
    async fn finish(&mut self) -> Result<(), Ended> {
        for _ in 0..LAST_BATCHES_MAX {
            let taken = self.take();
            if taken.commands.is_empty() {
                break;
            }
            self.propose(taken).await?;
        }
        if self.shared.deadline().is_some() {
            let commands = vec![Command::Tick];
            self.propose(Taken { commands, callers: vec![Caller::Nobody] }).await?;
        }
        Ok(())
    }

    fn next_tick(&self, first: Option<Instant>) -> Option<Instant> {
        let (last, stamped) = self.stamped;
        let due = tick_at(last, stamped, self.shared.deadline())?;
        Some(first.map_or(due, |first| due.min(first)))
    }

    async fn wait_for_work(&self, due: Option<Instant>) {
        if !self.alarm.desk.is_empty() {
            return;
        }
        let Some(due) = due else { return self.alarm.desk.rung().await };
        tokio::select! {
            biased;
            () = self.alarm.desk.rung() => {}
            () = sleep_until(due.into()) => {}
        }
    }

    // Connections that stopped waiting come first: a newer connection for the same ticket, which would be stopped
    // in its place, can only be among the commands behind them.
    fn take(&self) -> Taken {
        let mut taken = Taken::default();
        let leaves = self.alarm.desk.take_leaves(BATCH_COMMANDS_MAX);
        if !leaves.is_empty() {
            let mut waiters = self.shared.waiters.lock();
            for leave in leaves.iter().filter(|leave| waiters.detach(leave)) {
                let detach = Detach { ticket: leave.ticket, returning: leave.returning };
                taken.commands.push(Command::Detach(detach));
                taken.callers.push(Caller::Nobody);
            }
        }
        let troubles = self.alarm.health.troubles();
        self.alarm.desk.take(&mut taken, |command| {
            // Those who came before the word to stop are still served.
            if troubles.full { troubles.refuses(command) } else { None }
        });
        taken
    }

    async fn propose(&mut self, taken: Taken) -> Result<(), Ended> {
        let Taken { commands, callers } = taken;
        if commands.is_empty() {
            return Ok(());
        }
        self.alarm.meters.wrote_batch(commands.len());
        let proposal = self.stamp(commands);
        self.alarm.desk.depart(callers, Instant::now());
        let written = self.raft.client_write(Arc::new(proposal)).await;
        let callers = self.alarm.desk.arrive();
        match written {
            Ok(response) => {
                // Also if something else than the disk held it up.
                self.alarm.disk_works();
                answer(callers, response.data);
                if self.term != Some(response.log_id.leader_id.term) {
                    self.begin_term().await?;
                }
                Ok(())
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                refuse(callers, SubmitError::Unknown);
                self.begin_term().await
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
                refuse(callers, SubmitError::Unknown);
                Ok(())
            }
            Err(RaftError::Fatal(error)) => {
                tracing::debug!(event = "log_ended", %error);
                refuse(callers, SubmitError::Unknown);
                Err(Ended)
            }
        }
    }

    fn stamp(&mut self, commands: Vec<Command>) -> Proposal {
        let now = Instant::now();
        let stamp = self.stamper.stamp(now - self.clock, self.shared.now());
        let (last, stamped) = std::mem::replace(&mut self.stamped, (stamp, now));
        let dropped = (now - stamped).saturating_sub(stamp.since(last));
        // While nothing has a deadline nothing is written, and the time that passes is nobody's.
        if dropped >= DROPPED_MIN && self.shared.deadline().is_some() {
            self.alarm.meters.clock_stood_still(dropped);
        }
        Proposal::new(Batch { now: stamp, wall: wall_time(), commands })
    }

    // Time goes on from the last entry of the log, and nobody's answer is open any more.
    async fn begin_term(&mut self) -> Result<(), Ended> {
        loop {
            let last = self.stamped.0.max(self.shared.now());
            self.stamper = Stamper::new(last, self.clock.elapsed());
            let proposal = Arc::new(self.stamp(vec![Command::Resume]));
            match self.raft.client_write(proposal).await {
                Ok(response) => {
                    let term = response.log_id.leader_id.term;
                    self.term = Some(term);
                    self.alarm.health.set_term(term);
                    return Ok(());
                }
                Err(RaftError::Fatal(_)) => return Err(Ended),
                Err(RaftError::APIError(_)) if self.stopping.load(Ordering::Acquire) => {
                    return Err(Ended);
                }
                Err(RaftError::APIError(_)) => {
                    self.raft.trigger().elect().await.map_err(|_| Ended)?;
                    tokio::time::sleep(LEADER_RETRY).await;
                }
            }
        }
    }

    fn is_long(&self) -> bool {
        self.alarm.meters.log_bytes() >= self.snapshot_log_bytes
    }

    // On a full disk two small snapshots free the segments behind them, long before the log is long.
    fn needs_room(&mut self, logged: u64) -> bool {
        let lately = self.full_asked_at.is_some_and(|asked| asked.elapsed() < FULL_RETRY);
        if logged == 0 || lately || !self.alarm.health.troubles().full {
            return false;
        }
        self.full_asked_at = Some(Instant::now());
        true
    }

    // By the library's own word: while it has not heard of the end of one, it does not begin another.
    fn snapshot_is_under_way(&self) -> bool {
        self.snapshot_asked.is_some_and(|before| before == self.newest_snapshot())
    }

    fn newest_snapshot(&self) -> Option<LogId<u64>> {
        self.raft.metrics().borrow().snapshot
    }

    async fn keep_log_short(&mut self) -> Result<(), Ended> {
        let logged = self.alarm.meters.log_bytes();
        let long = self.is_long() && !self.snapshot_is_under_way();
        if long || self.needs_room(logged) {
            self.snapshot_asked = Some(self.newest_snapshot());
            self.raft.trigger().snapshot().await.map_err(|_| Ended)?;
        }
        if let Some(upto) = self.shared.take_purge() {
            self.raft.trigger().purge_log(upto).await.map_err(|_| Ended)?;
        }
        Ok(())
    }
}

fn answer(callers: Vec<Caller>, replies: Vec<Reply>) {
    let mut replies = replies.into_iter();
    for caller in callers {
        // A caller that is gone drops its reply; an outcome in it tells the machine by itself.
        match caller {
            Caller::Nobody => drop(replies.next()),
            Caller::One(sender) => {
                if let Some(reply) = replies.next() {
                    drop(sender.send(Ok(reply)));
                }
            }
            Caller::Many(count, sender) => {
                drop(sender.send(Ok(replies.by_ref().take(count).collect())));
            }
        }
    }
}

fn refuse(callers: Vec<Caller>, error: SubmitError) {
    callers.into_iter().for_each(|caller| caller.fail(error));
}

fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    WallTime(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
