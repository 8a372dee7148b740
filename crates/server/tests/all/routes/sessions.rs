//! Sessions: liveness that grants hang on.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{Method, header};
use serde_json::{Value, json};
use tower::Service as _;

use super::{Api, KEY, request};

#[tokio::test]
async fn a_session_is_opened_kept_alive_and_ended() {
    let api = Api::start().await;
    let opened = api.post("/v1/sessions", json!({"note": "worker 1"})).await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    let (id, handle) = (opened.json["id"].as_str().unwrap(), &opened.json["session"]);
    assert!(handle.as_str().unwrap().starts_with(&format!("{id}.")));
    assert_eq!((&opened.json["ttl"], &opened.json["valid_for"]), (&json!(15), &json!(14.85)));
    assert_eq!(opened.header("location"), format!("/v1/sessions/{id}"));

    let kept = api.post(&format!("/v1/sessions/{id}/keepalive"), json!({"session": handle})).await;
    assert_eq!(
        (kept.status, &kept.json["lost"], &kept.json["recalled"]),
        (200, &json!([]), &json!([]))
    );
    let grant = api.post("/v1/locks/a/acquire", json!({"session": handle})).await.json;
    assert_eq!((&grant["session"], &grant["ttl"]), (&json!(id), &json!(15)));
    let renewed = api.post("/v1/renew", json!({"session": handle})).await;
    assert_eq!((renewed.status, &renewed.json["ttl"]), (200, &json!(15)), "{}", renewed.text);

    let shown = api.get(&format!("/v1/sessions/{id}")).await.json;
    assert_eq!(shown["grants"], json!([{"name": "a", "token": grant["token"]}]));
    assert_eq!(
        (&shown["note"], &shown["waits"], &shown["rows"]),
        (&json!("worker 1"), &json!([]), &json!(0))
    );
    assert!(
        !shown.to_string().contains(handle.as_str().unwrap()),
        "a handle is its session's secret"
    );
    assert_eq!(api.get("/v1/sessions").await.json["sessions"][0]["id"], id);

    let end = format!("/v1/sessions/{id}/end");
    let ended = api.post(&end, json!({"session": handle})).await;
    assert_eq!(ended.json, json!({"released": 1, "cancelled": 0, "rows": 0}));
    let again = api.post(&end, json!({"session": handle})).await;
    assert_eq!(again.json, json!({"released": 0, "cancelled": 0, "rows": 0}));
    let late = api.post(&format!("/v1/sessions/{id}/keepalive"), json!({"session": handle})).await;
    assert_eq!((late.code(), &late.json["reason"]), ((410, "session_ended"), &json!("closed")));
    let late = api.post("/v1/locks/a/acquire", json!({"session": handle})).await;
    assert_eq!((late.code(), &late.json["acquired"]), ((410, "session_ended"), &json!(false)));
    assert_eq!(api.get(&format!("/v1/sessions/{id}")).await.code(), (404, "not_found"));
}

#[tokio::test]
async fn a_session_may_stand_in_the_header_but_not_contradict_the_body() {
    let api = Api::start().await;
    let ((_, one), (_, two)) = (api.session().await, api.session().await);
    let ask = |header: &str, body: Value| {
        let request = request(Method::POST, "/v1/acquire", KEY)
            .header(header::CONTENT_TYPE, "application/json")
            .header("tenure-session", header);
        request.body(Body::from(body.to_string())).expect("a request")
    };
    let grant = api.send(ask(&one, json!({"name": "a"}))).await;
    assert_eq!(grant.status, 200, "{}", grant.text);
    assert!(one.starts_with(grant.json["session"].as_str().unwrap()));
    let cases = [
        (two.as_str(), json!({"name": "b", "session": one}), "session"),
        (two.as_str(), json!({"name": "b", "ttl": 30}), "ttl"),
        ("s-1.nonsense", json!({"name": "b"}), "tenure-session"),
    ];
    for (header, body, field) in cases {
        let refused = api.send(ask(header, body)).await;
        assert_eq!((refused.code(), &refused.json["field"]), ((400, "bad_request"), &json!(field)));
    }
}

#[tokio::test]
async fn the_handle_and_nothing_else_acts_for_a_session() {
    let api = Api::start().await;
    let ((id, handle), (other, _)) = (api.session().await, api.session().await);
    let forged = format!("{id}.{}", "0".repeat(32));
    for session in [&forged, &format!("s-zzzzzz.{}", "0".repeat(32))] {
        let refused = api.post("/v1/locks/a/acquire", json!({"session": session})).await;
        assert_eq!(refused.code(), (410, "session_ended"));
        assert_eq!(refused.json["reason"], "unknown");
    }
    let keep =
        api.post(&format!("/v1/sessions/{other}/keepalive"), json!({"session": handle})).await;
    assert_eq!((keep.code(), &keep.json["field"]), ((400, "bad_request"), &json!("session")));
    let end = api.post(&format!("/v1/sessions/{id}/end"), json!({"session": forged})).await;
    assert_eq!(end.code(), (404, "not_found"));
    assert_eq!(api.get(&format!("/v1/sessions/{id}")).await.status, 200);
}

#[tokio::test]
async fn an_operator_ends_a_session_with_a_reason() {
    let api = Api::start().await;
    let (id, handle) = api.session().await;
    api.post("/v1/locks/a/acquire", json!({"session": handle})).await;
    let end = format!("/v1/sessions/{id}/end");
    let user = api.key("user", &["lock"], &[]).await;
    let refused = api.post_as(&user, &end, json!({"reason": "r"})).await;
    assert_eq!((refused.code(), &refused.json["needs"]), ((403, "forbidden"), &json!("operator")));
    assert_eq!(api.post(&end, json!({})).await.json["field"], "session");
    assert_eq!(api.post(&end, json!({"reason": "host died"})).await.json["released"], 1);
    let late = api.post(&format!("/v1/sessions/{id}/keepalive"), json!({"session": handle})).await;
    assert_eq!((late.code(), &late.json["reason"]), ((410, "session_ended"), &json!("broken")));
    assert_eq!((&late.json["by"], &late.json["why"]), (&json!("api-key"), &json!("host died")));
}

#[tokio::test]
async fn who_loses_a_grant_hears_who_ended_it_and_why() {
    let api = Api::start().await;
    let (id, handle) = api.session().await;
    let in_session = api.post("/v1/locks/a/acquire", json!({"session": handle})).await.json;
    let alone = api.post("/v1/locks/b/acquire", json!({"ttl": 60})).await.json;
    api.post(&format!("/v1/sessions/{id}/end"), json!({"reason": "host died"})).await;
    api.post("/v1/locks/b/break", json!({"any": true, "reason": "host died"})).await;
    for (lock, lease, reason) in
        [("a", &in_session["lease"], "session_ended"), ("b", &alone["lease"], "broken")]
    {
        let lost = api.post(&format!("/v1/locks/{lock}/renew"), json!({"lease": lease})).await;
        assert_eq!(lost.code(), (410, "lost"));
        assert_eq!(lost.json["reason"], reason);
        assert_eq!((&lost.json["by"], &lost.json["why"]), (&json!("api-key"), &json!("host died")));
    }
    let both = json!({"leases": [in_session["lease"], alone["lease"]]});
    let results = api.post("/v1/release", both).await.json["results"].clone();
    for result in results.as_array().unwrap() {
        assert_eq!((&result["by"], &result["why"]), (&json!("api-key"), &json!("host died")));
    }
}

#[tokio::test]
async fn a_keep_alive_tells_what_was_lost_and_what_is_recalled() {
    let api = Api::start().await;
    let (id, handle) = api.session().await;
    for name in ["a", "b"] {
        api.post(&format!("/v1/locks/{name}/acquire"), json!({"session": handle})).await;
    }
    api.post("/v1/locks/a/break", json!({"any": true, "reason": "r"})).await;
    api.post("/v1/locks/b/recall", json!({"within": 30, "reason": "please"})).await;
    let kept =
        api.post(&format!("/v1/sessions/{id}/keepalive"), json!({"session": handle})).await.json;
    let lost = &kept["lost"][0];
    assert_eq!((&lost["name"], &lost["reason"]), (&json!("a"), &json!("broken")));
    assert_eq!((&lost["by"], &lost["why"]), (&json!("api-key"), &json!("r")));
    let recalled = &kept["recalled"][0];
    assert_eq!((&recalled["name"], &recalled["reason"]), (&json!("b"), &json!("please")));
    assert_eq!(recalled["by"], "api-key");
}

/// The events of a stream, one by one: its chunks may have several.
struct Heard {
    stream: BodyDataStream,
    text: String,
}

impl Heard {
    /// The next event's name and data; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let line = |start| block.lines().find_map(|line| line.strip_prefix(start));
                let event = line("event: ").zip(line("data: "));
                let event = event
                    .map(|(name, data)| (name.to_owned(), serde_json::from_str(data).unwrap()));
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = self.stream.next().await?.unwrap();
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_hears_at_once_what_happens_to_it() {
    let api = Api::start().await;
    let (id, handle) = api.session().await;
    for name in ["a", "b"] {
        api.post(&format!("/v1/locks/{name}/acquire"), json!({"session": handle})).await;
    }
    let events = request(Method::GET, &format!("/v1/sessions/{id}/events"), KEY)
        .header("tenure-session", &handle)
        .body(Body::empty());
    let Ok(response) = api.router.clone().call(events.unwrap()).await;
    assert_eq!(response.status(), 200);
    let mut heard = Heard { stream: response.into_body().into_data_stream(), text: String::new() };

    api.post("/v1/locks/b/recall", json!({"within": 30, "reason": "please"})).await;
    let (event, data) = heard.next().await.unwrap();
    assert_eq!(
        (event.as_str(), &data["name"], &data["reason"]),
        ("recalled", &json!("b"), &json!("please"))
    );
    assert!(data["within"].as_f64().unwrap() > 20.0);
    assert_eq!(data["by"], "api-key");
    api.take("of-another").await;
    api.post("/v1/locks/a/break", json!({"any": true, "reason": "r"})).await;
    let (event, data) = heard.next().await.unwrap();
    assert_eq!(
        (event.as_str(), &data["name"], &data["reason"]),
        ("lost", &json!("a"), &json!("broken"))
    );
    assert_eq!((&data["by"], &data["why"]), (&json!("api-key"), &json!("r")));
    api.post(&format!("/v1/sessions/{id}/end"), json!({"reason": "host died"})).await;
    let (event, data) = heard.next().await.unwrap();
    assert_eq!((event.as_str(), &data["reason"]), ("lost", &json!("session_ended")));
    assert_eq!((&data["by"], &data["why"]), (&json!("api-key"), &json!("host died")));
    let (event, data) = heard.next().await.unwrap();
    let ended = json!({"reason": "broken", "by": "api-key", "why": "host died"});
    assert_eq!((event.as_str(), data), ("ended", ended));
    assert!(heard.next().await.is_none(), "the stream is over with the session");
}

#[tokio::test]
async fn events_are_only_for_the_sessions_own_client() {
    let api = Api::start().await;
    let (id, _) = api.session().await;
    let path = format!("/v1/sessions/{id}/events");
    assert_eq!(api.get(&path).await.json["field"], "session");
    let forged = request(Method::GET, &path, KEY)
        .header("tenure-session", format!("{id}.{}", "0".repeat(32)));
    let refused = api.send(forged.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.code(), (410, "session_ended"));
}

#[tokio::test]
async fn sessions_are_listed_in_pages() {
    let api = Api::start().await;
    for _ in 0..3 {
        api.session().await;
    }
    let first = api.get("/v1/sessions?limit=2").await.json;
    assert_eq!(first["sessions"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let rest = api.get(&format!("/v1/sessions?limit=2&after={next}")).await.json;
    assert_eq!((rest["sessions"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
}

#[tokio::test]
async fn there_are_no_more_sessions_than_the_configuration_allows() {
    let api = Api::start_with("[limits]\nsessions = 1\n", |_| {}).await;
    let (id, handle) = api.session().await;
    let refused = api.post("/v1/sessions", json!({})).await;
    assert_eq!((refused.code(), &refused.json["limit"]), ((429, "limit"), &json!("sessions")));
    assert_eq!(refused.header("retry-after"), "15");
    api.post(&format!("/v1/sessions/{id}/end"), json!({"session": handle})).await;
    api.session().await;
}
