//! `tenure break`: an operator ends a grant.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use tenure::{Tenure, Whose};
use tenure_api::{Code, LockView};
use tenure_core::{LockName, Reason, Token};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{clean, span};
use crate::words;

/// End a grant by force
///
/// The next waiter gets the lock at once. The old holder is told, and tenure lock ends its command within a second; but
/// a paused one cannot be stopped: only the token guards what it writes to. To have it back without force: tenure
/// recall. On a terminal the holder is shown and you are asked; a script names the token.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The lock
    #[arg(value_name = "NAME", value_parser = arguments::lock_name)]
    name: LockName,
    /// The holder's token, as tenure who shows it
    #[arg(long, value_name = "N", value_parser = arguments::token)]
    token: Option<Token>,
    /// Why; it is kept in the lock's history
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Reason,
}

/// Breaks it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    if arguments.token.is_none() && !asks {
        let name = crate::output::shell_word(arguments.name.as_str());
        return Err(Failure::usage(format!(
            "whose grant? Give --token N (see: tenure who {name})"
        )));
    }
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let Arguments { name, token, reason } = arguments;
        let token = if asks { confirm(&tenure, &name, token).await? } else { token };
        let token = token.expect("without a terminal the token was checked for");
        let answer = tenure
            .admin()
            .break_grant(name.clone(), Whose::Token(token), reason.as_str())
            .await
            .map_err(|error| match error {
                tenure::Error::Refused(refusal) if refusal.code == Code::Held => Failure::new(
                    Exit::No,
                    format!(
                        "{}: token {token} is not a holder's: {} (see: tenure who)",
                        clean(name.as_str()),
                        clean(&refusal.detail)
                    ),
                ),
                other => Failure::from(other),
            })?;
        let out = connection.out();
        if out.json {
            return out.json(&answer);
        }
        if out.quiet {
            return Ok(());
        }
        let next = if answer.next_granted { "the next waiter has it" } else { "nobody has it now" };
        let name = clean(name.as_str());
        match answer.broken {
            0 => out.line(&format!("{name}: there was nothing to break")),
            _ => out.line(&format!("{name}: token {token} broken, {next}")),
        }
    })
}

/// Shows the holder and asks.
async fn confirm(
    tenure: &Tenure,
    name: &LockName,
    token: Option<Token>,
) -> Result<Option<Token>, Failure> {
    let view = tenure.why(name.clone()).await?;
    let meant = which(&view, token)?;
    let holder = &view
        .holders
        .iter()
        .find(|held| held.holder.token == meant)
        .expect("it was found there")
        .holder;
    let who = words::who(holder.note.as_ref(), &holder.owner);
    let question = format!(
        "tenure: {} is held by {who} for {} (token {meant}). Break it? [y/N] ",
        clean(name.as_str()),
        span(holder.held_for.get())
    );
    let asked = io::stderr().lock().write_all(question.as_bytes());
    asked.map_err(Failure::output)?;
    let mut answer = String::new();
    let heard = io::stdin().lock().read_line(&mut answer);
    heard.map_err(|error| Failure::usage(format!("no answer: {error}")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(Some(meant));
    }
    Err(Failure::new(Exit::No, "nothing was broken"))
}

/// The grant that is meant: that of the token, or the only one.
fn which(view: &LockView, token: Option<Token>) -> Result<Token, Failure> {
    let name = clean(view.name.as_str());
    let held = |token: Token| view.holders.iter().any(|holder| holder.holder.token == token);
    match (token, view.holders.as_slice()) {
        (_, []) => {
            let why = format!("{name}: there is nothing to break ({})", words::holders(view));
            Err(Failure::new(Exit::No, why))
        }
        (Some(token), _) if held(token) => Ok(token),
        (Some(token), _) => {
            let why = format!("{name}: token {token} is not a holder's (see: tenure who)");
            Err(Failure::new(Exit::No, why))
        }
        (None, [only]) => Ok(only.holder.token),
        (None, _) => Err(Failure::usage(format!(
            "{name} has several holders: give --token N (see: tenure who)"
        ))),
    }
}
