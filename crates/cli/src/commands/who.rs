//! `tenure who`: who holds a lock.

use clap::Args;
use tenure_api::LockView;
use tenure_core::LockName;

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{self, Cell, Output, Style, span};
use crate::words;

/// Show who holds a lock (with -q: exit 0 held, 1 free)
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
}

/// Shows it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let view = tenure.why(arguments.name.clone()).await?;
        let out = connection.out();
        match (out.quiet, out.json) {
            (true, _) if view.holders.is_empty() => Err(Failure::silent(Exit::No)),
            (true, _) => Ok(()),
            (_, true) => out.json(&view.holders),
            _ => show_holders(&view, out),
        }
    })
}

/// The holders as a table, or that there is none.
pub(super) fn show_holders(view: &LockView, out: &Output) -> Result<(), Failure> {
    if view.holders.is_empty() {
        return out.line(&format!(
            "{}: {}",
            output::clean(view.name.as_str()),
            words::holders(view)
        ));
    }
    let row = |held: &tenure_api::LockHolder| {
        let holder = &held.holder;
        let recall = held.recall.as_ref();
        let recall = recall.map(|r| format!("asked for back within {}", span(r.within.get())));
        vec![
            Cell::new(words::who(holder.note.as_ref(), &holder.owner), Style::Strong),
            words::mode(holder.mode, holder.permits.map(|p| p.get()), holder.weight).into(),
            holder.token.to_string().into(),
            span(holder.held_for.get()).into(),
            span(holder.expires_in.get()).into(),
            holder.session.map_or("-".to_owned(), |id| id.to_string()).into(),
            Cell::new(held.key.as_str(), Style::Plain),
            Cell::new(recall.unwrap_or_default(), Style::Alert),
        ]
    };
    let rows: Vec<_> = view.holders.iter().map(row).collect();
    out.table(&["HOLDER", "MODE", "TOKEN", "HELD", "EXPIRES", "SESSION", "KEY", ""], &rows)
}
