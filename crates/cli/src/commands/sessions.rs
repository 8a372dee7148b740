//! `tenure sessions`: clients that are alive.

use clap::{Args, Subcommand};
use tenure_api::{SessionView, SessionsQuery};
use tenure_core::{Reason, SessionId};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Cell, Output, Style, count, span};

/// Most sessions asked for at once.
const PAGE: usize = 1_000;

/// List, show or end sessions
#[derive(Subcommand, Debug)]
pub(crate) enum Arguments {
    /// List all sessions
    Ls,
    /// Show what a session holds and waits for
    Show(Show),
    /// End a session: everything it holds is free at once
    End(End),
}

/// Which session to show.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Its id
    #[arg(value_name = "ID", value_parser = id)]
    id: SessionId,
}

/// Which session to end, and why.
#[derive(Args, Debug)]
pub(crate) struct End {
    /// Its id
    #[arg(value_name = "ID", value_parser = id)]
    id: SessionId,
    /// Why; it is kept in the history of its locks
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Reason,
}

fn id(text: &str) -> Result<SessionId, String> {
    // A handle has its secret behind a dot; the id is enough to name it, and the secret is not repeated.
    let id = text.split('.').next().unwrap_or_default();
    id.parse().map_err(|_| "a session's id looks like s-Hk2v9".to_owned())
}

/// Does what was asked.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let out = connection.out();
        match arguments {
            Arguments::Ls => list(connection, out).await,
            Arguments::Show(show) => {
                let view = connection.connect().await?.admin().session(show.id).await?;
                if out.json { out.json(&view) } else { describe(&view, out) }
            }
            Arguments::End(end) => {
                let ended = connection
                    .connect()
                    .await?
                    .admin()
                    .end_session(end.id, end.reason.as_str())
                    .await?;
                if out.json {
                    return out.json(&ended);
                }
                let released = count(ended.released, "lock");
                let cancelled = count(ended.cancelled, "waiting request");
                out.line(&format!("{}: {released} released, {cancelled} cancelled", end.id))
            }
        }
    })
}

async fn list(connection: &Connection, out: &Output) -> Result<(), Failure> {
    let tenure = connection.connect().await?;
    let mut query = SessionsQuery { limit: Some(PAGE), ..SessionsQuery::default() };
    let mut sessions: Vec<SessionView> = Vec::new();
    loop {
        let page = tenure.admin().sessions(query.clone()).await?;
        sessions.extend(page.sessions);
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    if out.json {
        return out.json(&sessions);
    }
    let rows: Vec<_> = sessions.iter().map(row).collect();
    out.table(&["SESSION", "NOTE", "KEY", "IDLE", "EXPIRES", "HOLDS", "WAITS"], &rows)
}

fn row(view: &SessionView) -> Vec<Cell> {
    vec![
        Cell::new(view.id.to_string(), Style::Strong),
        view.note.as_ref().map_or("-", |note| note.as_str()).into(),
        view.key.as_str().into(),
        span(view.idle_for.get()).into(),
        span(view.expires_in.get()).into(),
        view.grants.len().to_string().into(),
        view.waits.len().to_string().into(),
    ]
}

fn describe(view: &SessionView, out: &Output) -> Result<(), Failure> {
    let expires = format!("expires in {} unless kept alive", span(view.expires_in.get()));
    out.cells(&[
        Cell::new(view.id.to_string(), Style::Strong),
        view.note.as_ref().map_or("", |note| note.as_str()).into(),
        Cell::new(format!("(key {}, {expires})", view.key), Style::Faint),
    ])?;
    for grant in &view.grants {
        out.cells(&[
            "holds".into(),
            Cell::new(grant.name.as_str(), Style::Strong),
            format!("token {}", grant.token).into(),
        ])?;
    }
    for name in &view.waits {
        out.cells(&["waits for".into(), Cell::new(name.as_str(), Style::Strong)])?;
    }
    Ok(())
}
