//! `name=value` lines and forms, for shells.

use axum::body::Body;
use http::{Method, header};

use super::{Api, KEY, Reply, request};

async fn form(api: &Api, path: &str, body: &str) -> Reply {
    let request = request(Method::POST, path, KEY)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "text/plain");
    api.send(request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn a_shell_sends_a_form_and_reads_lines() {
    let api = Api::start().await;
    let grant = form(&api, "/v1/locks/a/acquire", "ttl=30&note=by+hand").await;
    assert_eq!((grant.status, grant.header("content-type")), (200, "text/plain; charset=utf-8"));
    let lines: Vec<&str> = grant.text.lines().collect();
    assert!(
        lines.contains(&"acquired=true") && lines.contains(&"valid_for=29.7"),
        "{}",
        grant.text
    );
    let lease = lines.iter().find_map(|line| line.strip_prefix("lease=")).unwrap();

    let refused = form(&api, "/v1/locks/a/acquire", "").await;
    assert_eq!(refused.status, 409);
    let lines: Vec<&str> = refused.text.lines().collect();
    assert!(lines.contains(&"code=held") && lines.contains(&"acquired=false"), "{}", refused.text);
    assert!(lines.contains(&"holders.0.note=by hand"), "{}", refused.text);

    let released = form(&api, "/v1/locks/a/release", &format!("lease={lease}")).await;
    assert!(released.text.lines().any(|line| line == "released=true"), "{}", released.text);
}

#[tokio::test]
async fn what_a_client_sent_makes_no_line_of_its_own() {
    let api = Api::start().await;
    let refused = form(&api, "/v1/locks/a/acquire", "x%0Aacquired=true").await;
    assert_eq!(refused.status, 400);
    assert!(
        !refused.text.lines().any(|line| line.starts_with("acquired=true")),
        "{}",
        refused.text
    );
}
