//! `tenure keys`: API keys made while the server runs.

use std::io::Read;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use sha2::{Digest, Sha256};
use tenure_api::{KeyRequest, KeySecret, KeyView, RoleName, Seconds};
use tenure_core::{KeyName, Prefix};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Cell, Output, Style, clean, span};

/// Longest key read for `hash`.
const KEY_BYTES_MAX: u64 = 4096;
/// Shortest key that a server takes.
const KEY_BYTES_MIN: usize = 16;

/// Make, list, rotate or remove API keys
#[derive(Subcommand, Debug)]
pub(crate) enum Arguments {
    /// Make a key and print it, once
    Add(Box<Add>),
    /// List keys (never their secrets)
    Ls,
    /// Print a new secret for a key; the old one works for a while
    Rotate(Rotate),
    /// Remove a key
    Rm(Remove),
    /// Read a key from standard input and print its SHA-256 for the configuration file
    Hash,
}

/// What a new key may do.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// Its name, as history and logs show it
    #[arg(value_name = "NAME", value_parser = key_name)]
    name: KeyName,
    /// What it may do
    #[arg(long = "role", value_name = "ROLE", required = true, value_enum)]
    roles: Vec<Role>,
    /// The names it sees; end them in / [default: all]
    #[arg(long = "prefix", value_name = "PREFIX", value_parser = arguments::prefix)]
    prefixes: Vec<Prefix>,
    /// Longest ttl it may ask for
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    max_ttl: Option<Duration>,
    /// Most locks it may hold at once
    #[arg(long, value_name = "N")]
    max_held: Option<u32>,
    /// Most requests it may have waiting at once
    #[arg(long, value_name = "N")]
    max_waiting: Option<u32>,
    /// Most sessions it may have open
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,
    /// Most requests a second
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// It works so long
    #[arg(long, value_name = "DUR", value_parser = arguments::duration)]
    expires: Option<Duration>,
}

/// Which key gets another secret.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// Its name
    #[arg(value_name = "NAME", value_parser = key_name)]
    name: KeyName,
    /// How long the old secret works
    #[arg(long, value_name = "DUR", value_parser = arguments::duration, default_value = "1h")]
    overlap: Duration,
}

/// Which key to remove.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Its name
    #[arg(value_name = "NAME", value_parser = key_name)]
    name: KeyName,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// See locks, sessions, changes
    Read,
    /// Take locks, too
    Lock,
    /// Write tables and resources
    Write,
    /// Break, recall, resize, end sessions, manage keys
    Operator,
}

fn key_name(text: &str) -> Result<KeyName, String> {
    KeyName::new(text).map_err(|why| format!("a key's name {why}"))
}

/// Does what was asked.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    if matches!(arguments, Arguments::Hash) {
        return hash(&Output::new(global.json, global.quiet, global.verbose));
    }
    Connection::new(global)?.run(async |connection| {
        let tenure = connection.connect().await?;
        let keys = tenure.admin();
        let out = connection.out();
        match arguments {
            Arguments::Hash => Ok(()),
            Arguments::Add(add) => show_secret(&keys.add_key(request(*add)).await?, out),
            Arguments::Rotate(rotate) => {
                show_secret(&keys.rotate_key(rotate.name, Some(rotate.overlap)).await?, out)
            }
            Arguments::Rm(remove) => {
                keys.remove_key(remove.name.clone()).await?;
                if out.quiet || out.json {
                    Ok(())
                } else {
                    out.line(&format!("{} removed", clean(remove.name.as_str())))
                }
            }
            Arguments::Ls => {
                let list = keys.keys().await?;
                if out.json {
                    return out.json(&list.keys);
                }
                let rows: Vec<_> = list.keys.iter().map(row).collect();
                out.table(&["KEY", "ROLES", "PREFIXES", "EXPIRES", "MADE BY"], &rows)
            }
        }
    })
}

fn request(add: Add) -> KeyRequest {
    let role = |role: &Role| match role {
        Role::Read => RoleName::Read,
        Role::Lock => RoleName::Lock,
        Role::Write => RoleName::Write,
        Role::Operator => RoleName::Operator,
    };
    KeyRequest {
        name: add.name,
        roles: add.roles.iter().map(role).collect(),
        prefixes: add.prefixes,
        max_ttl: add.max_ttl.map(Seconds),
        held: add.max_held,
        waiting: add.max_waiting,
        sessions: add.max_sessions,
        requests_per_second: add.requests_per_second,
        expires: add.expires.map(Seconds),
    }
}

/// The only time that it is seen.
fn show_secret(secret: &KeySecret, out: &Output) -> Result<(), Failure> {
    if out.json {
        return out.json(secret);
    }
    if !out.quiet {
        output::say(&format!("the key of {}, shown this once:", clean(secret.name.as_str())));
    }
    out.line(&clean(&secret.key))
}

fn row(key: &KeyView) -> Vec<Cell> {
    let roles: Vec<_> = key.roles.iter().map(|role| role_word(*role)).collect();
    let prefixes: Vec<_> = key.prefixes.iter().map(|prefix| prefix.as_str()).collect();
    let prefixes = if prefixes.is_empty() { "all".to_owned() } else { prefixes.join(" ") };
    vec![
        Cell::new(key.name.as_str(), Style::Strong),
        roles.join(" ").into(),
        prefixes.into(),
        key.expires_in.map_or("never".to_owned(), |left| format!("in {}", span(left.get()))).into(),
        key.by.as_str().into(),
    ]
}

fn role_word(role: RoleName) -> &'static str {
    match role {
        RoleName::Read => "read",
        RoleName::Lock => "lock",
        RoleName::Write => "write",
        RoleName::Operator => "operator",
    }
}

fn hash(out: &Output) -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(KEY_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::usage(format!("cannot read the key from standard input: {error}"))
    })?;
    let key = text.lines().next().unwrap_or_default().trim();
    if key.is_empty() {
        return Err(Failure::usage("no key came on standard input: tenure keys hash < FILE"));
    }
    if let Some(why) = weakness(key) {
        return Err(Failure::usage(format!("the key {why} (a good one: openssl rand -hex 24)")));
    }
    let digits: String =
        Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    if out.json { out.json(&serde_json::json!({ "sha256": digits })) } else { out.line(&digits) }
}

/// Why a server would not take the key from its configuration, or no client could send it.
fn weakness(key: &str) -> Option<String> {
    if key.len() < KEY_BYTES_MIN {
        let bytes = key.len();
        return Some(format!("has {bytes} characters, at least {KEY_BYTES_MIN} are needed"));
    }
    let unfit = key.bytes().any(|byte| !(0x21..0x7f).contains(&byte));
    unfit.then(|| "has a blank or a character that does not fit into an HTTP header".to_owned())
}
