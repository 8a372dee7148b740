//! The commands, one file each.

mod acquire;
mod bench;
mod break_grant;
mod check;
mod cluster;
mod completions;
pub(crate) mod doubledutch;
mod drain;
mod elect;
mod hand_over;
mod health;
mod keys;
mod lock;
mod ls;
mod once;
mod recall;
mod release;
mod renew;
mod resize;
mod serve;
mod sessions;
mod status;
mod watch;
mod who;
mod why;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::arguments::Global;
use crate::failure::Failure;

/// Distributed locks with fencing tokens, queues and sessions.
#[derive(Parser, Debug)]
#[command(name = "tenure", version, propagate_version = false, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Lock(lock::Arguments),
    Once(once::Arguments),
    Elect(elect::Arguments),
    Acquire(acquire::Arguments),
    Renew(renew::Arguments),
    Release(release::Arguments),
    HandOver(hand_over::Arguments),
    Check(check::Arguments),
    Who(who::Arguments),
    Why(why::Arguments),
    Ls(ls::Arguments),
    Watch(watch::Arguments),
    Recall(recall::Arguments),
    Break(break_grant::Arguments),
    Resize(resize::Arguments),
    #[command(subcommand)]
    Sessions(sessions::Arguments),
    #[command(subcommand)]
    Keys(keys::Arguments),
    Serve(serve::Arguments),
    Doubledutch(doubledutch::Arguments),
    Drain(drain::Arguments),
    Status(status::Arguments),
    Health(health::Arguments),
    #[command(subcommand)]
    Cluster(cluster::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
}

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return misunderstood(&error),
    };
    match carry_out(line.command, &line.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn misunderstood(error: &clap::Error) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Who cannot be shown the help has closed the output.
    let _ = error.print();
    if asked_for { ExitCode::SUCCESS } else { ExitCode::from(64) }
}

fn carry_out(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Lock(arguments) => lock::run(arguments, global),
        Command::Once(arguments) => once::run(arguments, global),
        Command::Elect(arguments) => elect::run(arguments, global),
        Command::Acquire(arguments) => acquire::run(arguments, global),
        Command::Renew(arguments) => renew::run(arguments, global),
        Command::Release(arguments) => release::run(arguments, global),
        Command::HandOver(arguments) => hand_over::run(arguments, global),
        Command::Check(arguments) => check::run(arguments, global),
        Command::Who(arguments) => who::run(arguments, global),
        Command::Why(arguments) => why::run(arguments, global),
        Command::Ls(arguments) => ls::run(arguments, global),
        Command::Watch(arguments) => watch::run(arguments, global),
        Command::Recall(arguments) => recall::run(arguments, global),
        Command::Break(arguments) => break_grant::run(arguments, global),
        Command::Resize(arguments) => resize::run(arguments, global),
        Command::Sessions(arguments) => sessions::run(arguments, global),
        Command::Keys(arguments) => keys::run(arguments, global),
        Command::Serve(arguments) => serve::run(arguments, global),
        Command::Doubledutch(arguments) => doubledutch::explain(&arguments),
        Command::Drain(arguments) => drain::run(arguments, global),
        Command::Status(arguments) => status::run(arguments, global),
        Command::Health(arguments) => health::run(arguments, global),
        Command::Cluster(arguments) => cluster::run(arguments, global),
        Command::Bench(arguments) => bench::run(arguments, global),
        Command::Completions(arguments) => completions::run(arguments),
    }
}
