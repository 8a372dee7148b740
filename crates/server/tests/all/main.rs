//! The service from outside: a real server on a free port, in memory or in a directory of its own, spoken to by HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod doubledutch;
mod fixture;
mod routes;
mod service;
