//! The consensus library behind types of our own: which types it carries, and how they are told to the disk.

pub(crate) mod copy;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use openraft::{BasicNode, CommittedLeaderId, LogId, Membership, Vote};

use crate::outcome::Reply;
use crate::proposal::Proposal;
use crate::wal::record::{Ballot, EntryId, Members};

openraft::declare_raft_types!(
    /// What the library carries. A proposal is shared, so that cache, log and machine have the same one.
    pub(crate) Types:
        D = Arc<Proposal>,
        R = Vec<Reply>,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// An entry of the log as the library has it.
pub(crate) type RaftEntry = openraft::Entry<Types>;
/// A running node.
pub(crate) type Raft = openraft::Raft<Types>;

pub(crate) fn entry_id(id: LogId<u64>) -> EntryId {
    EntryId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id(id: EntryId) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
}

pub(crate) fn ballot(vote: &Vote<u64>) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(ballot: Ballot) -> Vote<u64> {
    let Ballot { term, node, committed } = ballot;
    if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
}

pub(crate) fn members(membership: &Membership<u64, BasicNode>) -> Members {
    let voters = membership.get_joint_config().iter();
    Members {
        voters: voters.map(|set| set.iter().copied().collect()).collect(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
    }
}

pub(crate) fn membership(members: &Members) -> Membership<u64, BasicNode> {
    let voters = members.voters.iter().map(|set| BTreeSet::from_iter(set.iter().copied()));
    let nodes = members.nodes.iter().map(|(id, addr)| (*id, BasicNode::new(addr)));
    Membership::new(voters.collect(), nodes.collect::<BTreeMap<_, _>>())
}
