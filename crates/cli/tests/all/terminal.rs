//! On a terminal: who has it, who is asked, what is shown. `script` lends one.

use std::process::Command;

use crate::server::{Process, Server, eventually, run};

/// Runs a shell line on a terminal of its own.
fn on_terminal(server: &Server, line: &str) -> Command {
    let mut command = server.program("script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]).env("SHELL", "/bin/sh");
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    command
}

#[test]
fn the_command_has_the_terminal_and_gives_it_back() {
    let server = Server::start();
    let inner = "tenure lock x -- sh -c 'ps -o tpgid=,pgid= -p $$'; ps -o tpgid=,pgid= -p $$";
    let done = run(&mut on_terminal(&server, inner));
    let pairs: Vec<Vec<&str>> =
        done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(pairs.len(), 2, "{}", done.stdout);
    assert_eq!(pairs[0][0], pairs[0][1], "the command's group is in the foreground");
    assert_eq!(pairs[1][0], pairs[1][1], "and the shell's is again");
    assert_ne!(pairs[0][1], pairs[1][1]);
}

#[test]
fn in_a_pipe_the_reader_of_keys_keeps_the_terminal() {
    let server = Server::start();
    let inner = "tenure lock x -- sh -c 'ps -o tpgid=,pgid= -p $$' | cat";
    let done = run(&mut on_terminal(&server, inner));
    let ids: Vec<&str> = done.stdout.split_whitespace().collect();
    assert_ne!(ids[0], ids[1], "{}", done.stdout);
}

#[test]
fn a_command_in_a_pipe_that_reads_keys_gets_the_terminal_when_it_asks() {
    let server = Server::start();
    let inner = "tenure lock x -- sh -c 'echo ready; read line; echo \"read $line\"' | cat";
    let mut process = Process::start(&mut on_terminal(&server, inner));
    assert_eq!(process.line(), "ready");
    process.write("a key\n");
    let done = process.end();
    assert!(done.stdout.contains("read a key"), "{}", done.stdout);
    assert_eq!(done.code, 0);
}

#[test]
fn a_key_interrupts_the_command() {
    let server = Server::start();
    let inner = "tenure lock x -- sh -c 'trap \"echo interrupted; exit 4\" INT; echo ready; while :; do sleep 0.02; done'";
    let mut process = Process::start(&mut on_terminal(&server, inner));
    assert_eq!(process.line(), "ready");
    process.write("\u{3}");
    let done = process.end();
    assert!(done.stdout.contains("interrupted"), "{}", done.stdout);
    assert_eq!(done.code, 4);
}

#[test]
fn a_break_shows_the_holder_and_asks() {
    let server = Server::start();
    server.says(&["acquire", "deploy", "--note", "ann@ci-3"]);
    let line = "tenure break deploy --reason test";
    let mut refused = Process::start(&mut on_terminal(&server, line));
    refused.write("n\n");
    let refused = refused.end();
    assert!(refused.stdout.contains("deploy is held by ann@ci-3 for"), "{}", refused.stdout);
    assert_eq!(refused.code, 1);
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 0);
    let mut agreed = Process::start(&mut on_terminal(&server, line));
    agreed.write("y\n");
    assert_eq!(agreed.end().code, 0);
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 1);
}

#[test]
fn people_get_colour_unless_they_refuse() {
    let server = Server::start();
    server.says(&["acquire", "deploy"]);
    let coloured = run(&mut on_terminal(&server, "tenure why deploy"));
    assert!(coloured.stdout.contains("\u{1b}[1mdeploy"), "{}", coloured.stdout);
    let plain = run(on_terminal(&server, "tenure why deploy").env("NO_COLOR", "1"));
    assert!(!plain.stdout.contains('\u{1b}'), "{}", plain.stdout);
}

#[test]
fn a_stopped_job_goes_on_as_one() {
    let server = Server::start();
    // An interactive shell has job control; ^Z reaches the command's group only.
    let mut shell = on_terminal(&server, "bash --norc --noprofile -i");
    shell.env("PS1", "").env("TERM", "dumb");
    let ask = "echo ready\nread line\necho \"went on: $line\"\n";
    std::fs::write(server.file("ask"), ask).unwrap();
    let mut shell = Process::start(&mut shell);
    shell.write("tenure lock x --ttl 1m -- sh ask\n");
    await_line(&mut shell, "ready");
    shell.write("\u{1a}");
    await_line(&mut shell, "[1]+  Stopped");
    shell.write("echo still $((1+1)) here\n");
    await_line(&mut shell, "still 2 here");
    shell.write("fg\n");
    await_line(&mut shell, "tenure lock x --ttl 1m -- sh ask");
    shell.write("again\n");
    await_line(&mut shell, "went on: again");
    shell.write("exit\n");
    assert_eq!(shell.end().code, 0);
    eventually("x is free", || run(&mut server.tenure(["-q", "who", "x"])).code == 1);
}

/// Reads on to a line that begins so.
fn await_line(process: &mut Process, beginning: &str) {
    while !process.line().starts_with(beginning) {}
}
