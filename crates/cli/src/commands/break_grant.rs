//! `tenure break`: an operator ends a grant.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use tenure::{Error, Tenure, Whose};
use tenure_api::{BreakAnswer, Code, LockView};
use tenure_core::{LockName, Reason, Token};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{clean, count, span};
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
    /// Whoever holds it; and what keeps it shut without a holder (tenure once, a lock delay) ends too
    #[arg(long, conflicts_with = "token")]
    any: bool,
    /// Why; it is kept in the lock's history
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Reason,
}

impl Arguments {
    /// Which grant the command line names.
    fn whose(&self) -> Option<Whose> {
        if self.any { Some(Whose::Anyone) } else { self.token.map(Whose::Token) }
    }
}

/// Breaks it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let whose = arguments.whose();
    if whose.is_none() && !asks {
        let name = crate::output::shell_word(arguments.name.as_str());
        return Err(Failure::usage(format!(
            "whose grant? Give --token N (see: tenure who {name})"
        )));
    }
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let Arguments { name, reason, .. } = arguments;
        let whose = if asks { Some(confirm(&tenure, &name, whose).await?) } else { whose };
        let whose = whose.expect("without a terminal it was checked for");
        let answer = tenure.admin().break_grant(name.clone(), whose, reason.as_str()).await;
        let answer = answer.map_err(|error| not_broken(&name, whose, error))?;
        let out = connection.out();
        if out.json {
            return out.json(&answer);
        }
        if out.quiet { Ok(()) } else { out.line(&broken(&name, whose, &answer)) }
    })
}

fn not_broken(name: &LockName, whose: Whose, error: Error) -> Failure {
    match (error, whose) {
        (Error::Refused(refusal), Whose::Token(token)) if refusal.code == Code::Held => {
            let name = clean(name.as_str());
            let detail = clean(&refusal.detail);
            let why =
                format!("{name}: token {token} is not a holder's: {detail} (see: tenure who)");
            Failure::new(Exit::No, why)
        }
        (other, _) => Failure::from(other),
    }
}

/// What was broken, and who has it now.
fn broken(name: &LockName, whose: Whose, answer: &BreakAnswer) -> String {
    let name = clean(name.as_str());
    let next = if answer.next_granted { "the next waiter has it" } else { "nobody has it now" };
    match (whose, answer.broken) {
        (Whose::Token(_), 0) => format!("{name}: there was nothing to break"),
        (Whose::Token(token), _) => format!("{name}: token {token} broken, {next}"),
        (Whose::Anyone, 0) => format!("{name}: nobody had it, and nothing keeps it shut; {next}"),
        (Whose::Anyone, holders) => format!("{name}: {} broken, {next}", count(holders, "grant")),
    }
}

/// Shows the holder, or what keeps it shut, and asks.
async fn confirm(tenure: &Tenure, name: &LockName, whose: Option<Whose>) -> Result<Whose, Failure> {
    let view = tenure.why(name.clone()).await?;
    let (meant, is) = match whose {
        Some(Whose::Anyone) => (Whose::Anyone, held_by_any(&view)),
        Some(Whose::Token(token)) => held_by(&view, which(&view, Some(token))?),
        None => held_by(&view, which(&view, None)?),
    };
    let question = format!("tenure: {} {is}. Break it? [y/N] ", clean(name.as_str()));
    let asked = io::stderr().lock().write_all(question.as_bytes());
    asked.map_err(Failure::output)?;
    let mut answer = String::new();
    let heard = io::stdin().lock().read_line(&mut answer);
    heard.map_err(|error| Failure::usage(format!("no answer: {error}")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(meant);
    }
    Err(Failure::new(Exit::No, "nothing was broken"))
}

/// A few words about whoever holds, or about what keeps it shut.
fn held_by_any(view: &LockView) -> String {
    let is = if view.holders.is_empty() { "has no holder:" } else { "is" };
    format!("{is} {}", words::holders(view))
}

/// The grant with this token, which is there, and a few words about its holder.
fn held_by(view: &LockView, token: Token) -> (Whose, String) {
    let held = view.holders.iter().find(|held| held.holder.token == token);
    let holder = &held.expect("it was found there").holder;
    let who = words::who(holder.note.as_ref(), &holder.owner);
    let held_for = span(holder.held_for.get());
    (Whose::Token(token), format!("is held by {who} for {held_for} (token {token})"))
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
