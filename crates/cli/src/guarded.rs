//! Runs a command while a grant lasts.

mod foreground;
mod signals;

pub(crate) use signals::Signals;

use std::ffi::OsString;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tenure::{Grant, Loss, Recall, ReleaseError, State};
use tokio::time::MissedTickBehavior;

use crate::boottime::Boottime;
use crate::failure::{Exit, Failure};
use crate::output::{self, Output};
use crate::sentinel::{
    Deadline, FromSentinel, Launch, Orders, Sentinel, ToSentinel, end_descendants, end_group,
    group_is_gone,
};
use crate::{environment, words};
use foreground::Foreground;

/// How often the grant is asked how long it lasts.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(250);
/// A deadline that moved by less is not worth telling.
const MOVE_MIN: Duration = Duration::from_millis(2);
/// How long after the command's last moment the sentinel may take to say so; then the wrapper ends the group itself.
const SENTINEL_LATE_MAX: Duration = Duration::from_millis(100);
/// How many looks a killed group may take to be gone.
const GONE_LOOKS: u32 = 25;
/// How many looks in a row must find it late: a wrapper that was frozen itself has its words still to read.
const SENTINEL_LATE_LOOKS: u32 = 2;

/// What to run and how to treat it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The program and its arguments; not empty.
    pub(crate) command: Vec<OsString>,
    /// How long the grant lives without a keep-alive.
    pub(crate) ttl: Duration,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// Whether the command is ended when the lock is lost, or only told about.
    pub(crate) kill: bool,
    /// Sent to the command when somebody asks for the lock.
    pub(crate) on_recall: Option<Signal>,
    /// The longest the command may run.
    pub(crate) at_most: Option<Duration>,
}

/// The grace of a lock with this time to live, unless the user says otherwise.
pub(crate) fn default_grace(ttl: Duration) -> Duration {
    (ttl / 4).min(Duration::from_secs(5))
}

/// Runs the command under the grant, then gives the grant back. Answers the command's exit status, 128 + n if a signal
/// ended it.
///
/// # Errors
/// [`Exit::Lost`] when the grant was lost while the command ran, whatever the command said.
pub(crate) async fn run(
    grant: Grant,
    task: Task,
    signals: &mut Signals,
    out: &Output,
) -> Result<u8, Failure> {
    let foreground = Foreground::new();
    let ends_at = task.at_most.map(|at_most| Boottime::now().plus(at_most));
    let deadline = deadline(&grant, &task, ends_at);
    let orders = Orders {
        deadline,
        grace: task.grace,
        may_kill: task.kill || task.at_most.is_some(),
        foreground: foreground.starts_in_front(),
        command: task.command.clone(),
    };
    let launch = Launch { orders, environment: environment(&grant) };
    let cannot = |error| Failure::new(Exit::Given(126), format!("cannot start a process: {error}"));
    let sentinel = Sentinel::start(launch).map_err(cannot)?;
    let name = words::names(grant.tokens().keys());
    let mut run = Run {
        grant,
        task,
        sentinel,
        foreground,
        ends_at,
        sent: deadline,
        name,
        out,
        lost: None,
        timed: false,
        in_jeopardy: false,
        recalled: false,
        late_looks: 0,
        own_stop: false,
    };
    let ended = run.until_the_end(signals).await;
    run.finish(ended).await
}

/// What the command finds in its environment.
fn environment(grant: &Grant) -> Vec<(&'static str, OsString)> {
    environment::of_kept(grant).into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// Until when the command may run, by what the grant promises and by `--at-most`.
fn deadline(grant: &Grant, task: &Task, ends_at: Option<Boottime>) -> Deadline {
    // The clock is read first: a promise counted from then is never too long.
    let now = Boottime::now();
    let promised = match grant.state() {
        _ if !task.kill => Boottime::NEVER,
        State::Held { for_sure } | State::Jeopardy { for_sure } => now.plus(for_sure),
        // Lost, or something this program does not know: no promise.
        _ => now,
    };
    let by_grant = if promised == Boottime::NEVER {
        Deadline::NEVER
    } else {
        Deadline::before(promised, task.grace)
    };
    let Some(ends_at) = ends_at else { return by_grant };
    Deadline {
        terminate_at: by_grant.terminate_at.min(ends_at),
        kill_at: by_grant.kill_at.min(ends_at.plus(task.grace)),
    }
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Exited(i32),
    Signalled(i32),
    /// The sentinel was killed, and the command with it.
    Unwatched,
}

/// A command that runs.
struct Run<'a> {
    grant: Grant,
    task: Task,
    sentinel: Sentinel,
    foreground: Foreground,
    ends_at: Option<Boottime>,
    /// The deadline the sentinel knows.
    sent: Deadline,
    name: String,
    out: &'a Output,
    lost: Option<Loss>,
    /// Whether the sentinel told the command to stop.
    timed: bool,
    /// Whether the server is known not to answer.
    in_jeopardy: bool,
    /// Whether somebody has asked for the lock.
    recalled: bool,
    /// Looks in a row that found the sentinel late.
    late_looks: u32,
    /// Whether a SIGTSTP is under way that we sent ourselves.
    own_stop: bool,
}

impl Run<'_> {
    async fn until_the_end(&mut self, signals: &mut Signals) -> Ended {
        let lost = self.grant.lost();
        let recalled = self.grant.recalled();
        tokio::pin!(lost, recalled);
        let every = (self.task.ttl / 50).clamp(LOOK_MIN, LOOK_MAX);
        let mut look = tokio::time::interval(every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                said = self.sentinel.next() => match said {
                    Some(FromSentinel::Exited(status)) => return Ended::Exited(status),
                    Some(FromSentinel::Signalled(signal)) => return Ended::Signalled(signal),
                    Some(FromSentinel::Stopped(signal)) => self.stopped(signal),
                    Some(FromSentinel::Terminated | FromSentinel::Killed) => self.timed = true,
                    Some(FromSentinel::Left) => self.tell_left(),
                    Some(FromSentinel::Started(_)) => {}
                    None => return self.sentinel_is_gone(),
                },
                signal = signals.next() => self.pass(signal),
                loss = &mut lost, if self.lost.is_none() => self.grant_is_lost(loss),
                recall = &mut recalled, if !self.recalled => self.grant_is_recalled(&recall),
                _ = look.tick() => {
                    self.tell_deadline();
                    self.tell_jeopardy();
                    if self.is_overdue() {
                        return self.sentinel_is_gone();
                    }
                }
            }
        }
    }

    fn tell_deadline(&mut self) {
        if self.lost.is_some() {
            return;
        }
        let next = deadline(&self.grant, &self.task, self.ends_at);
        if next.distance(&self.sent) >= MOVE_MIN {
            self.sent = next;
            self.sentinel.tell(ToSentinel::Deadline(next));
        }
    }

    /// Says, once, that the server has not answered for a while.
    fn tell_jeopardy(&mut self) {
        let State::Jeopardy { for_sure } = self.grant.state() else {
            self.in_jeopardy = false;
            return;
        };
        if !std::mem::replace(&mut self.in_jeopardy, true) && self.task.kill && !self.out.quiet {
            let left = output::span(for_sure.saturating_sub(self.task.grace));
            output::say(&format!(
                "{}: the server does not answer; the command has {left} left",
                self.name
            ));
        }
    }

    /// Said even when quiet: the next holder is not alone.
    fn tell_left(&self) {
        output::say(&format!(
            "{}: WHAT THE COMMAND LEFT BEHIND COULD NOT BE STOPPED (does it run as another user?)",
            self.name
        ));
    }

    fn grant_is_lost(&mut self, loss: Loss) {
        if self.task.kill {
            self.sent = self.sent.after_loss(Boottime::now(), self.task.grace);
            self.sentinel.tell(ToSentinel::Deadline(self.sent));
        } else {
            let why = words::loss(&loss.reason);
            output::say(&format!("{} lost ({why}); the command goes on (--no-kill)", self.name));
        }
        self.lost = Some(loss);
    }

    fn grant_is_recalled(&mut self, recall: &Recall) {
        self.recalled = true;
        if !self.out.quiet {
            output::say(&format!(
                "{} is asked for {}",
                self.name,
                words::recall(recall.within, recall.by.as_deref(), &recall.reason)
            ));
        }
        if let Some(signal) = self.task.on_recall {
            self.sentinel.tell(ToSentinel::Signal(signal.as_raw()));
        }
    }

    /// Passes a signal on to the command.
    fn pass(&mut self, signal: Signal) {
        if signal == Signal::TSTP && std::mem::take(&mut self.own_stop) {
            return;
        }
        if signal == Signal::CONT
            && let Some(group) = self.sentinel.group()
        {
            self.foreground.resume(group);
        }
        self.sentinel.tell(ToSentinel::Signal(signal.as_raw()));
    }

    /// The command was stopped: it wants the terminal, or this job was stopped as a whole.
    fn stopped(&mut self, signal: i32) {
        let Some(group) = self.sentinel.group() else { return };
        let wants_terminal = signal == Signal::TTIN.as_raw() || signal == Signal::TTOU.as_raw();
        if !wants_terminal && signal != Signal::TSTP.as_raw() {
            // SIGSTOP: somebody means the command alone, and will continue it.
            return;
        }
        if !(wants_terminal && self.foreground.give(group)) {
            self.own_stop = self.foreground.stop_with(group);
            self.foreground.resume(group);
        }
        self.sentinel.tell(ToSentinel::Signal(Signal::CONT.as_raw()));
    }

    /// Whether the sentinel should have ended the command by now.
    fn is_overdue(&mut self) -> bool {
        let late = Boottime::now() > self.sent.kill_at.plus(SENTINEL_LATE_MAX);
        self.late_looks = if late { self.late_looks + 1 } else { 0 };
        self.late_looks >= SENTINEL_LATE_LOOKS
    }

    /// The kernel has killed the command with its sentinel, if that is dead; here goes the rest of the group. (The
    /// group's number could only be another's if it was used again within these microseconds.)
    fn sentinel_is_gone(&mut self) -> Ended {
        if let Some(group) = self.sentinel.group().filter(|_| self.task.kill) {
            end_group(group);
            // A frozen sentinel still is the parent of what left the group.
            if let Some(sentinel) = self.sentinel.pid() {
                end_descendants(sentinel);
            }
        }
        Ended::Unwatched
    }

    async fn finish(self, ended: Ended) -> Result<u8, Failure> {
        let group = self.sentinel.group();
        if let Some(group) = group {
            self.foreground.take_back(group);
        }
        self.sentinel.end();
        let name = &self.name;
        let lost =
            |why: String, then| Failure::new(Exit::Lost, format!("{name} lost ({why}); {then}"));
        if let Some(loss) = self.lost {
            if !self.task.kill {
                return Err(Failure::silent(Exit::Lost));
            }
            return Err(lost(words::loss(&loss.reason), is_stopped(group).await));
        }
        let by_at_most = self.ends_at.is_some_and(|at| Boottime::now() >= at);
        let released = self.grant.release().await;
        match &released {
            Err(ReleaseError::Lost(loss)) => {
                let by_itself = "the command ended by itself";
                let then = if self.timed { is_stopped(group).await } else { by_itself };
                return Err(lost(words::loss(&loss.reason), then));
            }
            _ if self.timed && !by_at_most => {
                return Err(lost(
                    "it could not be renewed in time".into(),
                    is_stopped(group).await,
                ));
            }
            Err(_) if !self.out.quiet => {
                output::say(&format!(
                    "{name} may still be held: the server did not answer; it ends by itself"
                ));
            }
            _ => {}
        }
        if self.timed && !self.out.quiet {
            output::say(&format!("{name}: command stopped after its time (--at-most)"));
        }
        status(ended)
    }
}

/// The exit status that stands for an end.
fn status(ended: Ended) -> Result<u8, Failure> {
    match ended {
        Ended::Exited(status) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Ended::Signalled(signal) => Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        Ended::Unwatched => {
            let message = "the command's sentinel was killed; command stopped";
            Err(Failure::new(Exit::Given(128 + 9), message))
        }
    }
}

/// Says truly whether the command is gone: one that runs as another user cannot be signalled.
async fn is_stopped(group: Option<Pid>) -> &'static str {
    let Some(group) = group else { return "command not started" };
    for _ in 0..GONE_LOOKS {
        if group_is_gone(group) {
            return "command stopped";
        }
        tokio::time::sleep(LOOK_MIN).await;
    }
    "THE COMMAND COULD NOT BE STOPPED (does it run as another user?)"
}
