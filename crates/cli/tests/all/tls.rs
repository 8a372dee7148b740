//! Servers with certificates.

use crate::server::{Server, run};

#[test]
fn a_certificate_is_checked_against_the_authority_that_is_named() {
    let server = Server::start_with_certificate("127.0.0.1");
    let ca = server.file("server.crt");
    let line = ["lock", "x", "--", "echo", "in"];
    let trusting = run(server.tenure(line).env("TENURE_CA", &ca));
    assert_eq!((trusting.code, trusting.stdout.as_str()), (0, "in\n"), "{}", trusting.stderr);
    let doubting = run(&mut server.tenure(["--connect-timeout", "0.2", "lock", "x", "--", "true"]));
    assert_eq!(doubting.code, 69, "{}", doubting.stderr);
    assert!(doubting.stderr.contains("certificate"), "{}", doubting.stderr);
}

#[test]
fn plain_text_towards_a_server_with_a_certificate_is_told_of_https() {
    let server = Server::start_with_certificate("127.0.0.1");
    let plain = server.url.replace("https://", "http://");
    for line in [&["who", "x"][..], &["acquire", "x"], &["watch"]] {
        let flags = ["--url", &plain, "--connect-timeout", "0.2"];
        let done = run(&mut server.tenure([&flags, line].concat()));
        assert_eq!(done.code, 69, "{line:?}: {}", done.stderr);
        let told =
            format!("tenure: cannot reach {plain}: the answer is not HTTP; try {}", server.url);
        assert!(done.stderr.starts_with(&told), "{line:?}: {}", done.stderr);
    }
}

#[test]
fn the_health_of_a_server_on_this_machine_is_not_a_matter_of_its_certificate() {
    let server = Server::start_with_certificate("locks.example.org");
    let done = run(&mut server.tenure(["health"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(server.url.starts_with("https://"));
}
