//! The command is stopped before anybody else can have the lock, whatever happens to whom.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::server::{Process, Server, children, eventually, kill, run, runs};

/// Writes its token into the fenced file as fast as it can and cannot be asked to stop.
const STUBBORN: &str =
    "trap '' TERM; echo $$; while :; do echo $TENURE_TOKEN >> fenced; sleep 0.005; done";
/// The same as a job of a shell with job control, which has a process group of its own.
const JOB: &str = "set -m; (trap '' TERM; echo $BASHPID; while :; do echo $TENURE_TOKEN >> fenced; \
    [ $said ] || echo; said=1; sleep 0.005; done) & wait";
/// The same as a daemon: in a session of its own, and its parent is gone.
const DAEMON: &str = "(setsid bash -c 'trap \"\" TERM; echo $$; while :; do echo $TENURE_TOKEN >> fenced; \
    [ $said ] || echo; said=1; sleep 0.005; done' &); sleep 1000";
/// Says its process id when another of its group runs, and waits.
const PATIENT: &str = "sleep 1000 & echo $$; wait";

fn holder(server: &Server, flags: &[&str], script: &str) -> (Process, u32) {
    let mut command = server.tenure(["lock", "deploy"]);
    command.args(flags).args(["--", "sh", "-c", script]);
    let mut process = Process::start(&mut command);
    let id = process.line().parse().unwrap();
    (process, id)
}

/// A command of bash that says the process id of its writer, then an empty line once that writes.
fn bash(server: &Server, script: &str) -> (Process, u32) {
    let mut command = server.tenure(["lock", "deploy", "--ttl", "1s", "--", "bash", "-c", script]);
    let mut process = Process::start(&mut command);
    let id = process.line().parse().unwrap();
    (process, id)
}

/// No line of an older token stands behind one of a newer.
fn assert_fenced(server: &Server) {
    let text = fs::read_to_string(server.file("fenced")).unwrap();
    let tokens: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(tokens.is_sorted(), "two holders wrote at once: {tokens:?}");
    assert!(tokens.first() < tokens.last(), "only one holder wrote");
}

#[test]
fn a_killed_wrapper_takes_its_command_with_it() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "2s"], PATIENT);
    let group = command;
    wrapper.signal(Signal::KILL);
    eventually("the command is gone", || !runs(command));
    eventually("its group is gone", || members(group).is_empty());
}

#[test]
fn a_killed_wrappers_command_is_told_at_once_even_if_it_is_stopped() {
    let server = Server::start();
    let script =
        "trap 'echo yes > told; exit' TERM; echo $$; kill -STOP $$; while :; do sleep 0.01; done";
    let (wrapper, command) = holder(&server, &["--ttl", "10m"], script);
    eventually("it is stopped", || {
        fs::read_to_string(format!("/proc/{command}/stat")).unwrap().contains(") T ")
    });
    wrapper.signal(Signal::KILL);
    eventually("the command is gone, long before its time", || !runs(command));
    assert_eq!(fs::read_to_string(server.file("told")).unwrap(), "yes\n");
}

#[test]
fn a_killed_wrappers_command_goes_on_with_no_kill() {
    let server = Server::start();
    let (wrapper, command) =
        holder(&server, &["--ttl", "1s", "--no-kill"], "echo $$; exec sleep 1000");
    wrapper.signal(Signal::KILL);
    let next = run(&mut server.tenure(["lock", "deploy", "--", "true"]));
    assert_eq!(next.code, 0, "{}", next.stderr);
    assert!(runs(command));
    kill(command, Signal::KILL);
    eventually("the command is gone", || !runs(command));
}

#[test]
fn a_killed_wrappers_stubborn_command_ends_before_the_next_holder_begins() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "1s"], STUBBORN);
    wrapper.signal(Signal::KILL);
    next_holder_writes(&server);
    assert!(!runs(command));
    assert_fenced(&server);
}

#[test]
fn a_frozen_wrappers_command_ends_before_the_next_holder_begins() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "1s"], STUBBORN);
    wrapper.signal(Signal::STOP);
    next_holder_writes(&server);
    assert!(!runs(command));
    assert_fenced(&server);
    wrapper.signal(Signal::CONT);
    let done = wrapper.end();
    assert_eq!(done.code, 75, "{}", done.stderr);
}

#[test]
fn jobs_in_groups_of_their_own_end_with_a_killed_wrappers_command() {
    let server = Server::start();
    for script in [JOB, DAEMON] {
        fs::write(server.file("fenced"), "").unwrap();
        let (mut wrapper, writer) = bash(&server, script);
        assert!(wrapper.line().is_empty(), "the writer writes");
        wrapper.signal(Signal::KILL);
        next_holder_writes(&server);
        assert!(!runs(writer), "{script}");
        assert_fenced(&server);
    }
}

#[test]
fn jobs_in_groups_of_their_own_end_with_a_frozen_sentinels_command() {
    let server = Server::start();
    let (wrapper, writer) = bash(&server, JOB);
    kill(children(wrapper.id())[0], Signal::STOP);
    server.signal(Signal::KILL);
    assert_eq!(wrapper.end().code, 75);
    eventually("the job is gone", || !runs(writer));
}

#[test]
fn a_killed_sentinel_takes_the_command_with_it() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &[], PATIENT);
    let sentinel = children(wrapper.id())[0];
    assert_ne!(sentinel, command);
    kill(sentinel, Signal::KILL);
    let done = wrapper.end();
    assert_eq!(done.code, 137, "{}", done.stderr);
    assert!(done.stderr.contains("sentinel"), "{}", done.stderr);
    assert!(!runs(command));
    eventually("its group is gone", || members(command).is_empty());
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 1, "deploy is free");
}

#[test]
fn a_killed_sentinel_takes_the_command_with_it_even_if_the_wrapper_is_frozen() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "1h"], PATIENT);
    let sentinel = children(wrapper.id())[0];
    wrapper.signal(Signal::STOP);
    kill(sentinel, Signal::KILL);
    eventually("the command is gone", || !runs(command));
    // The rest of its group was the wrapper's to end.
    members(command).into_iter().for_each(|left| kill(left, Signal::KILL));
}

#[test]
fn a_frozen_sentinel_does_not_save_the_command_of_a_lost_lock() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "1s"], PATIENT);
    kill(children(wrapper.id())[0], Signal::STOP);
    server.signal(Signal::KILL);
    let done = wrapper.end();
    assert_eq!(done.code, 75, "{}", done.stderr);
    eventually("the command is gone", || !runs(command));
}

#[test]
fn a_server_that_dies_stops_the_command_in_time() {
    let server = Server::start();
    let begun = Instant::now();
    let (wrapper, command) = holder(&server, &["--ttl", "2s"], PATIENT);
    server.signal(Signal::KILL);
    let done = wrapper.end();
    assert_eq!(done.code, 75, "{}", done.stderr);
    assert!(
        done.stderr.contains("deploy") && done.stderr.contains("command stopped"),
        "{}",
        done.stderr
    );
    assert!(!runs(command));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_dies_and_comes_back_costs_nobody_the_lock() {
    let mut server = Server::start();
    let script = "echo $$; read line; echo \"went on with $TENURE_TOKEN\"";
    let (mut wrapper, _) = holder(&server, &[], script);
    let waiter = Process::start(&mut server.tenure(["lock", "deploy", "--", "echo", "next"]));
    server.await_waiters("deploy", 1);
    let token = server.json(&["who", "deploy"])[0]["token"].to_string();
    server.kill_and_start_again();
    server.await_waiters("deploy", 1);
    wrapper.write("\n");
    assert_eq!(wrapper.line(), format!("went on with {token}"));
    let done = wrapper.end();
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    let next = waiter.end();
    assert_eq!((next.code, next.stdout.as_str()), (0, "next\n"), "{}", next.stderr);
}

#[test]
fn a_command_may_run_for_many_times_the_ttl() {
    let server = Server::start();
    let done = run(&mut server.tenure(["lock", "deploy", "--ttl", "0.3", "--", "sleep", "2"]));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}

#[test]
fn a_command_gets_its_grace_before_it_is_killed() {
    let server = Server::start();
    let script = "trap 'echo tidied; exit 0' TERM; echo $$; while :; do sleep 0.02; done";
    let (mut wrapper, _) = holder(&server, &["--ttl", "2s", "--grace", "1s"], script);
    server.signal(Signal::KILL);
    assert_eq!(wrapper.line(), "tidied");
    assert_eq!(wrapper.end().code, 75);
}

#[test]
fn a_broken_lock_stops_the_command_and_names_who_broke_it() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &[], PATIENT);
    let token = server.json(&["who", "deploy"])[0]["token"].to_string();
    server.says(&["break", "deploy", "--token", &token, "--reason", "host died"]);
    let done = wrapper.end();
    assert_eq!(done.code, 75, "{}", done.stderr);
    let said = "tenure: deploy lost (broken by api-key: \"host died\"); command stopped\n";
    assert_eq!(done.stderr, said);
    assert!(!runs(command));
}

#[test]
fn a_broken_locks_stubborn_command_is_ended_soon_however_long_its_grace() {
    let server = Server::start();
    let (wrapper, command) = holder(&server, &["--ttl", "1h", "--grace", "30m"], STUBBORN);
    let token = server.json(&["who", "deploy"])[0]["token"].to_string();
    server.says(&["break", "deploy", "--token", &token, "--reason", "test"]);
    assert_eq!(wrapper.end().code, 75);
    assert!(!runs(command));
}

#[test]
fn with_no_kill_the_command_goes_on_and_the_loss_is_told() {
    let server = Server::start();
    let script = "echo $$; read line; echo went on";
    let (mut wrapper, command) = holder(&server, &["--no-kill"], script);
    let token = server.json(&["who", "deploy"])[0]["token"].to_string();
    server.says(&["break", "deploy", "--token", &token, "--reason", "test"]);
    assert_eq!(run(&mut server.tenure(["lock", "-w", "10", "deploy", "--", "true"])).code, 0);
    assert!(runs(command));
    wrapper.write("\n");
    assert_eq!(wrapper.line(), "went on");
    let done = wrapper.end();
    assert_eq!(done.code, 75);
    assert!(done.stderr.contains("--no-kill"), "{}", done.stderr);
}

#[test]
fn who_signals_the_sentinel_means_the_command() {
    let server = Server::start();
    let script = "trap 'echo heard; exit 0' USR1; echo $$; while :; do sleep 0.01; done";
    let (mut wrapper, command) = holder(&server, &[], script);
    let sentinel = children(wrapper.id())[0];
    assert_ne!(sentinel, command);
    kill(sentinel, Signal::USR1);
    assert_eq!(wrapper.line(), "heard");
    assert_eq!(wrapper.end().code, 0);
}

#[test]
fn the_dead_of_a_long_command_are_not_kept() {
    let server = Server::start();
    // Each of them loses its parent while it runs.
    let script = "for i in 1 2 3 4 5; do (sleep 0.1 &); done; echo $$; read line";
    let (mut wrapper, command) = holder(&server, &[], script);
    let sentinel = children(wrapper.id())[0];
    eventually("only the command is left", || children(sentinel) == [command]);
    wrapper.write("\n");
    assert_eq!(wrapper.end().code, 0);
}

#[test]
fn what_a_command_leaves_behind_by_itself_is_its_own_affair() {
    let server = Server::start();
    let script = "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!";
    let done = run(&mut server.tenure(["lock", "x", "--", "sh", "-c", script]));
    assert_eq!(done.code, 0);
    let left: u32 = done.stdout.trim().parse().unwrap();
    assert!(runs(left));
    kill(left, Signal::KILL);
}

#[test]
fn what_a_signalled_command_leaves_ends_before_the_next_holder_begins() {
    let server = Server::start();
    for (signal, script) in [(Signal::TERM, JOB), (Signal::INT, DAEMON), (Signal::HUP, JOB)] {
        fs::write(server.file("fenced"), "").unwrap();
        let (mut wrapper, writer) = bash(&server, script);
        assert!(wrapper.line().is_empty(), "the writer writes");
        wrapper.signal(signal);
        next_holder_writes(&server);
        assert!(!runs(writer), "{signal:?}: {script}");
        assert_fenced(&server);
        let done = wrapper.end();
        assert_eq!((done.code, done.stderr.as_str()), (128 + signal.as_raw(), ""));
    }
}

#[test]
fn what_a_command_leaves_that_tidies_up_after_a_signal_is_ended_too() {
    let server = Server::start();
    let script = format!("trap 'exit 3' TERM; {JOB}");
    let (mut wrapper, writer) = bash(&server, &script);
    assert!(wrapper.line().is_empty(), "the writer writes");
    wrapper.signal(Signal::TERM);
    next_holder_writes(&server);
    assert!(!runs(writer));
    assert_fenced(&server);
    let done = wrapper.end();
    assert_eq!((done.code, done.stderr.as_str()), (3, ""));
}

#[test]
fn what_a_killed_command_leaves_ends_before_the_next_holder_begins() {
    let server = Server::start();
    let (mut wrapper, writer) = bash(&server, JOB);
    assert!(wrapper.line().is_empty(), "the writer writes");
    let sentinel = children(wrapper.id())[0];
    kill(children(sentinel)[0], Signal::KILL);
    next_holder_writes(&server);
    assert!(!runs(writer));
    assert_fenced(&server);
    assert_eq!(wrapper.end().code, 137);
}

/// Waits for the lock, then writes once.
fn next_holder_writes(server: &Server) {
    let script = "echo $TENURE_TOKEN >> fenced";
    let done = run(&mut server.tenure(["lock", "-w", "20", "deploy", "--", "sh", "-c", script]));
    assert_eq!(done.code, 0, "{}", done.stderr);
}

/// The processes of a group that still run.
fn members(group: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let of_group = rest.split(' ').nth(2) == Some(group.to_string().as_str());
        of_group && runs(*id)
    })
    .collect()
}
