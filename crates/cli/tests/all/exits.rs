//! Exit statuses, which scripts decide by, and the line that says why.

use rustix::process::Signal;

use crate::server::{Process, Server, run, run_with_input};

#[test]
fn the_commands_own_status_comes_through() {
    let server = Server::start();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let done = run(&mut server.tenure(["lock", "x", "--", "sh", "-c", script]));
        assert_eq!(done.code, code, "{script}: {}", done.stderr);
        assert_eq!(done.stderr, "", "{script}");
    }
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let server = Server::start();
    let print = "printf '<%s>' \"$@\"; exit 7";
    let odd = ["a b", "", "*", "$HOME", "--flag", "-n", "'q\"", "--", "é"];
    let mut command = server.tenure(["lock", "x", "--", "sh", "-c", print, "sh"]);
    let done = run(command.args(odd));
    assert_eq!(done.code, 7);
    assert_eq!(done.stdout, odd.map(|word| format!("<{word}>")).concat());
}

#[test]
fn a_shell_line_is_for_the_shell() {
    let server = Server::start();
    let done = run(server
        .tenure(["lock", "x", "-c", "echo $((40+2)) | cat; exit 3"])
        .env("SHELL", "/bin/sh"));
    assert_eq!((done.code, done.stdout.as_str()), (3, "42\n"));
}

#[test]
fn a_command_that_cannot_be_executed_is_126_or_127() {
    let server = Server::start();
    let absent = run(&mut server.tenure(["lock", "x", "--", "/no/such/program"]));
    assert_eq!(absent.code, 127);
    assert!(absent.stderr.starts_with("tenure: cannot run /no/such/program"), "{}", absent.stderr);
    std::fs::write(server.file("text"), "no program").unwrap();
    let text = server.file("text");
    let done = run(&mut server.tenure(["lock", "x", "--", text.to_str().unwrap()]));
    assert_eq!(done.code, 126);
}

#[test]
fn wrong_usage_is_64_and_says_what_to_do() {
    let server = Server::start();
    for (line, hint) in [
        (&["lock", "deploy"][..], "put it behind --"),
        (&["lock", "--", "true"], "NAME"),
        (&["lock", "deploy", "./deploy.sh"], "put it behind --"),
        (&["lock", "x", "-w", "soon", "--", "true"], "duration"),
        (&["lock", "x", "-s", "-x", "--", "true"], "cannot be used with"),
        (&["lock", "x", "--weight", "2", "--", "true"], "--permits"),
        (&["lock", "x", "--ttl", "1s", "--grace", "2s", "--", "true"], "--grace"),
        (&["lock", "x\u{1b}[2J", "--", "true"], "U+001B"),
        (&["nonsense"], "unrecognized subcommand"),
        (&["once", "x", "--", "true"], "--every"),
        (&["elect", "x", "--", "true"], "--value"),
        (&["break", "x", "--reason", "why"], "--token"),
        (&["break", "x", "--token", "1", "--reason", " "], "say why"),
        (&["break", "x", "--token", "1", "--any", "--reason", "why"], "cannot be used with"),
        (&["renew"], "TENURE_LEASE"),
        (&["release", "--lease", "short"], "32 letters"),
        (&["lock", "x", "--on-recall", "NOISE", "--", "true"], "no signal"),
    ] {
        let done = run(&mut server.tenure(line));
        assert_eq!(done.code, 64, "{line:?}: {}", done.stderr);
        assert!(done.stderr.contains(hint), "{line:?}: {}", done.stderr);
        assert!(!done.stderr.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let server = Server::start();
    for line in [&["--help"][..], &["--version"], &["lock", "--help"], &["-h"], &["help", "once"]] {
        let done = run(&mut server.tenure(line));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line:?}");
        assert!(!done.stdout.is_empty());
    }
}

#[test]
fn a_server_that_is_not_there_is_69() {
    let server = Server::start();
    let mut line = server.tenure([
        "--url",
        "http://127.0.0.1:1",
        "--connect-timeout",
        "0.2",
        "lock",
        "x",
        "--",
        "true",
    ]);
    let done = run(&mut line);
    assert_eq!(done.code, 69, "{}", done.stderr);
    assert!(done.stderr.contains("tenure health"), "{}", done.stderr);
}

#[test]
fn a_server_that_cannot_use_its_data_says_which_way_it_cannot() {
    let server = Server::start();
    let serve = |data: &str| {
        let mut line = server.tenure(["serve", "--listen", "127.0.0.1:0", "--data", data]);
        run(&mut line)
    };
    let in_use = serve("data");
    assert_eq!(in_use.code, 66, "{}", in_use.stderr);
    std::fs::create_dir(server.file("spoiled")).unwrap();
    std::fs::write(server.file("spoiled/log.id"), [7; 8192]).unwrap();
    let damaged = serve("spoiled");
    assert_eq!(damaged.code, 65, "{}", damaged.stderr);
    assert!(damaged.stderr.contains("spoiled/log.id"), "{}", damaged.stderr);
    std::fs::write(server.file("file"), "").unwrap();
    let unreachable = serve("file");
    assert_eq!(unreachable.code, 69, "{}", unreachable.stderr);
    for refused in [in_use, damaged, unreachable] {
        // Beside the log, which is JSON.
        let said = refused.stderr.lines().filter(|line| !line.starts_with('{')).count();
        assert_eq!((refused.stdout.as_str(), said), ("", 1), "{}", refused.stderr);
    }
}

#[test]
fn a_wrong_key_is_77() {
    let server = Server::start();
    let mut line = server.tenure(["lock", "x", "--", "true"]);
    let done = run(line.env("TENURE_API_KEY", "wrong-key-0123456789abcdef0123456789"));
    assert_eq!(done.code, 77, "{}", done.stderr);
    assert!(done.stderr.contains("TENURE_API_KEY"), "{}", done.stderr);
}

#[test]
fn signals_go_on_to_the_command() {
    let server = Server::start();
    let script = "trap 'echo got-1' USR1; trap 'echo got-2' USR2; trap 'echo hup' HUP; trap 'exit 9' INT; \
                  echo ready; while :; do sleep 0.02; done";
    let mut process = Process::start(&mut server.tenure(["lock", "x", "--", "sh", "-c", script]));
    assert_eq!(process.line(), "ready");
    for (signal, said) in [(Signal::USR1, "got-1"), (Signal::USR2, "got-2"), (Signal::HUP, "hup")] {
        process.signal(signal);
        assert_eq!(process.line(), said);
    }
    process.signal(Signal::INT);
    assert_eq!(process.end().code, 9);
}

#[test]
fn a_terminated_command_is_143_and_its_lock_is_free() {
    let server = Server::start();
    let mut process =
        Process::start(&mut server.tenure(["lock", "x", "--", "sh", "-c", "echo ready; sleep 60"]));
    assert_eq!(process.line(), "ready");
    process.signal(Signal::TERM);
    let done = process.end();
    assert_eq!((done.code, done.stderr.as_str()), (143, ""));
    assert_eq!(run(&mut server.tenure(["-q", "who", "x"])).code, 1, "x is free");
}

#[test]
fn health_is_0_or_1() {
    let server = Server::start();
    assert_eq!(run(&mut server.tenure(["health"])).code, 0);
    let elsewhere = run(&mut server.tenure(["health", "--url", "http://127.0.0.1:1"]));
    assert_eq!(elsewhere.code, 1);
    assert!(elsewhere.stderr.contains("is not ready"), "{}", elsewhere.stderr);
}

#[test]
fn completions_are_made_for_every_shell() {
    let server = Server::start();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = server.says(&["completions", shell]);
        assert!(script.contains("hand-over"), "{shell}");
        assert!(!script.contains("__sentinel"), "{shell}");
    }
    let script = server.says(&["completions", "bash"]);
    let parsed = run_with_input(server.program("bash").arg("-n"), &script);
    assert_eq!(parsed.code, 0, "{}", parsed.stderr);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let server = Server::start();
    let script =
        "tenure completions bash | head -n 1 >/dev/null; tenure status | head -n 1 >/dev/null";
    let done = run(server.program("sh").args(["-c", script]));
    assert_eq!(done.stderr, "");
}

#[test]
fn the_program_called_server_is_doubledutch() {
    use std::os::unix::process::CommandExt;
    let server = Server::start();
    let mut command = server.tenure(["nonsense"]);
    let as_server = run(command.arg0("/server"));
    assert_eq!(as_server.code, 64);
    assert!(as_server.stderr.contains("PORT"), "{}", as_server.stderr);
    let named = run(&mut server.tenure(["doubledutch", "8000", "x", "1"]));
    assert_eq!(named.code, 64);
    assert!(named.stderr.contains("n, p, t, h, a, c, k"), "{}", named.stderr);
}
