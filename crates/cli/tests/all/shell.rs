//! Locks that outlive one command, in the hands of a shell.

use crate::server::{Server, run, run_with_input};

fn script(server: &Server, script: &str) -> (i32, Vec<String>, String) {
    let done = run(server.program("sh").args(["-c", script]));
    (done.code, done.stdout.lines().map(str::to_owned).collect(), done.stderr)
}

#[test]
fn a_shell_evals_what_acquire_exports() {
    let server = Server::start();
    let (code, lines, said) = script(
        &server,
        r#"set -e
        eval "$(tenure acquire "it's a lock" --ttl 1m --export)"
        echo "$TENURE_LOCK"
        tenure -q check "$TENURE_LOCK" "$TENURE_TOKEN"
        tenure -q who "$TENURE_LOCK"
        tenure -q renew --ttl 2m
        tenure -q release
        tenure -q who "$TENURE_LOCK" || echo free"#,
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(lines, ["it's a lock", "free"], "{said}");
}

#[test]
fn a_lease_comes_from_standard_input_and_never_has_to_be_an_argument() {
    let server = Server::start();
    let lease = server.says(&["acquire", "a", "-n"]);
    assert_eq!(lease.trim().len(), 32);
    let renewed = run_with_input(&mut server.tenure(["renew", "a", "--lease", "-"]), &lease);
    assert_eq!(renewed.code, 0, "{}", renewed.stderr);
    let released = run_with_input(&mut server.tenure(["release", "--lease", "-"]), &lease);
    assert_eq!(released.code, 0, "{}", released.stderr);
    assert_eq!(run(&mut server.tenure(["-q", "who", "a"])).code, 1);
}

#[test]
fn a_lost_lease_is_75() {
    let server = Server::start();
    let lease = server.says(&["acquire", "a", "--ttl", "0.1"]);
    crate::server::eventually("it runs out", || {
        run(&mut server.tenure(["-q", "who", "a"])).code == 1
    });
    for command in ["renew", "release", "hand-over"] {
        let mut told = server.tenure([command, "a"]);
        let mut of_environment = server.tenure([command]);
        for line in
            [told.env("TENURE_TOKENS", r#"{"a":1}"#), of_environment.env("TENURE_LOCK", "a")]
        {
            let done = run(line.env("TENURE_LEASE", lease.trim()));
            assert_eq!(done.code, 75, "{command}: {}", done.stderr);
            let begins = "tenure: lock `a` is no longer ours: ";
            assert!(done.stderr.starts_with(begins), "{command}: {}", done.stderr);
        }
    }
    for command in ["renew", "release"] {
        let unsure = run(server.tenure([command, "b"]).env("TENURE_LEASE", lease.trim()));
        assert_eq!(unsure.code, 75, "{command}: {}", unsure.stderr);
        let begins = "tenure: the lock is no longer ours: ";
        assert!(
            unsure.stderr.starts_with(begins),
            "nobody knows that it is b's: {}",
            unsure.stderr
        );
    }
    let nameless = run(server.tenure(["renew"]).env("TENURE_LEASE", lease.trim()));
    assert!(nameless.stderr.starts_with("tenure: the lock is no longer"), "{}", nameless.stderr);
}

#[test]
fn a_hand_over_without_a_lock_asks_for_one() {
    let server = Server::start();
    let done = run(&mut server.tenure(["hand-over"]));
    assert_eq!(done.code, 64, "{}", done.stderr);
    assert!(done.stderr.contains("TENURE_LOCK"), "{}", done.stderr);
}

#[test]
fn a_plain_lock_has_no_size_to_change() {
    let server = Server::start();
    server.says(&["acquire", "a"]);
    let done = run(&mut server.tenure(["resize", "a", "3"]));
    assert_eq!(done.code, 64, "{}", done.stderr);
    assert!(done.stderr.contains("a is in use as a plain lock"), "{}", done.stderr);
}

#[test]
fn a_refused_field_is_named_once() {
    let server = Server::start();
    let done = run(&mut server.tenure(["acquire", "a", "--ttl", "400d"]));
    assert_eq!(done.code, 64, "{}", done.stderr);
    assert_eq!(done.stderr.matches("`ttl`").count(), 1, "{}", done.stderr);
}

#[test]
fn a_grant_changes_hands_without_being_free() {
    let server = Server::start();
    let (code, lines, said) = script(
        &server,
        r#"eval "$(tenure acquire deploy --export)"
        old=$TENURE_LEASE; token=$TENURE_TOKEN
        eval "$(tenure hand-over deploy --export)"
        test "$TENURE_TOKEN" -gt "$token" && test "$TENURE_LEASE" != "$old" && echo "new lease, higher token"
        TENURE_LEASE=$old tenure release; echo "old lease: $?"
        tenure -q check deploy "$token" || echo "old token: stale"
        tenure -q release && echo released"#,
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        lines,
        ["new lease, higher token", "old lease: 75", "old token: stale", "released"],
        "{said}"
    );
}

#[test]
fn json_is_what_machines_get() {
    let server = Server::start();
    let granted = server.json(&["acquire", "a/b", "--note", "a note"]);
    assert_eq!(granted["acquired"], true);
    let token = granted["token"].to_string();
    assert_eq!(server.json(&["who", "a/b"])[0]["note"], "a note");
    assert_eq!(server.json(&["why", "a/b"])["state"], "held");
    assert_eq!(server.json(&["ls", "a/"])[0]["name"], "a/b");
    assert_eq!(server.json(&["ls", "--sort", "waiters", "--held"])[0]["name"], "a/b");
    assert_eq!(server.json(&["ls", "--waited"]), serde_json::json!([]));
    assert_eq!(server.json(&["check", "a/b", &token])["current"], true);
    let status = server.json(&["status"]);
    assert_eq!((&status["ready"], &status["stats"]["locks"]["held"]), (&true.into(), &1.into()));
    assert!(server.json(&["sessions", "ls"]).is_array());
    assert!(server.json(&["keys", "ls"]).is_array());
    assert!(server.json(&["cluster", "status"])["members"].is_array());
    assert_eq!(server.json(&["health"])["ready"], true);
}

#[test]
fn what_is_not_for_a_terminal_has_no_colour() {
    let server = Server::start();
    server.says(&["acquire", "a"]);
    for line in [&["why", "a"][..], &["who", "a"], &["ls"], &["status"]] {
        let printed = server.says(line);
        assert!(!printed.contains('\u{1b}'), "{line:?}: {printed}");
        assert!(!printed.lines().any(|line| line.ends_with(' ')), "{line:?}: {printed}");
    }
}

#[test]
fn changes_are_followed_in_order() {
    let server = Server::start();
    let mut watch = crate::server::Process::start(
        &mut server.tenure(["--json", "watch", "a/", "--after", "0"]),
    );
    server.says(&["acquire", "b/1"]);
    server.says(&["lock", "a/1", "--", "true"]);
    let actions: Vec<String> = (0..2)
        .map(|_| {
            let change: serde_json::Value = serde_json::from_str(&watch.line()).unwrap();
            assert_eq!(change["name"], "a/1");
            change["action"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(actions, ["granted", "released"]);
}

#[test]
fn the_lease_of_another_lock_is_not_given_back_by_mistake() {
    let server = Server::start();
    let (code, lines, said) = script(
        &server,
        r#"eval "$(tenure acquire deploy --export)"
        tenure release backup; echo $?
        tenure -q who deploy && echo "still held""#,
    );
    assert_eq!((code, lines), (0, vec!["64".to_owned(), "still held".to_owned()]));
    assert!(said.contains("TENURE_LEASE is the lease of deploy"), "{said}");
}

#[test]
fn a_directory_serves_one_program_without_a_server() {
    let server = Server::start();
    let url = format!("file:{}", server.file("own").display());
    let done = run(&mut server.tenure([
        "--url",
        &url,
        "lock",
        "a",
        "--",
        "sh",
        "-c",
        "echo $TENURE_TOKEN",
    ]));
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"), "{}", done.stderr);
    let again = run(&mut server.tenure([
        "--url",
        &url,
        "lock",
        "a",
        "--",
        "sh",
        "-c",
        "echo $TENURE_TOKEN",
    ]));
    assert_eq!((again.code, again.stdout.as_str()), (0, "2\n"), "{}", again.stderr);
}
