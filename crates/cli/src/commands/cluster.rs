//! `tenure cluster`: the nodes that agree.

use clap::Subcommand;
use tenure_api::Cluster;

use crate::arguments::Global;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Cell, Output, Style, span};

/// Look at the cluster
#[derive(Subcommand, Debug)]
pub(crate) enum Arguments {
    /// Show the members, who leads, and who lags behind
    Status,
}

/// Shows it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let Arguments::Status = arguments;
    Connection::new(global)?.run(async |connection| {
        let cluster = connection.connect().await?.admin().cluster().await?;
        let out = connection.out();
        if out.json { out.json(&cluster) } else { show(&cluster, out) }
    })
}

fn show(cluster: &Cluster, out: &Output) -> Result<(), Failure> {
    let leader = cluster.leader.map_or("no leader".to_owned(), |id| format!("leader {id}"));
    let name = cluster.cluster.as_deref().unwrap_or("one node");
    let style = if cluster.leader.is_some() { Style::Good } else { Style::Alert };
    out.cells(&[
        Cell::new(name, Style::Strong),
        Cell::new(leader, style),
        Cell::new(format!("term {}", cluster.term), Style::Faint),
    ])?;
    let row = |member: &tenure_api::Member| {
        vec![
            Cell::new(member.id.to_string(), Style::Strong),
            member.peer.as_deref().unwrap_or("-").into(),
            member.role.as_str().into(),
            member.matched.map_or("-".to_owned(), |index| index.to_string()).into(),
            Cell::new(
                member.lag.to_string(),
                if member.lag == 0 { Style::Plain } else { Style::Alert },
            ),
            span(member.last_seen.get()).into(),
        ]
    };
    let rows: Vec<_> = cluster.members.iter().map(row).collect();
    out.table(&["NODE", "PEER", "ROLE", "MATCH", "LAG", "SEEN"], &rows)
}
