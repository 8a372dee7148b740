//! Event streams (`text/event-stream`): readers of changes that hear everything in order, or that they missed some.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use serde::Serialize;
use tenure_api::{EndEvent, EndReason, ResyncEvent};
use tenure_core::Change;
use tenure_log::{Cursor, Event, Subscription};

use crate::app::App;
use crate::identity::Identity;
use crate::metrics::Subscriber;

/// A comment is sent after so much silence, so that nobody on the way takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Picks and words the events of one reader.
pub(crate) trait Teller: Send + 'static {
    /// Whether its subscription has every change, so that it can be behind.
    const HEARS_ALL: bool;

    /// What the reader is told of a change; `false` ends the stream after it.
    fn tell(
        &mut self,
        at: Cursor,
        change: &Change,
        into: &mut Events,
    ) -> impl Future<Output = bool> + Send;
}

/// Events on their way to a reader.
#[derive(Default)]
pub(crate) struct Events(Vec<u8>);

impl Events {
    /// Adds an event; `at` is what the reader resumes from.
    pub(crate) fn push<T: Serialize>(&mut self, event: &str, at: Cursor, data: &T) {
        let Ok(data) = serde_json::to_string(data) else { return };
        self.0.extend_from_slice(format!("id: {at}\nevent: {event}\ndata: {data}\n\n").as_bytes());
    }

    /// Adds an event if there is one.
    pub(crate) fn push_some<T: Serialize>(&mut self, event: &str, at: Cursor, data: Option<T>) {
        if let Some(data) = data {
            self.push(event, at, &data);
        }
    }

    /// Adds a comment, and the place the reader has come to even if nothing was for it.
    fn push_comment(&mut self, comment: &str, at: Cursor) {
        self.0.extend_from_slice(format!(": {comment}\nid: {at}\n\n").as_bytes());
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }
}

/// A stream of what `teller` makes of the changes after `from`, for as long as the caller's key is good.
pub(crate) fn response<T: Teller>(
    app: App,
    caller: Arc<Identity>,
    changes: Subscription,
    from: Cursor,
    teller: T,
) -> Response {
    let reader = Reader {
        counted: app.metrics.subscriber(T::HEARS_ALL),
        app,
        caller,
        changes,
        teller,
        at: from,
        state: State::New,
        events: Events::default(),
    };
    let chunks = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), reader))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of the nginx family hold streams back unless they are told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Ended,
}

struct Reader<T> {
    app: App,
    caller: Arc<Identity>,
    changes: Subscription,
    teller: T,
    at: Cursor,
    state: State,
    events: Events,
    counted: Subscriber,
}

impl<T: Teller> Reader<T> {
    /// The next bytes; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Ended => return None,
            State::New => {
                self.state = State::Open;
                self.events.push_comment("connected", self.at);
                return Some(self.events.take());
            }
            State::Open => {}
        }
        while self.events.0.is_empty() {
            self.wait().await;
        }
        Some(self.events.take())
    }

    async fn wait(&mut self) {
        let silence = tokio::time::sleep(KEEP_ALIVE);
        tokio::select! {
            biased;
            () = self.app.drain.begun() => self.end(EndReason::Draining),
            () = self.app.keys.revoked(&self.caller) => self.end(EndReason::Unauthenticated),
            event = self.changes.next() => self.hear(event).await,
            () = silence => self.events.push_comment("keep-alive", self.at),
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Changes(changes) => {
                if let Some((_, last)) = changes.last() {
                    self.counted.reached(last.revision());
                }
                for (at, change) in changes {
                    self.at = at;
                    if !self.teller.tell(at, &change, &mut self.events).await {
                        self.state = State::Ended;
                        return;
                    }
                }
            }
            Event::Resync(at) => {
                self.app.metrics.feed_resync();
                self.at = at;
                let compacted = ResyncEvent { reason: "compacted".to_owned() };
                self.events.push("resync", at, &compacted);
            }
            Event::Slow => {
                self.app.metrics.feed_slow();
                self.end(EndReason::Slow);
            }
            Event::Stopping => self.end(EndReason::Draining),
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.events.push("end", self.at, &EndEvent { reason });
        self.state = State::Ended;
    }
}
