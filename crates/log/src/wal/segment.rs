//! The files of the log: their names and their headers. Pure.

use serde::{Deserialize, Serialize};

use super::frame::Salt;
use super::record::{Ballot, EntryId};

/// Room for the header in front of the first frame.
pub(crate) const HEADER_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"TENURSEG";
const IDENTITY_MAGIC: &[u8; 8] = b"TENURLOG";
// Raised when an older program could misread a newer log.
const FORMAT: u32 = 1;
const PREFIX_BYTES: usize = 20;

/// A segment while it is made.
pub(crate) const SEGMENT_TEMPORARY: &str = "segment.tmp";

/// Whose log this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Random, made with the log: files of two logs never pass for one another.
    pub(crate) log: u64,
    /// The node in its cluster.
    pub(crate) node: u64,
}

impl Identity {
    /// What the checksums of a segment start from.
    pub(crate) fn salt(self, segment: u64) -> Salt {
        Salt { log: self.log, segment }
    }
}

/// What a segment's first page says: enough to forget every segment before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Whose.
    pub(crate) identity: Identity,
    /// The segment's number, also in its name.
    pub(crate) number: u64,
    /// The size of its file, which never changes: a shorter one lost its end.
    pub(crate) bytes: u64,
    /// The sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// The segment before it, and where that one ended. What lies behind that end in it is void: a frame whose sync
    /// failed was written again at the start of this segment.
    pub(crate) previous: Option<(u64, u64)>,
    /// The log as it was then.
    pub(crate) durable: Durable,
}

/// What is known of the log besides its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    /// The last vote.
    pub(crate) vote: Option<Ballot>,
    /// How far it is committed, at least.
    pub(crate) committed: Option<EntryId>,
    /// How far it is purged.
    pub(crate) purged: Option<EntryId>,
    /// The last entry.
    pub(crate) last: Option<EntryId>,
}

/// What the first page of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// A sound header.
    Header(Box<Header>),
    /// Zeros, or less than a page: the file was prepared and never used.
    Prepared,
    /// Ours, but not sound.
    Broken(String),
    /// Not ours, or not of this version.
    Foreign(String),
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}.seg")
}

/// The number in a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// A first page.
pub(crate) fn encode_header(header: &Header) -> Vec<u8> {
    let mut page = sealed(MAGIC, &postcard::to_stdvec(header).expect("plain data can be encoded"));
    assert!(page.len() <= HEADER_BYTES, "a header fits its page");
    page.resize(HEADER_BYTES, 0);
    page
}

/// Reads the first page of the segment with this number.
pub(crate) fn read_header(file: &[u8], identity: Identity, number: u64) -> FirstPage {
    let page = &file[..file.len().min(HEADER_BYTES)];
    if page.iter().all(|byte| *byte == 0) {
        return FirstPage::Prepared;
    }
    let header: Header = match opened(MAGIC, page) {
        Ok(header) => header,
        Err(page) => return page,
    };
    if header.identity != identity {
        return FirstPage::Foreign("it belongs to another log".into());
    }
    if header.number != number {
        return FirstPage::Foreign(format!("it is segment {} under another name", header.number));
    }
    FirstPage::Header(Box::new(header))
}

/// The content of the identity file.
pub(crate) fn encode_identity(identity: Identity) -> Vec<u8> {
    sealed(IDENTITY_MAGIC, &postcard::to_stdvec(&identity).expect("plain data can be encoded"))
}

/// Reads the identity file.
pub(crate) fn read_identity(file: &[u8]) -> Result<Identity, FirstPage> {
    opened(IDENTITY_MAGIC, file)
}

/// A page: magic, format, length, checksum, body.
pub(super) fn sealed(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let mut page = Vec::with_capacity(HEADER_BYTES);
    page.extend_from_slice(magic);
    page.extend_from_slice(&FORMAT.to_le_bytes());
    page.extend_from_slice(&u32::try_from(body.len()).expect("a small body").to_le_bytes());
    let crc = checksum(&page, body);
    page.extend_from_slice(&crc.to_le_bytes());
    page.extend_from_slice(body);
    page
}

/// The body of a page.
pub(super) fn opened<T: serde::de::DeserializeOwned>(
    magic: &[u8; 8],
    page: &[u8],
) -> Result<T, FirstPage> {
    let Some((known, prefix)) = page.split_at_checked(magic.len()) else {
        return Err(FirstPage::Broken("it is cut off".into()));
    };
    // A page of which only the beginning was written has zeros where the rest belongs.
    if magic.iter().zip(known).any(|(ours, found)| ours != found && *found != 0) {
        return Err(FirstPage::Foreign("it begins with something else".into()));
    }
    let Some((prefix, rest)) = prefix.split_at_checked(PREFIX_BYTES - magic.len()) else {
        return Err(FirstPage::Broken("it is cut off".into()));
    };
    let number = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("4 bytes"));
    let body = usize::try_from(number(4)).ok().and_then(|bytes| rest.get(..bytes));
    let sound = body.filter(|body| checksum(&page[..16], body) == number(8));
    let sound = sound.filter(|_| known == magic);
    match (sound, number(0)) {
        (Some(body), FORMAT) => postcard::from_bytes(body)
            .map_err(|error| FirstPage::Broken(format!("its first page is unreadable: {error}"))),
        (Some(_), format) => Err(FirstPage::Foreign(format!(
            "it is of format {format}, this program reads format {FORMAT}"
        ))),
        (None, _) => Err(FirstPage::Broken("the checksum of its first page is wrong".into())),
    }
}

fn checksum(prefix: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { log: 9, node: 1 };

    fn header() -> Header {
        let durable = Durable {
            vote: Some(Ballot { term: 1, node: 1, committed: true }),
            ..Durable::default()
        };
        Header {
            identity: IDENTITY,
            number: 4,
            bytes: 70_000,
            first_sequence: 88,
            previous: Some((3, 70_000)),
            durable,
        }
    }

    #[test]
    fn a_header_is_read_back() {
        let page = encode_header(&header());
        assert_eq!(read_header(&page, IDENTITY, 4), FirstPage::Header(Box::new(header())));
    }

    #[test]
    fn a_file_of_another_log_or_name_is_foreign() {
        let page = encode_header(&header());
        let other = Identity { log: 10, node: 1 };
        assert!(matches!(read_header(&page, other, 4), FirstPage::Foreign(_)));
        assert!(matches!(read_header(&page, IDENTITY, 5), FirstPage::Foreign(_)));
        assert!(matches!(read_header(b"#!/bin/sh", IDENTITY, 4), FirstPage::Foreign(_)));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let sound = encode_header(&header());
        let used = sound.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for bit in 0..used * 8 {
            let mut page = sound.clone();
            page[bit / 8] ^= 1 << (bit % 8);
            let read = read_header(&page, IDENTITY, 4);
            assert!(matches!(read, FirstPage::Broken(_) | FirstPage::Foreign(_)), "bit {bit}");
        }
    }

    #[test]
    fn only_our_own_names_are_segments() {
        assert_eq!(segment_number(&segment_name(0xabc)), Some(0xabc));
        for name in ["log-1.seg", "log-000000000000000g.seg", "log-00000000000000AB.seg", "x"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
