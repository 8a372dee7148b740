//! Several programs want the same lock.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::server::{Process, Server, eventually, run, run_with_input};

#[test]
fn in_two_terminals_the_second_waits_for_the_first() {
    let server = Server::start();
    let first = "echo $TENURE_TOKEN; read line";
    let mut first = Process::start(&mut server.tenure(["lock", "deploy", "--", "sh", "-c", first]));
    let first_token: u64 = first.line().parse().unwrap();

    let second = ["lock", "deploy", "--", "sh", "-c", "echo $TENURE_TOKEN"];
    let mut second = Process::start(&mut server.tenure(second));
    server.await_waiters("deploy", 1);
    assert!(!second.has_ended());

    first.write("done\n");
    assert_eq!(first.end().code, 0);
    let second_token: u64 = second.line().parse().unwrap();
    assert!(second_token > first_token, "{second_token} > {first_token}");
    assert_eq!(second.end().code, 0);
}

#[test]
fn who_does_not_wait_is_told_who_has_it() {
    let server = Server::start();
    let _holder = hold(&server, &["--note", "ann at work"]);
    let done = run(&mut server.tenure(["lock", "-n", "deploy", "--", "true"]));
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.starts_with("tenure: deploy not acquired: held by ann at work for "),
        "{}",
        done.stderr
    );
    assert!(done.stderr.ends_with("(see: tenure why deploy)\n"), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1);
    let done = run(&mut server.tenure(["lock", "-w", "0", "-E", "42", "deploy", "--", "true"]));
    assert_eq!(done.code, 42);
}

#[test]
fn a_wait_that_passes_is_not_acquired() {
    let server = Server::start();
    let _holder = hold(&server, &[]);
    let begun = Instant::now();
    let done = run(&mut server.tenure(["lock", "-w", "0.3", "-E", "9", "deploy", "--", "true"]));
    assert_eq!(done.code, 9, "{}", done.stderr);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(done.stderr.contains("deploy not acquired"), "{}", done.stderr);
    server.await_waiters("deploy", 0);
}

#[test]
fn who_is_interrupted_while_waiting_leaves_the_queue() {
    let server = Server::start();
    let _holder = hold(&server, &[]);
    let waiter = Process::start(&mut server.tenure(["lock", "deploy", "--", "true"]));
    server.await_waiters("deploy", 1);
    waiter.signal(Signal::INT);
    assert_eq!(waiter.end().code, 130);
    assert_eq!(server.json(&["why", "deploy"])["queue_length"], 0);
}

#[test]
fn a_waiter_is_told_its_place_when_it_asks_for_words() {
    let server = Server::start();
    let _holder = hold(&server, &["--note", "ann"]);
    let waiter =
        Process::start(&mut server.tenure(["-v", "lock", "-w", "1.8", "deploy", "--", "true"]));
    let done = waiter.end();
    let told = done.stderr.lines().find(|line| line.contains("waiting for")).unwrap_or_default();
    assert!(told.starts_with("tenure: waiting for deploy: held by ann for "), "{}", done.stderr);
    assert!(told.ends_with(", you are 1st"), "{told}");
}

#[test]
fn shared_holders_are_together_and_an_exclusive_one_is_alone() {
    let server = Server::start();
    let _one = hold(&server, &["-s"]);
    assert_eq!(run(&mut server.tenure(["lock", "-ns", "deploy", "--", "true"])).code, 0);
    assert_eq!(run(&mut server.tenure(["lock", "-nx", "deploy", "--", "true"])).code, 1);
}

#[test]
fn a_semaphore_has_room_for_its_permits() {
    let server = Server::start();
    let _two = hold(&server, &["--permits", "3", "--weight", "2"]);
    let one = ["lock", "-n", "--permits", "3", "deploy", "--", "true"];
    assert_eq!(run(&mut server.tenure(one)).code, 0);
    let two = ["lock", "-n", "--permits", "3", "--weight", "2", "deploy", "--", "true"];
    assert_eq!(run(&mut server.tenure(two)).code, 1);
    let other = run(&mut server.tenure(["lock", "-n", "--permits", "4", "deploy", "--", "true"]));
    assert_eq!(other.code, 64, "{}", other.stderr);
}

#[test]
fn several_locks_are_taken_all_or_none() {
    let server = Server::start();
    let _holder = hold(&server, &[]);
    let both = ["lock", "-n", "a", "deploy", "--", "true"];
    let refused = run(&mut server.tenure(both));
    assert_eq!(refused.code, 1);
    assert_eq!(run(&mut server.tenure(["-q", "who", "a"])).code, 1, "a is free");
    let script = "echo \"$TENURE_LOCK\"; echo \"$TENURE_TOKENS\"; echo \"$TENURE_TOKEN\"";
    let done = run(&mut server.tenure(["lock", "-n", "b", "c", "--", "sh", "-c", script]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let lines: Vec<_> = done.stdout.lines().collect();
    let tokens: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(lines[0], "b");
    assert_eq!(tokens["b"].to_string(), lines[2]);
    assert!(tokens["c"].is_u64());
}

#[test]
fn once_runs_once_in_its_period() {
    let server = Server::start();
    let task = ["once", "nightly", "--every", "1h", "--", "echo", "ran"];
    let first = run(&mut server.tenure(task));
    assert_eq!((first.code, first.stdout.as_str()), (0, "ran\n"), "{}", first.stderr);
    let second = run(&mut server.tenure(task));
    assert_eq!((second.code, second.stdout.as_str(), second.stderr.as_str()), (0, "", ""));
    let third = ["once", "nightly", "--every", "1h", "-E", "3", "--", "echo", "ran"];
    assert_eq!(run(&mut server.tenure(third)).code, 3);
}

#[test]
fn once_that_failed_has_had_its_turn_until_an_operator_breaks_it() {
    let server = Server::start();
    let task = |status: &str| {
        let script = format!("echo ran; exit {status}");
        let line = ["once", "nightly", "--every", "1h", "--", "sh", "-c", &script];
        run(&mut server.tenure(line))
    };
    let failed = task("7");
    assert_eq!((failed.code, failed.stdout.as_str()), (7, "ran\n"), "{}", failed.stderr);
    let skipped = task("0");
    assert_eq!((skipped.code, skipped.stdout.as_str()), (0, ""), "{}", skipped.stderr);
    let said = server.says(&["break", "nightly", "--any", "--reason", "run it again"]);
    assert!(said.starts_with("nightly: nobody had it, and nothing keeps it shut"), "{said}");
    assert_eq!(task("0").stdout, "ran\n");
}

#[test]
fn once_is_skipped_while_it_runs_elsewhere_and_due_again_after_its_period() {
    let server = Server::start();
    let mut running =
        server.tenure(["once", "t", "--every", "0.5", "--", "sh", "-c", "echo on; read line"]);
    let mut running = Process::start(&mut running);
    assert_eq!(running.line(), "on");
    let task = ["once", "t", "--every", "0.5", "-E", "3", "--", "true"];
    assert_eq!(run(&mut server.tenure(task)).code, 3);
    running.write("off\n");
    assert_eq!(running.end().code, 0);
    eventually("it is due again", || run(&mut server.tenure(task)).code == 0);
}

#[test]
fn once_is_stopped_after_its_time() {
    let server = Server::start();
    let begun = Instant::now();
    let task = ["once", "t", "--every", "1h", "--at-most", "0.3", "--", "sleep", "60"];
    let done = run(&mut server.tenure(task));
    assert_eq!(done.code, 128 + 15, "{}", done.stderr);
    assert!(done.stderr.contains("--at-most"), "{}", done.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn one_leads_and_the_others_follow() {
    let server = Server::start();
    let mut follower = Process::start(&mut server.tenure(["elect", "-l", "boss"]));
    let campaign = |value: &str| {
        server.tenure(["elect", "boss", "--value", value, "--", "sh", "-c", "echo led; read x"])
    };
    let mut first = Process::start(&mut campaign("http://one"));
    assert_eq!(first.line(), "led");
    assert_eq!(follower.line(), "http://one");
    let mut second = Process::start(&mut campaign("http://two"));
    server.await_waiters("boss", 1);
    first.close_input();
    assert_eq!(first.end().code, 1, "read without input says 1");
    assert_eq!(second.line(), "led");
    assert_eq!(follower.line(), "http://two");
    second.write("\n");
    assert_eq!(second.end().code, 0);
}

#[test]
fn a_recall_becomes_a_signal() {
    let server = Server::start();
    let script = "trap 'echo asked; exit 5' USR1; echo ready; while :; do sleep 0.02; done";
    let holder = ["lock", "deploy", "--on-recall", "USR1", "--", "sh", "-c", script];
    let mut holder = Process::start(&mut server.tenure(holder));
    assert_eq!(holder.line(), "ready");
    server.says(&["recall", "deploy", "--within", "30s", "--reason", "host goes down"]);
    assert_eq!(holder.line(), "asked");
    let done = holder.end();
    assert_eq!(done.code, 5);
    assert!(done.stderr.contains("deploy is asked for back within"), "{}", done.stderr);
    assert!(done.stderr.contains("host goes down"), "{}", done.stderr);
}

#[test]
fn input_goes_through_the_wrapper_untouched() {
    let server = Server::start();
    let text = "one\ntwo words\n\u{1F512} three".repeat(2_000);
    let done = run_with_input(&mut server.tenure(["lock", "x", "--", "cat"]), &text);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout == text, "{} of {} bytes", done.stdout.len(), text.len());
}

/// Holds `deploy` until it is dropped.
fn hold(server: &Server, flags: &[&str]) -> Process {
    let mut command = server.tenure(["lock", "deploy"]);
    command.args(flags).args(["--", "sh", "-c", "echo held; read line"]);
    let mut holder = Process::start(&mut command);
    assert_eq!(holder.line(), "held");
    holder
}
