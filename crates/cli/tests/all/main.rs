//! The real program against a real server, both of this build.

mod contention;
mod exits;
mod operator;
mod server;
mod shell;
mod stopping;
mod terminal;
