//! Counters for people who watch the service. Handles are made once, so that counting costs an addition.

mod behind;
mod build;
mod labels;
mod observe;
mod rates;
mod render;
mod scrape;
mod tally;

use std::sync::Arc;
use std::time::Instant;

use tenure_core::{Change, Claim, Granted, Refusal, Revision};

use behind::{Behind, ReaderId};
use build::Meters;
use labels::{Mode, Outcome};
use observe::HandOvers;
use rates::Rates;
pub(crate) use scrape::{PATH, scrape};
pub(crate) use tally::Tally;

/// All counters of a server; a cheap handle.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    meters: Meters,
    hand_overs: HandOvers,
    rates: Rates,
    behind: Behind,
}

/// What a handler says about its answer, in the answer's extensions, for `tenure_http_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The route's template, such as `/v1/locks/{name}/acquire`; never the path itself.
    pub(crate) route: &'static str,
    /// The problem's code; empty if it is none.
    pub(crate) code: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Self {
        Metrics(Arc::new(Inner {
            meters: Meters::new(),
            hand_overs: HandOvers::default(),
            rates: Rates::new(Instant::now()),
            behind: Behind::default(),
        }))
    }

    /// Counts a grant that is about to be answered.
    pub fn granted(&self, granted: &Granted) {
        let Some(first) = granted.locks.first() else { return };
        let mode = Mode::of(&first.claim);
        self.0.meters.acquires[mode as usize][Outcome::Granted as usize].inc();
        self.0.meters.wait[mode as usize].observe(granted.waited.as_secs_f64());
        if !granted.waited.is_zero()
            && let Some(took) = self.0.hand_overs.answered(first.token)
        {
            self.0.meters.handover.observe(took.as_secs_f64());
        }
    }

    /// Counts an acquire that got nothing.
    pub fn not_granted(&self, claim: &Claim, refusal: &Refusal) {
        let Some(outcome) = Outcome::of(refusal) else { return };
        self.0.meters.acquires[Mode::of(claim) as usize][outcome as usize].inc();
        if outcome == Outcome::Deadlock {
            self.0.meters.deadlocks.inc();
        }
        if let Refusal::Limit(denied) = refusal {
            self.limit_hit(denied.limit);
        }
    }

    /// Counts an acquire whose client went away or gave up before the answer.
    pub fn cancelled(&self, claim: &Claim) {
        self.0.meters.acquires[Mode::of(claim) as usize][Outcome::Cancelled as usize].inc();
    }

    /// Counts a renewal or keep-alive.
    pub fn renewed(&self, lost: bool) {
        self.0.meters.renewals[usize::from(lost)].inc();
    }

    /// Counts a release that came too late: its holder may have worked without the lock.
    pub fn release_lost(&self) {
        self.0.meters.releases_lost.inc();
    }

    /// Counts a request that was answered from memory because its id was seen before.
    pub fn replayed(&self) {
        self.0.meters.replays.inc();
    }

    /// Counts a limit that was reached; `limit` is one of the fixed names.
    pub fn limit_hit(&self, limit: &'static str) {
        self.0.meters.limit_hits.get_or_create(&[("limit", limit)]).inc();
    }

    /// Counts a wrong or missing key; `reason` is one of the fixed words.
    pub fn auth_failure(&self, reason: &'static str) {
        self.0.meters.auth_failures.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a request to one of DoubleDutch's routes.
    pub fn doubledutch(&self, route: &'static str) {
        self.0.meters.doubledutch.get_or_create(&[("route", route)]).inc();
    }

    /// An answer is held back until this is dropped.
    pub fn held_answer(&self) -> HeldAnswer {
        self.0.meters.held_answers.inc();
        HeldAnswer(self.clone())
    }

    /// Answers held back now.
    pub fn held_answers(&self) -> usize {
        usize::try_from(self.0.meters.held_answers.get()).unwrap_or(0)
    }

    /// A reader of changes is connected until this is dropped. Only who hears all of them can be behind.
    pub fn subscriber(&self, hears_all: bool) -> Subscriber {
        self.0.meters.subscribers.inc();
        let behind = hears_all.then(|| self.0.behind.reader());
        Subscriber { metrics: self.clone(), behind }
    }

    /// Counts a reader that had to read the state again.
    pub fn feed_resync(&self) {
        self.0.meters.feed_resyncs.inc();
    }

    /// Counts a reader that was cut off because it was too slow.
    pub fn feed_slow(&self) {
        self.0.meters.feed_slow.inc();
    }

    /// Events per second, over the last seconds.
    pub fn rates(&self) -> tenure_api::Rates {
        self.0.rates.per_second(Instant::now())
    }

    /// A connection is open until this is dropped.
    pub(crate) fn connection(&self) -> Connection {
        self.0.meters.connections.inc();
        Connection(self.clone())
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        usize::try_from(self.0.meters.connections.get()).unwrap_or(0)
    }

    /// Notes the changes of a batch; called by the log, so it does not wait for anything.
    pub(crate) fn changed(&self, changes: &[Change]) {
        let now = Instant::now();
        self.0.rates.changed(changes, now);
        if let Some(last) = changes.last() {
            self.0.behind.committed(last.revision(), now);
        }
        observe::changed(&self.0.meters, &self.0.hand_overs, changes, now);
    }
}

/// One answer held back.
pub struct HeldAnswer(Metrics);

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        self.0.0.meters.held_answers.dec();
    }
}

/// One reader of changes.
pub struct Subscriber {
    metrics: Metrics,
    behind: Option<ReaderId>,
}

impl Subscriber {
    /// It has been handed all changes up to this one.
    pub(crate) fn reached(&self, revision: Revision) {
        if let Some(id) = self.behind {
            self.metrics.0.behind.reached(id, revision);
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.metrics.0.meters.subscribers.dec();
        if let Some(id) = self.behind {
            self.metrics.0.behind.gone(id);
        }
    }
}

/// One connection.
pub(crate) struct Connection(Metrics);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.0.meters.connections.dec();
    }
}
