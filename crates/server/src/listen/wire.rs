//! A connection's bytes, with a note of when they came and when they were not taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::crowd::Vitals;

pub(super) struct Wire<S> {
    stream: S,
    vitals: Arc<Vitals>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, vitals: Arc<Vitals>) -> Self {
        Wire { stream, vitals }
    }

    fn note<T>(&self, sent: Poll<T>) -> Poll<T> {
        self.vitals.blocked(sent.is_pending());
        sent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        if !new.is_empty() && self.vitals.heard() && is_ambiguous(new) {
            self.vitals.distrust();
        }
        read
    }
}

/// Whether a head has both `Content-Length` and `Transfer-Encoding`, which two programs on the way may read in two
/// ways (RFC 9112 §6.3). Hyper takes the chunks, hides the length and closes after the answer, which is safe; that it
/// is also refused with a 400 is decided here, where the length can still be seen. A head that comes in pieces, or
/// behind another one, gets only hyper's treatment.
fn is_ambiguous(bytes: &[u8]) -> bool {
    let (mut length, mut encoding, mut begin) = (false, false, 0);
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[begin..end];
        if line.trim_ascii_end().is_empty() {
            break;
        }
        length |= has_name(line, b"content-length");
        encoding |= has_name(line, b"transfer-encoding");
        begin = end + 1;
    }
    length && encoding
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(context);
        self.note(sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_shutdown(context);
        self.note(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::is_ambiguous;

    #[test]
    fn a_head_with_two_lengths_is_seen_and_a_body_is_not_looked_at() {
        let both = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-length: 1\r\n\r\n";
        assert!(is_ambiguous(both.as_bytes()));
        let one = "POST / HTTP/1.1\r\ncontent-length: 40\r\n\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(!is_ambiguous(one.as_bytes()));
        assert!(!is_ambiguous(b""));
    }
}
