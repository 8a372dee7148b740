//! The rest of a body that no handler read. A refusal is made of the head alone, while the body may still be on its way:
//! hyper would then end the connection without a word, and the request that the client sends on it next would be
//! lost, its outcome unknown.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

/// Longest rest in bytes that is read and thrown away so that the connection can go on.
const REST_BYTES_MAX: u64 = 64 * 1024;
/// Longest time that it may take to come.
const REST_TIME_MAX: Duration = Duration::from_secs(1);

/// What the handlers of one connection left of a body. In HTTP/1 it has one request at a time.
#[derive(Clone, Default)]
pub(super) struct Left(Arc<Mutex<Option<Rest>>>);

/// A body, or the rest of it, that is still to come.
pub(super) enum Rest {
    /// The client sends it.
    Coming(Incoming),
    /// The client waits to be asked for it.
    Announced,
}

/// A body that goes back to its connection if it is dropped unread.
struct Kept {
    /// Absent while it is dropped.
    body: Option<Incoming>,
    announced: bool,
    over: bool,
    left: Left,
}

impl Left {
    /// The request with a body that is not lost when it is dropped. One without a body, or of HTTP/2, which ends a stream
    /// and not the connection, is passed on as it is.
    pub(super) fn keep(&self, request: Request<Incoming>) -> Request<axum::body::Body> {
        if request.version() == Version::HTTP_2 || request.body().is_end_stream() {
            return request.map(axum::body::Body::new);
        }
        let announced = request.headers().contains_key(header::EXPECT);
        let left = self.clone();
        request.map(|body| {
            axum::body::Body::new(Kept { body: Some(body), announced, over: false, left })
        })
    }

    /// What was left since the last call.
    pub(super) fn take(&self) -> Option<Rest> {
        self.0.lock().take()
    }
}

impl Rest {
    /// Reads it to its end. False if there is too much of it or it does not come: the next request cannot be found then.
    pub(super) async fn read_off(self) -> bool {
        let Rest::Coming(body) = self else { return false };
        if body.size_hint().lower() > REST_BYTES_MAX {
            return false;
        }
        timeout(REST_TIME_MAX, read(body)).await.unwrap_or(false)
    }
}

async fn read(mut body: Incoming) -> bool {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > REST_BYTES_MAX {
            return false;
        }
    }
    true
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Whoever asks for it makes hyper ask the client.
        self.announced = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        self.over |= matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.over || self.is_end_stream() {
            return;
        }
        let rest = self.body.take().filter(|_| !self.announced);
        *self.left.0.lock() = Some(rest.map_or(Rest::Announced, Rest::Coming));
    }
}
