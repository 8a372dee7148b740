//! `tenure why`: everything about one lock.

use clap::Args;
use tenure_api::{EndedName, HistoryView, KindName, LockView, Waiter};
use tenure_core::LockName;

use super::who;
use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Cell, Output, Style, span};
use crate::words;

/// Show why a lock is not yours: holders, queue with expected waits, history
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// Past grants to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    history: usize,
}

/// Shows it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let mut view = tenure.why(arguments.name.clone()).await?;
        view.history.truncate(arguments.history);
        let out = connection.out();
        if out.json { out.json(&view) } else { show(&view, out) }
    })
}

fn show(view: &LockView, out: &Output) -> Result<(), Failure> {
    let kind = match view.kind {
        KindName::Semaphore => format!("semaphore of {}", view.permits.get()),
        _ => "plain lock".to_owned(),
    };
    let token = view.latest_token.map_or(String::new(), |token| format!(", latest token {token}"));
    let state = if view.holders.is_empty() { Style::Good } else { Style::Alert };
    out.cells(&[
        Cell::new(view.name.as_str(), Style::Strong),
        Cell::new(format!("({kind}{token}):"), Style::Faint),
        Cell::new(words::holders(view), state),
    ])?;
    if !view.holders.is_empty() {
        out.line("")?;
        who::show_holders(view, out)?;
    }
    if !view.queue.is_empty() {
        out.line("")?;
        let rows: Vec<_> = view.queue.iter().map(waiter).collect();
        out.table(&["", "WAITER", "MODE", "WAITED", "GIVES UP IN", "EXPECTED IN"], &rows)?;
    }
    let hidden = view.queue_length.saturating_sub(view.queue.len());
    if hidden > 0 {
        out.cells(&[Cell::new(format!("and {hidden} more"), Style::Faint)])?;
    }
    if !view.history.is_empty() {
        out.line("")?;
        let rows: Vec<_> = view.history.iter().map(past).collect();
        out.table(&["PAST", "TOKEN", "WAITED", "HELD", "ENDED", "AGO"], &rows)?;
    }
    Ok(())
}

fn waiter(waiter: &Waiter) -> Vec<Cell> {
    vec![
        Cell::new(format!("{}.", waiter.position), Style::Faint),
        Cell::new(words::who(waiter.note.as_ref(), &waiter.owner), Style::Strong),
        words::mode(waiter.mode, waiter.permits.map(|p| p.get()), waiter.weight).into(),
        span(waiter.waited.get()).into(),
        span(waiter.wait_left.get()).into(),
        waiter.expected_in.map_or("?".to_owned(), |expected| span(expected.get())).into(),
    ]
}

fn past(past: &HistoryView) -> Vec<Cell> {
    let by = past.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
    let why = past.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let style = if past.ended == EndedName::Released { Style::Plain } else { Style::Alert };
    let ended = past.ended.as_str().replace('_', " ");
    vec![
        words::who(past.note.as_ref(), &past.owner).into(),
        past.token.map_or("-".to_owned(), |token| token.to_string()).into(),
        span(past.waited.get()).into(),
        past.token.map_or("-".to_owned(), |_| span(past.held.get())).into(),
        Cell::new(format!("{ended}{by}{why}"), style),
        span(past.ended_ago.get()).into(),
    ]
}
