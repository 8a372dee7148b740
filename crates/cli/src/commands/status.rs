//! `tenure status`: the server at a glance.

use clap::Args;
use serde::Serialize;
use tenure_api::{Info, Stats};

use crate::arguments::Global;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Cell, Output, Style, count, span};

/// Show a server's state: node, durability, readiness, counts, who is waited for most
#[derive(Args, Debug)]
pub(crate) struct Arguments {}

/// What `--json` prints.
#[derive(Serialize)]
struct Status<'a> {
    ready: bool,
    reason: Option<String>,
    server: &'a Info,
    stats: &'a Stats,
}

/// Shows it.
pub(crate) fn run(_: Arguments, global: &Global) -> Result<(), Failure> {
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let info = tenure.admin().info().await?;
        let stats = tenure.admin().stats().await?;
        let ready = tenure.admin().ready().await;
        let reason = ready.as_ref().err().map(ToString::to_string);
        let out = connection.out();
        if out.json {
            return out.json(&Status {
                ready: reason.is_none(),
                reason,
                server: &info,
                stats: &stats,
            });
        }
        let url = connection.settings().url.clone().unwrap_or_default();
        show(&url, &info, &stats, reason.as_deref(), out)
    })
}

fn show(
    url: &str,
    info: &Info,
    stats: &Stats,
    not_ready: Option<&str>,
    out: &Output,
) -> Result<(), Failure> {
    let ready = match not_ready {
        None => Cell::new("ready", Style::Good),
        Some(why) => Cell::new(format!("not ready: {why}"), Style::Alert),
    };
    out.cells(&[
        Cell::new(&info.name, Style::Strong),
        Cell::new(format!("{} at {url}:", info.version), Style::Faint),
        ready,
    ])?;
    let roles: Vec<_> =
        info.key.roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
    let rates = &stats.rates;
    let locks = &stats.locks;
    let mut rows = vec![
        (
            "node",
            format!("{}, {} backend, durability {}", info.node, info.backend, info.durability),
        ),
        ("you are", format!("{} ({})", info.key.name, roles.join(", "))),
        ("locks", format!("{} held, {} waited for, {} idle", locks.held, locks.waited, locks.idle)),
        (
            "waiting",
            format!(
                "{}, longest {}",
                count(stats.waiters, "request"),
                span(stats.oldest_wait.get())
            ),
        ),
        ("sessions", stats.sessions.to_string()),
        (
            "per second",
            format!(
                "{:.1} grants, {:.1} releases, {:.1} expiries",
                rates.grants, rates.releases, rates.expiries
            ),
        ),
    ];
    let top: Vec<_> =
        stats.top.iter().map(|top| format!("{} ({})", top.name, top.waiters)).collect();
    if !top.is_empty() {
        rows.push(("most waited", top.join(", ")));
    }
    for (what, value) in rows {
        out.cells(&[Cell::new(format!("{what:<12}"), Style::Faint), value.into()])?;
    }
    Ok(())
}
