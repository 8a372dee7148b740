//! Which counters there are.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::labels::{Http, Mode, Outcome};

/// One label whose values are fixed words.
pub(super) type Word = [(&'static str, &'static str); 1];
type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// Bounds of every histogram of seconds: 100 µs to 60 s.
const SECONDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Every counter that is counted as things happen, and the registry that knows their names.
pub(super) struct Meters {
    pub(super) registry: Registry,
    pub(super) acquires: [[Counter; Outcome::ALL.len()]; Mode::ALL.len()],
    pub(super) wait: [Histogram; Mode::ALL.len()],
    pub(super) hold: [Histogram; Mode::ALL.len()],
    pub(super) handover: Histogram,
    pub(super) ended: Family<Word, Counter>,
    pub(super) recalls: Counter,
    /// Of those renewed, of those lost.
    pub(super) renewals: [Counter; 2],
    pub(super) releases_lost: Counter,
    pub(super) replays: Counter,
    pub(super) deadlocks: Counter,
    pub(super) changes: Counter,
    pub(super) subscribers: Gauge,
    pub(super) feed_resyncs: Counter,
    pub(super) feed_slow: Counter,
    pub(super) http_requests: Family<Http, Counter>,
    pub(super) http_seconds: Seconds<Word>,
    pub(super) held_answers: Gauge,
    pub(super) connections: Gauge,
    pub(super) auth_failures: Family<Word, Counter>,
    pub(super) limit_hits: Family<Word, Counter>,
    pub(super) doubledutch: Family<Word, Counter>,
}

/// How grants end, as labels.
const ENDED: [&str; 5] = ["released", "expired", "session_ended", "broken", "handed_over"];
/// The limits that requests run into.
const LIMITS: [&str; 12] = [
    "auth_failures",
    "connections",
    "connections_per_address",
    "depth",
    "held",
    "queue",
    "request_ids",
    "requests_per_second",
    "sessions",
    "tokens",
    "waiters",
    "waiting",
];

/// Registers a metric and hands it back.
fn named<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn counter(r: &mut Registry, name: &str, help: &str) -> Counter {
    named(r, name, help, Counter::default())
}

fn counters<L>(r: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    Family<L, Counter>: Metric + Clone + Default,
{
    named(r, name, help, Family::default())
}

/// Lets a rate see the first count: a counter that appears with 1 has no rise.
fn at_zero(
    family: Family<Word, Counter>,
    label: &'static str,
    words: &[&'static str],
) -> Family<Word, Counter> {
    for word in words {
        drop(family.get_or_create(&[(label, *word)]));
    }
    family
}

fn gauge(r: &mut Registry, name: &str, help: &str) -> Gauge {
    named(r, name, help, Gauge::default())
}

impl Meters {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("tenure");
        let r = &mut registry;
        let by_route = Seconds::<Word>::new_with_constructor(seconds as fn() -> Histogram);
        let until_answered = "Release committed to next grant answered";
        let until_head = "Time to the head of the answer";
        let ended = counters(r, "grants_ended", "Grants that ended, by reason");
        let limit_hits = counters(r, "limit_hits", "Requests refused by a limit");
        Meters {
            acquires: acquires(r),
            wait: by_mode(r, "acquire_wait_seconds", "Time from an acquire to its grant"),
            hold: by_mode(r, "hold_seconds", "Time from a grant to its end"),
            handover: named(r, "handover_seconds", until_answered, seconds()),
            ended: at_zero(ended, "reason", &ENDED),
            recalls: counter(r, "recalls", "Times a lock was recalled"),
            renewals: renewals(r),
            releases_lost: counter(r, "releases_lost", "Releases of what was lost before"),
            replays: counter(r, "request_replays", "Requests answered again by their id"),
            deadlocks: counter(r, "deadlocks", "Requests refused because of a cycle"),
            changes: changes(r),
            subscribers: subscribers(r),
            feed_resyncs: counter(r, "feed_resyncs", "Readers told to read again"),
            feed_slow: counter(r, "feed_slow", "Readers cut off as too slow"),
            http_requests: counters(r, "http_requests", "Requests answered"),
            http_seconds: named(r, "http_request_seconds", until_head, by_route),
            held_answers: gauge(r, "http_held_answers", "Answers held back now"),
            connections: gauge(r, "http_connections", "Connections open now"),
            auth_failures: counters(r, "auth_failures", "Requests without a good key"),
            limit_hits: at_zero(limit_hits, "limit", &LIMITS),
            doubledutch: counters(r, "doubledutch_requests", "Requests to DoubleDutch's routes"),
            registry,
        }
    }
}

fn acquires(r: &mut Registry) -> [[Counter; Outcome::ALL.len()]; Mode::ALL.len()] {
    type Labels = [(&'static str, &'static str); 2];
    let family: Family<Labels, Counter> =
        named(r, "acquires", "Acquires answered, by outcome", Family::default());
    Mode::ALL.map(|mode| {
        Outcome::ALL.map(|outcome| {
            family.get_or_create_owned(&[("mode", mode.as_str()), ("outcome", outcome.as_str())])
        })
    })
}

fn by_mode(r: &mut Registry, name: &str, help: &str) -> [Histogram; Mode::ALL.len()] {
    let family = Seconds::<Word>::new_with_constructor(seconds as fn() -> Histogram);
    let family = named(r, name, help, family);
    Mode::ALL.map(|mode| family.get_or_create_owned(&[("mode", mode.as_str())]))
}

fn renewals(r: &mut Registry) -> [Counter; 2] {
    let family: Family<Word, Counter> =
        named(r, "renewals", "Renewals and keep-alives", Family::default());
    ["renewed", "lost"].map(|outcome| family.get_or_create_owned(&[("outcome", outcome)]))
}

fn changes(r: &mut Registry) -> Counter {
    let family: Family<Word, Counter> =
        named(r, "changes", "Changes told to readers", Family::default());
    family.get_or_create_owned(&[("kind", "lock")])
}

fn subscribers(r: &mut Registry) -> Gauge {
    let family: Family<Word, Gauge> =
        named(r, "subscribers", "Readers of changes connected now", Family::default());
    family.get_or_create_owned(&[("kind", "changes")])
}
