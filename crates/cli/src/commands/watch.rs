//! `tenure watch`: changes of locks as they happen.

use clap::Args;
use tenure::{Cursor, Event};
use tenure_api::{ActionName, ChangeEvent, ChangesSeen};
use tenure_core::Prefix;

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Cell, Output, Style, span};
use crate::words;

/// Follow changes of locks, in the order in which they happened
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Only names that begin so
    #[arg(value_name = "PREFIX", value_parser = arguments::prefix)]
    prefix: Option<Prefix>,
    /// Go on behind this cursor (--json prints them); 0: from the oldest change kept
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// Follows them until it is interrupted.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let out = connection.out();
        let mut changes = tenure.changes();
        if let Some(prefix) = arguments.prefix {
            changes = changes.prefix(prefix.as_str());
        }
        if let Some(after) = arguments.after {
            changes = changes.from(Cursor::from(after));
        }
        let mut changes = changes.stream().await?;
        while let Some(event) = changes.next().await {
            match event? {
                Event::Change { cursor, change } if out.json => {
                    out.json(&ChangesSeen { cursor: cursor.to_string(), change })?;
                }
                Event::Change { change, .. } => show(&change, out)?,
                _ => {
                    output::say("changes are missing here: history is gone (list again: tenure ls)")
                }
            }
        }
        Ok(())
    })
}

fn show(change: &ChangeEvent, out: &Output) -> Result<(), Failure> {
    let ChangeEvent::Lock { name, action, token, owner, note, by, reason, waited, held, .. } =
        change;
    let style = match action {
        ActionName::Granted => Style::Good,
        ActionName::Queued | ActionName::Released | ActionName::Left => Style::Plain,
        _ => Style::Alert,
    };
    let mut line = vec![
        Cell::new(format!("{:<13}", action.as_str()), style),
        Cell::new(name.as_str(), Style::Strong),
    ];
    line.extend(token.map(|token| Cell::new(format!("token {token}"), Style::Faint)));
    line.extend(owner.as_ref().map(|owner| words::who(note.as_ref(), owner).into()));
    line.extend(
        waited.map(|waited| Cell::new(format!("waited {}", span(waited.get())), Style::Faint)),
    );
    line.extend(held.map(|held| Cell::new(format!("held {}", span(held.get())), Style::Faint)));
    line.extend(by.as_ref().map(|by| Cell::new(format!("by {by}"), Style::Alert)));
    line.extend(reason.as_ref().map(|reason| Cell::from(format!("\"{reason}\""))));
    out.cells(&line)
}
