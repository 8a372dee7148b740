//! Answers of one connection.

use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::labels::{Http, method_label};
use super::{Answered, Metrics};

/// Kinds of answers that a connection keeps handles for; most have two or three.
const KINDS_MAX: usize = 8;

/// Counts the answers of one connection. A connection asks for the same few things again and again, so it keeps their
/// handles instead of looking them up by label each time.
pub(crate) struct Tally {
    metrics: Metrics,
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Clone)]
struct Kind {
    labels: Http,
    requests: Counter,
    seconds: Histogram,
}

impl Tally {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Tally { metrics, kinds: Mutex::default() }
    }

    /// Counts an answer.
    pub(crate) fn count(
        &self,
        answered: Answered,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let Answered { route, code } = answered;
        let labels = Http { route, method: method_label(method), status: status.as_u16(), code };
        let mut kinds = self.kinds.lock();
        if let Some(kind) = kinds.iter().find(|kind| kind.labels == labels) {
            return kind.count(took);
        }
        if kinds.len() >= KINDS_MAX {
            kinds.clear();
        }
        let kind = self.look_up(labels);
        kind.count(took);
        kinds.push(kind);
    }

    fn look_up(&self, labels: Http) -> Kind {
        let meters = &self.metrics.0.meters;
        let requests = meters.http_requests.get_or_create_owned(&labels);
        let seconds = meters.http_seconds.get_or_create_owned(&[("route", labels.route)]);
        Kind { labels, requests, seconds }
    }
}

impl Kind {
    fn count(&self, took: Duration) {
        self.requests.inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
