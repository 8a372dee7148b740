//! The text of `/metrics`: the counters, and the state of the service as it is now.

use std::fmt;
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use tenure_core::{KeyRecord, Stats, Usage};
use tenure_log::{Histogram, Reason, Status};

use super::Metrics;
use crate::app::App;

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Keys that get series of their own; beyond, only the first by name.
const KEY_SERIES_MAX: usize = 1_000;

/// What is read at the moment of a scrape.
struct Now {
    stats: Option<Stats>,
    keys: Vec<(KeyRecord, Usage)>,
    fixed: Vec<(String, Usage)>,
    status: Status,
    uptime: Duration,
    draining: bool,
    tls_expires_in: Option<i64>,
}

impl Metrics {
    /// All counters, and the state of the service as of now, in OpenMetrics' text form.
    pub(super) async fn text(&self, app: &App) -> Result<String, fmt::Error> {
        let now = now(app).await;
        let mut text = String::new();
        encode_registry(&mut text, &self.0.meters.registry)?;
        encode_registry(&mut text, &registry(&now, app, self.0.behind.longest(Instant::now())))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

async fn now(app: &App) -> Now {
    let fixed = app.keys.fixed();
    let read = app.log.read(|machine| {
        let made = machine.keys().into_iter().take(KEY_SERIES_MAX);
        let made: Vec<_> = made
            .map(|key| {
                let usage = machine.usage(&key.name);
                (key, usage)
            })
            .collect();
        let fixed = fixed.iter().map(|key| (key.name.to_string(), machine.usage(&key.name)));
        (machine.stats(), made, fixed.collect::<Vec<_>>())
    });
    let (stats, keys, fixed) = match read.await {
        Ok((stats, keys, fixed)) => (Some(stats), keys, fixed),
        // A server that is not ready shows what it knows of itself.
        Err(_) => (None, Vec::new(), Vec::new()),
    };
    Now {
        stats,
        keys,
        fixed,
        status: app.log.status(),
        uptime: app.started.elapsed(),
        draining: app.drain.is_draining(),
        tls_expires_in: app.tls_expires_in(),
    }
}

fn registry(now: &Now, app: &App, behind: Duration) -> Registry {
    let mut r = Registry::with_prefix("tenure");
    service(&mut r, now);
    let help = "How long the slowest reader of changes has had something to read";
    gauge(&mut r, "feed_lag_seconds", help, behind.as_secs_f64());
    if let Some(stats) = &now.stats {
        machine(&mut r, stats);
    }
    keys(&mut r, now);
    log(&mut r, &now.status, app);
    r
}

fn gauge(r: &mut Registry, name: &str, help: &str, value: f64) {
    r.register(name, help, ConstGauge::new(value));
}

fn labelled<'a>(
    r: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) {
    type Gauges = Family<Vec<(&'static str, String)>, Gauge<f64, std::sync::atomic::AtomicU64>>;
    let family = Gauges::default();
    for (value, number) in values {
        family.get_or_create(&vec![(label, value.to_owned())]).set(number);
    }
    registered(r, name, help, family);
}

fn registered(r: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    r.register(name, help, metric);
}

fn service(r: &mut Registry, now: &Now) {
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("TENURE_COMMIT").unwrap_or("unknown");
    let build = Info::new(vec![("version", version), ("commit", commit), ("backend", "log")]);
    // Not an "info" by name: that would be called `tenure_build_info_info`.
    registered(r, "build", "What this is", build);
    let ready = now.status.ready && !now.draining;
    gauge(r, "ready", "1 if requests are served", f64::from(u8::from(ready)));
    gauge(r, "uptime_seconds", "Time since the start", now.uptime.as_secs_f64());
    if let Some(left) = now.tls_expires_in {
        gauge(r, "tls_expiry_seconds", "Time until the certificate runs out", left as f64);
    }
}

fn machine(r: &mut Registry, stats: &Stats) {
    let locks = [("held", stats.held), ("waited", stats.waited), ("idle", stats.idle)];
    let locks = locks.map(|(state, count)| (state, count as f64));
    labelled(r, "locks", "Locks by state", "state", locks);
    gauge(r, "waiters", "Requests in queues", stats.waiters as f64);
    gauge(r, "sessions", "Sessions open", stats.sessions as f64);
    let (wait, hold) = (stats.oldest_wait.as_secs_f64(), stats.oldest_hold.as_secs_f64());
    gauge(r, "oldest_waiter_seconds", "Longest wait going on", wait);
    gauge(r, "oldest_holder_seconds", "Longest hold going on", hold);
}

fn keys(r: &mut Registry, now: &Now) {
    let made = now.keys.iter().map(|(key, usage)| (key.name.as_str(), f64::from(usage.held)));
    let fixed = now.fixed.iter().map(|(name, usage)| (name.as_str(), f64::from(usage.held)));
    labelled(r, "key_held", "Locks held with a key", "key", fixed.chain(made));
    let expiring = now
        .keys
        .iter()
        .filter_map(|(key, _)| Some((key.name.as_str(), key.expires_in?.as_secs_f64())));
    labelled(r, "key_expiry_seconds", "Time until a key runs out", "key", expiring);
}

fn log(r: &mut Registry, status: &Status, app: &App) {
    let meters = app.log.meters();
    let leads = status.reason != Some(Reason::NoQuorum) && status.reason != Some(Reason::Starting);
    gauge(r, "raft_leader", "1 on the node that leads", f64::from(u8::from(leads)));
    gauge(r, "raft_term", "The term of office", status.term as f64);
    let peer = [(status.node.to_string(), meters.commit_lag() as f64)];
    let peer = peer.iter().map(|(node, lag)| (node.as_str(), *lag));
    labelled(r, "raft_commit_lag", "Entries written and not in effect yet", "peer", peer);
    let elections = ConstCounter::new(meters.elections());
    registered(r, "elections", "Terms that this node began as the leader", elections);
    let stall = meters.clock_stall().as_secs_f64();
    gauge(
        r,
        "clock_stall_seconds",
        "How long time of the rules stood still since the start",
        stall,
    );
    gauge(r, "log_bytes", "Bytes of log since the last snapshot", meters.log_bytes() as f64);
    if let Some(free) = status.disk_free_bytes {
        gauge(r, "disk_free_bytes", "Bytes free on the log's disk", free as f64);
    }
    r.register_collector(Box::new(Measured {
        name: "log_sync_seconds",
        help: "Time of a sync of the log",
        histogram: meters.sync_seconds(),
    }));
    r.register_collector(Box::new(Measured {
        name: "log_batch_commands",
        help: "Commands per write of the log",
        histogram: meters.batch_commands(),
    }));
    r.register_collector(Box::new(Measured {
        name: "snapshot_seconds",
        help: "Time of a snapshot",
        histogram: meters.snapshot_seconds(),
    }));
    r.register_collector(Box::new(Errors(meters.errors())));
}

/// A histogram that the log keeps.
#[derive(Debug)]
struct Measured {
    name: &'static str,
    help: &'static str,
    histogram: Histogram,
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut below = 0;
        // The log counts what is at or below a bound, the encoder what is between two.
        let buckets = self.histogram.buckets.iter().map(|(bound, upto)| {
            let between = upto.saturating_sub(below);
            below = *upto;
            (*bound, between)
        });
        let buckets: Vec<(f64, u64)> = buckets.collect();
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        let (sum, count) = (self.histogram.sum, self.histogram.count);
        metric.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}

/// Failed operations of the disk.
#[derive(Debug)]
struct Errors(Vec<(&'static str, u64)>);

impl Collector for Errors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Failed operations of the disk";
        let mut metric =
            encoder.encode_descriptor("log_errors", help, None, MetricType::Counter)?;
        for (op, count) in &self.0 {
            let labels = [("op", *op)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
