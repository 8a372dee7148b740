//! What operators do.

use crate::server::{Process, Server, eventually, run, run_with_input};

#[test]
fn a_break_needs_the_holders_token() {
    let server = Server::start();
    let token = server.json(&["acquire", "deploy"])["token"].as_u64().unwrap();
    let wrong = (token + 1).to_string();
    let refused =
        run(&mut server.tenure(["break", "deploy", "--token", &wrong, "--reason", "test"]));
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 0);
    let broken =
        server.says(&["break", "deploy", "--token", &token.to_string(), "--reason", "test"]);
    assert!(broken.contains("broken"), "{broken}");
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 1);
    let again = run(&mut server.tenure(["break", "deploy", "--token", &wrong, "--reason", "test"]));
    let said = format!("tenure: deploy: token {wrong} is not a holder's: nobody has the lock");
    assert!(again.code == 1 && again.stderr.starts_with(&said), "{}", again.stderr);
    let why = server.says(&["why", "deploy"]);
    assert!(why.contains("broken by ") && why.contains(": test"), "{why}");
}

#[test]
fn a_break_of_whoever_holds_needs_no_token() {
    let server = Server::start();
    server.says(&["acquire", "deploy", "-s"]);
    server.says(&["acquire", "deploy", "-s"]);
    let said = server.says(&["break", "deploy", "--any", "--reason", "test"]);
    assert_eq!(said.trim(), "deploy: 2 grants broken, nobody has it now");
    assert_eq!(run(&mut server.tenure(["-q", "who", "deploy"])).code, 1);
}

#[test]
fn a_resize_grants_who_now_fits() {
    let server = Server::start();
    server.says(&["acquire", "pool", "--permits", "1", "--weight", "1"]);
    assert_eq!(
        run(&mut server.tenure(["resize", "pool", "2"])).code,
        64,
        "one permit is a plain lock"
    );
    server.says(&["acquire", "gang", "--permits", "2", "--weight", "2"]);
    let mut waiter = server.tenure(["lock", "--permits", "2", "gang", "--", "echo", "in"]);
    let mut waiter = Process::start(&mut waiter);
    server.await_waiters("gang", 1);
    let resized = server.says(&["resize", "gang", "3"]);
    assert!(resized.contains("1 waiter granted"), "{resized}");
    assert_eq!(waiter.line(), "in");
}

#[test]
fn a_session_is_shown_and_ended() {
    let server = Server::start();
    let script = "echo held; sleep 1000";
    let mut holder = server.tenure(["lock", "deploy", "--note", "ann", "--", "sh", "-c", script]);
    let mut holder = Process::start(&mut holder);
    assert_eq!(holder.line(), "held");
    let sessions = server.json(&["sessions", "ls"]);
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    let shown = server.says(&["sessions", "show", &id]);
    assert!(shown.contains("holds deploy token"), "{shown}");
    let ended = server.says(&["sessions", "end", &id, "--reason", "host died"]);
    assert!(ended.contains("1 lock released"), "{ended}");
    let done = holder.end();
    assert_eq!(done.code, 75, "{}", done.stderr);
    assert!(done.stderr.contains("lost (broken by api-key: \"host died\")"), "{}", done.stderr);
    let unknown = run(&mut server.tenure(["sessions", "show", "s-nobody"]));
    assert_ne!(unknown.code, 0);
}

#[test]
fn a_key_does_what_its_roles_say_and_no_more() {
    let server = Server::start();
    let key = server.says(&["-q", "keys", "add", "ci", "--role", "lock", "--prefix", "ci/"]);
    let file = server.file("ci-key");
    std::fs::write(&file, &key).unwrap();
    let with_key =
        |arguments: &[&str]| run(server.tenure(arguments).env("TENURE_API_KEY_FILE", &file));
    assert_eq!(with_key(&["lock", "ci/build", "--", "true"]).code, 0);
    let outside = with_key(&["lock", "deploy", "--", "true"]);
    assert_eq!(outside.code, 77, "{}", outside.stderr);
    let break_it = with_key(&["break", "ci/build", "--token", "1", "--reason", "test"]);
    assert_eq!(break_it.code, 77, "{}", break_it.stderr);
    let listed = server.says(&["keys", "ls"]);
    assert!(listed.contains("ci/"), "{listed}");
    assert!(!listed.contains(key.trim()), "a key is seen once");
    let rotated = server.says(&["-q", "keys", "rotate", "ci", "--overlap", "0"]);
    assert_ne!(rotated, key);
    server.says(&["keys", "rm", "ci"]);
    eventually("the key is refused", || with_key(&["lock", "ci/build", "--", "true"]).code == 77);
}

#[test]
fn a_keys_hash_is_for_the_configuration() {
    let server = Server::start();
    let done = run_with_input(&mut server.tenure(["keys", "hash"]), "a-key-of-sixteen\n");
    let sha256 = "9334280a032a1029ecb9756fec6a57db7ed8aac9449a826f1ed5fa3ba03aebb5";
    assert_eq!((done.code, done.stdout.trim()), (0, sha256));
    for weak in ["short\n", "fifteen-letters\n", "a key with several blanks\n"] {
        let done = run_with_input(&mut server.tenure(["keys", "hash"]), weak);
        assert_eq!((done.code, done.stdout.as_str()), (64, ""), "{weak}: {}", done.stderr);
    }
}

#[test]
fn a_person_sees_holders_queue_and_history() {
    let server = Server::start();
    server.says(&["lock", "deploy", "--note", "past run", "--", "true"]);
    let mut holder = server.tenure([
        "lock",
        "deploy",
        "--note",
        "ann@ci-3",
        "--",
        "sh",
        "-c",
        "echo held; read x",
    ]);
    let mut holder = Process::start(&mut holder);
    assert_eq!(holder.line(), "held");
    let waiter =
        Process::start(&mut server.tenure(["lock", "deploy", "--note", "bob", "--", "true"]));
    server.await_waiters("deploy", 1);
    let why = server.says(&["why", "deploy"]);
    for part in [
        "deploy (plain lock, latest token",
        "held by ann@ci-3 for",
        "1.  bob",
        "past run",
        "released",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let list = server.says(&["ls", "--sort", "waiters"]);
    assert!(list.lines().nth(1).unwrap().starts_with("deploy  ann@ci-3"), "{list}");
    let status = server.says(&["status"]);
    assert!(status.contains("1 held, 1 waited for"), "{status}");
    assert!(status.contains("deploy (1)"), "{status}");
    holder.write("\n");
    assert_eq!(holder.end().code, 0);
    assert_eq!(waiter.end().code, 0);
}

#[test]
fn the_default_note_names_user_host_and_program_without_its_arguments() {
    let server = Server::start();
    let mut holder = server.tenure(["lock", "x", "--", "sh", "-c", "echo held; read secret"]);
    let mut holder = Process::start(&mut holder);
    assert_eq!(holder.line(), "held");
    let note = server.json(&["who", "x"])[0]["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("ann@") && note.ends_with(" sh"), "{note}");
    assert!(!note.contains("secret"), "{note}");
}

#[test]
fn a_drained_server_says_so_and_ends() {
    let server = Server::start();
    server.says(&["drain", "--within", "1s"]);
    eventually("it is gone", || run(&mut server.tenure(["health"])).code == 1);
}

#[test]
fn serve_check_prints_what_would_be_used_and_no_key() {
    let server = Server::start();
    let secret = "a-very-secret-key-0123456789abcdef";
    let checked = run(server
        .tenure(["serve", "--check"])
        .env("TENURE_API_KEY", secret)
        .env_remove("TENURE_API_KEY_FILE"));
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stdout.contains("7420"), "{}", checked.stdout);
    assert!(!checked.stdout.contains(secret));
    let wrong = run(server
        .tenure(["serve", "--check", "--listen", "0.0.0.0:1"])
        .env_remove("TENURE_API_KEY_FILE"));
    assert_eq!(wrong.code, 64, "{}", wrong.stderr);
}
