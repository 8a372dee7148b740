//! `tenure ls`: many locks.

use clap::{Args, ValueEnum};
use tenure_api::{LockView, LocksQuery, SortName, StateFilter};
use tenure_core::Prefix;

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Cell, Style, span};
use crate::words;

/// Most locks asked for at once.
const PAGE: usize = 1_000;

/// List locks
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Only names that begin so
    #[arg(value_name = "PREFIX", value_parser = arguments::prefix)]
    prefix: Option<Prefix>,
    /// Only locks that somebody has
    #[arg(long, conflicts_with = "waited")]
    held: bool,
    /// Only locks that somebody waits for
    #[arg(long)]
    waited: bool,
    /// The order; all but `name` list the top of --limit
    #[arg(long, value_enum, default_value_t = Order::Name)]
    sort: Order,
    /// At most so many [default: all with --sort name, else 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By name
    Name,
    /// Longest queue first
    Waiters,
    /// Longest held first
    HeldFor,
}

/// Lists them.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let state = match (arguments.held, arguments.waited) {
        (true, _) => Some(StateFilter::Held),
        (_, true) => Some(StateFilter::Waited),
        _ => None,
    };
    let (sort, all) = match arguments.sort {
        Order::Name => (SortName::Name, usize::MAX),
        Order::Waiters => (SortName::Waiters, 100),
        Order::HeldFor => (SortName::HeldFor, 100),
    };
    let most = arguments.limit.map_or(all, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let out = connection.out();
        let prefix = arguments.prefix.as_ref().map_or("", Prefix::as_str);
        let mut query = LocksQuery { state, sort: Some(sort), ..LocksQuery::default() };
        let mut locks: Vec<LockView> = Vec::new();
        while locks.len() < most {
            query.limit = Some(PAGE.min(most - locks.len()));
            let page = tenure.list(prefix, query.clone()).await?;
            locks.extend(page.locks);
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        if out.json {
            return out.json(&locks);
        }
        let rows: Vec<_> = locks.iter().map(row).collect();
        out.table(&["LOCK", "HOLDER", "HELD", "WAITERS", "TOKEN"], &rows)
    })
}

fn row(view: &LockView) -> Vec<Cell> {
    let first = view.holders.first();
    let more = view.holders.len().saturating_sub(1);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    let holder = first.map_or("-".to_owned(), |held| {
        format!("{}{more}", words::who(held.holder.note.as_ref(), &held.holder.owner))
    });
    let waited = if view.queue_length > 0 { Style::Alert } else { Style::Faint };
    vec![
        Cell::new(view.name.as_str(), Style::Strong),
        holder.into(),
        first.map_or("-".to_owned(), |held| span(held.holder.held_for.get())).into(),
        Cell::new(view.queue_length.to_string(), waited),
        view.latest_token.map_or("-".to_owned(), |token| token.to_string()).into(),
    ]
}
