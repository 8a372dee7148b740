//! A batch on its way through the log: the commands for the machine, and their bytes for the disk.

use tenure_core::{Batch, Command, Time, WallTime};

/// What one entry of the log proposes.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// The commands, stamped.
    pub(crate) batch: Batch,
    /// The same as bytes, so that they are encoded once for the disk and all peers.
    pub(crate) body: Vec<u8>,
    /// Whether callers of this process wait for the answers.
    pub(crate) ours: bool,
}

impl Proposal {
    /// Encodes a batch of this process.
    pub(crate) fn new(batch: Batch) -> Self {
        let encoded = "plain data can be encoded";
        let head = (batch.now, batch.wall);
        let mut body = postcard::to_extend(&head, Vec::with_capacity(256)).expect(encoded);
        body = postcard::to_extend(&batch.commands, body).expect(encoded);
        Proposal { batch, body, ours: true }
    }

    /// Reads a batch that was written before; an error tells what is wrong with it.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, String> {
        let wrong = |error| format!("not a batch of this version: {error}");
        type Content = (Time, WallTime, Vec<Command>);
        let ((now, wall, commands), rest) =
            postcard::take_from_bytes::<Content>(body).map_err(wrong)?;
        if !rest.is_empty() {
            return Err(format!("{} bytes are left over after a batch", rest.len()));
        }
        Ok(Proposal { batch: Batch { now, wall, commands }, body: body.to_vec(), ours: false })
    }
}

/// The stamp of a batch that was written before.
pub(crate) fn stamp(body: &[u8]) -> Result<Time, String> {
    let (now, _) = postcard::take_from_bytes::<Time>(body)
        .map_err(|error| format!("not a batch of this version: {error}"))?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tenure_core::Acquire;

    use super::*;

    #[test]
    fn a_proposal_is_read_back() {
        let acquire = Acquire::exclusive("deploy", Duration::from_secs(30));
        let commands = vec![Command::Tick, Command::Acquire(Box::new(acquire))];
        let batch =
            Batch { now: Time::from_micros(77), wall: WallTime(1_790_000_000_000), commands };
        let proposal = Proposal::new(batch);
        let read = Proposal::decode(&proposal.body).unwrap();
        assert_eq!((&read.batch, read.ours), (&proposal.batch, false));
        assert_eq!(stamp(&proposal.body), Ok(Time::from_micros(77)));
    }
}
