//! A connection's bytes, with a note of when they came and when they were not taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::crowd::Vitals;
use super::unread::Instead;

pub(super) struct Wire<S> {
    stream: S,
    vitals: Arc<Vitals>,
    head: Head,
    instead: Option<Instead>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, vitals: Arc<Vitals>) -> Self {
        Wire { stream, vitals, head: Head::default(), instead: None }
    }

    fn listen(&mut self, bytes: &[u8]) {
        if self.vitals.heard() {
            self.head = Head { goes_on: true, ..Head::default() };
        }
        if self.head.goes_on && self.head.is_ambiguous_with(bytes) {
            self.vitals.distrust();
        }
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
        if !new.is_empty() {
            self.listen(new);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Sends an answer of ours for these bytes, if they are one that nobody understands. Whoever sends them hears that they
    /// are gone when ours are.
    fn poll_instead(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let mut instead = self.instead.take().or_else(|| Instead::of(bytes))?;
        while instead.sent < instead.ours.len() {
            let rest = &instead.ours[instead.sent..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Ok(0))),
                Poll::Ready(Ok(sent)) => instead.sent += sent,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => {
                    self.instead = Some(instead);
                    return Some(Poll::Pending);
                }
            }
        }
        Some(Poll::Ready(Ok(instead.theirs)))
    }
}

/// What has been seen of a request's head: whether it has both `Content-Length` and `Transfer-Encoding`, which two
/// programs on the way may read in two ways (RFC 9112 §6.3). Hyper takes the chunks, hides the length and closes after
/// the answer, which is safe; that it is also refused with a 400 is decided here, where the length can still be seen.
/// A head that came in one packet behind another request gets only hyper's treatment.
#[derive(Default)]
struct Head {
    goes_on: bool,
    length: bool,
    encoding: bool,
    /// The beginning of the line that is being read.
    line: [u8; LINE_BYTES_KEPT],
    kept: usize,
}

/// Enough of a line to know the two names.
const LINE_BYTES_KEPT: usize = 18;

impl Head {
    /// Goes on with the bytes that came next.
    fn is_ambiguous_with(&mut self, bytes: &[u8]) -> bool {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.keep(&bytes[begin..end]);
            begin = end + 1;
            if !self.end_line() {
                self.goes_on = false;
                return self.length && self.encoding;
            }
        }
        self.keep(&bytes[begin..]);
        false
    }

    fn keep(&mut self, part: &[u8]) {
        let part = &part[..part.len().min(LINE_BYTES_KEPT - self.kept)];
        self.line[self.kept..self.kept + part.len()].copy_from_slice(part);
        self.kept += part.len();
    }

    /// Notes what the line was. False if it was empty: the head is over.
    fn end_line(&mut self) -> bool {
        let line = &self.line[..self.kept];
        self.length |= has_name(line, b"content-length");
        self.encoding |= has_name(line, b"transfer-encoding");
        let is_empty = line.trim_ascii_end().is_empty();
        self.kept = 0;
        !is_empty
    }
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
        let sent = match self.poll_instead(context, bytes) {
            Some(sent) => sent,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        self.note(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let instead = match slices {
            [bytes] => self.poll_instead(context, bytes),
            _ => None,
        };
        let sent = match instead {
            Some(sent) => sent,
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
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
    use super::Head;

    /// Whether the head is ambiguous if its bytes come in parts of this size.
    fn is_ambiguous(head: &str, part_bytes: usize) -> bool {
        let mut seen = Head { goes_on: true, ..Head::default() };
        head.as_bytes().chunks(part_bytes).any(|part| seen.goes_on && seen.is_ambiguous_with(part))
    }

    #[test]
    fn a_head_with_two_lengths_is_seen_and_a_body_is_not_looked_at() {
        let both = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-length: 1\r\n\r\n";
        let one = "POST / HTTP/1.1\r\ncontent-length: 40\r\n\r\ntransfer-encoding: chunked\r\n\r\n";
        for part_bytes in 1..=both.len() + 1 {
            assert!(is_ambiguous(both, part_bytes), "in parts of {part_bytes}");
            assert!(!is_ambiguous(one, part_bytes), "in parts of {part_bytes}");
        }
    }
}
