//! An answer's body that keeps its request in progress until the last of it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::crowd::InProgress;

/// A body; an endless one (a stream of changes) keeps its connection from counting as idle.
pub(super) struct Counted {
    body: axum::body::Body,
    _in_progress: Option<InProgress>,
}

impl Counted {
    /// A body of known size is as good as sent; only one without an end counts on.
    pub(super) fn new(body: axum::body::Body, in_progress: InProgress) -> Self {
        let endless = body.size_hint().exact().is_none();
        Counted { body, _in_progress: endless.then_some(in_progress) }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
