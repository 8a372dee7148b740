//! Refusals of requests that could not be read: hyper answers them by itself, without a body, before anything of ours
//! hears of them. They get the body that every refusal has.

use tenure_api::BadReason;

use super::answer::whole;
use super::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::error::Refused;

/// An answer of ours on its way in the place of one of hyper's.
pub(super) struct Instead {
    /// What is sent.
    pub(super) ours: Vec<u8>,
    /// How much of it has been.
    pub(super) sent: usize,
    /// The bytes that it stands for.
    pub(super) theirs: usize,
}

impl Instead {
    /// The answer in the place of these bytes, if they are a refusal of hyper's: no answer of ours with such a status is
    /// without a body.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let status = bytes.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
        let is_whole = bytes.ends_with(b"\r\n\r\n");
        if !is_whole || memchr::memmem::find(bytes, b"\r\ncontent-length: 0\r\n").is_none() {
            return None;
        }
        let refused = match status {
            b"00" => Refused::field("head", BadReason::Syntax, "this is no request of HTTP"),
            b"14" => Refused::uri_too_long(HEAD_BYTES_MAX),
            b"31" => Refused::head_too_large(HEAD_BYTES_MAX, HEADERS_MAX),
            _ => return None,
        };
        Some(Instead { ours: whole(&refused), sent: 0, theirs: bytes.len() })
    }
}
