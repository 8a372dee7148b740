//! The log backend from outside.

#![allow(clippy::unwrap_used, reason = "also in the functions that tests share")]

mod commands;
mod feed;
mod kill;
mod restart;
mod waiting;
