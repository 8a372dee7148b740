//! How one synced write looks on disk. Pure: bytes in, frames out.
//!
//! ```text
//! magic u32 · payload bytes u32 · sequence u64 · crc32 u32 · payload
//! ```
//! All numbers little endian. The checksum covers the salt of the segment (its log's id and its number), the other
//! fields and the payload, so a frame left over from the former life of a recycled file never passes for one of
//! this.

/// Bytes in front of the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 20;

const MAGIC: u32 = u32::from_le_bytes(*b"TnFr");

/// What the checksums of one segment start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt {
    /// The log's random id.
    pub(crate) log: u64,
    /// The segment's number.
    pub(crate) segment: u64,
}

/// A frame found at some offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// + 1 with every frame of the log.
    pub(crate) sequence: u64,
    /// What was written.
    pub(crate) payload: &'a [u8],
    /// Bytes of it all.
    pub(crate) bytes: usize,
}

/// Puts the header in front of a payload that was written after `FRAME_HEADER_BYTES` bytes of room.
pub(crate) fn seal(buffer: &mut [u8], sequence: u64, salt: Salt) {
    let payload_bytes = buffer.len() - FRAME_HEADER_BYTES;
    let payload_bytes = u32::try_from(payload_bytes).expect("a frame is smaller than a segment");
    buffer[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    buffer[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    buffer[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = checksum(salt, &buffer[..16], &buffer[FRAME_HEADER_BYTES..]);
    buffer[16..20].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at `offset`, if there is a whole and sound one.
pub(crate) fn frame_at(bytes: &[u8], offset: usize, salt: Salt) -> Option<Frame<'_>> {
    let header = bytes.get(offset..offset.checked_add(FRAME_HEADER_BYTES)?)?;
    if u32_at(header, 0) != MAGIC {
        return None;
    }
    let payload_bytes = usize::try_from(u32_at(header, 4)).ok()?;
    let start = offset + FRAME_HEADER_BYTES;
    let payload = bytes.get(start..start.checked_add(payload_bytes)?)?;
    if checksum(salt, &header[..16], payload) != u32_at(header, 16) {
        return None;
    }
    let sequence = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
    Some(Frame { sequence, payload, bytes: FRAME_HEADER_BYTES + payload_bytes })
}

/// The first sound frame at or after `offset` with a sequence of at least `sequence`: proof that what lies before it
/// was synced once.
pub(crate) fn later_frame(bytes: &[u8], offset: usize, sequence: u64, salt: Salt) -> Option<usize> {
    let first = MAGIC.to_le_bytes()[0];
    let written = without_zeros(bytes).get(offset..)?;
    let candidates = written.iter().enumerate().filter(|(_, byte)| **byte == first);
    candidates
        .map(|(distance, _)| offset + distance)
        .find(|at| frame_at(bytes, *at, salt).is_some_and(|frame| frame.sequence >= sequence))
}

// A segment is mostly zeros behind its end; comparing pages skips them fast. No frame begins with a zero.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const PAGE: usize = 4096;
    let mut end = bytes.len();
    while end >= PAGE && bytes[end - PAGE..end] == [0; PAGE] {
        end -= PAGE;
    }
    &bytes[..end]
}

fn checksum(salt: Salt, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.log.to_le_bytes());
    hasher.update(&salt.segment.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt { log: 7, segment: 3 };

    fn sealed(payload: &[u8], sequence: u64, salt: Salt) -> Vec<u8> {
        let mut buffer = vec![0; FRAME_HEADER_BYTES];
        buffer.extend_from_slice(payload);
        seal(&mut buffer, sequence, salt);
        buffer
    }

    #[test]
    fn a_sealed_frame_is_read_back() {
        let bytes = sealed(b"commands", 5, SALT);
        let frame = frame_at(&bytes, 0, SALT).unwrap();
        assert_eq!(
            (frame.sequence, frame.payload, frame.bytes),
            (5, &b"commands"[..], bytes.len())
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_breaks_the_frame() {
        let sound = sealed(b"commands", 5, SALT);
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(frame_at(&bytes, 0, SALT), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_life_of_the_file_is_none() {
        let bytes = sealed(b"commands", 5, SALT);
        assert_eq!(frame_at(&bytes, 0, Salt { segment: 4, ..SALT }), None);
        assert_eq!(frame_at(&bytes, 0, Salt { log: 8, ..SALT }), None);
    }

    #[test]
    fn a_later_frame_is_found_at_any_offset() {
        let mut bytes = vec![b'T'; 33];
        bytes.extend(sealed(b"late", 9, SALT));
        assert_eq!(later_frame(&bytes, 2, 9, SALT), Some(33));
        assert_eq!(later_frame(&bytes, 2, 10, SALT), None);
    }
}
