//! The real program against a real server, both of this build.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contention;
mod exits;
mod operator;
mod server;
mod shell;
mod stopping;
mod terminal;
mod tls;
