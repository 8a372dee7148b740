//! The feed: in order, from any place, and only what the key sees.

use axum::body::Body;
use futures::StreamExt;
use http::{Method, header};
use serde_json::{Value, json};
use tower::Service as _;

use super::{Api, KEY, Reply, request};

async fn poll(api: &Api, key: &str, query: &str) -> Reply {
    let poll = request(Method::GET, &format!("/v1/changes{query}"), key)
        .header(header::ACCEPT, "application/json");
    api.send(poll.body(Body::empty()).expect("a request")).await
}

fn told(changes: &Value) -> Vec<(String, String)> {
    let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    let changes = changes["changes"].as_array().unwrap().iter();
    changes.map(|change| (text(change, "name"), text(change, "action"))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn a_poll_tells_what_happened_after_a_cursor() {
    let api = Api::start().await;
    let cursor = api.get("/v1/locks").await.json["cursor"].as_str().unwrap().to_owned();
    let lease = api.take("a").await;
    api.post("/v1/locks/a/release", json!({"lease": lease})).await;
    let first = poll(&api, KEY, &format!("?after={cursor}&kind=lock")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(told(&first.json), pairs(&[("a", "granted"), ("a", "released")]));
    assert_eq!(
        (&first.json["resync"], &first.json["changes"][0]["kind"]),
        (&json!(false), &json!("lock"))
    );
    assert!(first.json["changes"][1]["held"].is_number());
    assert!(!first.text.contains(&lease), "a lease is its holder's secret");

    let between = first.json["changes"][0]["cursor"].as_str().unwrap();
    let second = poll(&api, KEY, &format!("?after={between}")).await;
    assert_eq!(told(&second.json), pairs(&[("a", "released")]));
    let last = second.json["cursor"].as_str().unwrap();
    let nothing = poll(&api, KEY, &format!("?after={last}&hold=0.05")).await;
    assert_eq!((told(&nothing.json), &nothing.json["cursor"]), (vec![], &json!(last)));
}

#[tokio::test]
async fn a_poll_is_answered_when_something_happens() {
    let api = Api::start().await;
    let after = api.place();
    let reader = async { poll(&api, KEY, &format!("?after={after}&hold=60&prefix=b")).await };
    let writer = async {
        api.take("a").await;
        api.take("b").await
    };
    let (changes, _) = tokio::join!(reader, writer);
    assert_eq!(told(&changes.json), pairs(&[("b", "granted")]));
}

#[tokio::test]
async fn a_key_hears_only_of_names_it_sees() {
    let api = Api::start().await;
    let ci = api.key("ci", &["read"], &["ci/"]).await;
    let after = api.place();
    for name in ["prod/1", "ci/1", "prod/2"] {
        api.take(name).await;
    }
    let heard = poll(&api, &ci, &format!("?after={after}")).await;
    assert_eq!(told(&heard.json), pairs(&[("ci/1", "granted")]));
    let rest =
        poll(&api, &ci, &format!("?after={}&hold=0.05", heard.json["cursor"].as_str().unwrap()))
            .await;
    assert_eq!(told(&rest.json), vec![]);
}

#[tokio::test]
async fn a_stream_gives_each_change_an_id_to_go_on_from() {
    let api = Api::start().await;
    api.take("before").await;
    let stream = |last: Option<&str>| {
        let request =
            request(Method::GET, "/v1/changes", KEY).header(header::ACCEPT, "text/event-stream");
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        api.router.clone().call(request.body(Body::empty()).expect("a request"))
    };
    let Ok(response) = stream(None).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut chunks = response.into_body().into_data_stream();
    let mut next =
        async || String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    let hello = next().await;
    assert!(hello.starts_with(": connected\nid: ") && hello.ends_with("\n\n"), "{hello}");
    api.take("a").await;
    let event = next().await;
    let lines: Vec<&str> = event.lines().collect();
    assert_eq!((lines[1], lines[3]), ("event: change", ""), "{event}");
    let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["name"], &data["action"]), (&json!("a"), &json!("granted")));

    let id = hello.lines().nth(1).unwrap().strip_prefix("id: ").unwrap();
    let Ok(again) = stream(Some(id)).await;
    let mut again = again.into_body().into_data_stream();
    again.next().await.unwrap().unwrap();
    let same = String::from_utf8(again.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(same, event, "the same change under the same id");
}

#[tokio::test]
async fn zero_is_the_oldest_change_kept() {
    let api = Api::start().await;
    api.take("a").await;
    let all = poll(&api, KEY, "?after=0").await.json;
    assert_eq!(told(&all), pairs(&[("a", "granted")]));
}

#[tokio::test]
async fn a_drain_ends_streams() {
    let api = Api::start().await;
    let request = request(Method::GET, "/v1/changes", KEY).body(Body::empty()).unwrap();
    let Ok(response) = api.router.clone().call(request).await;
    let mut chunks = response.into_body().into_data_stream();
    chunks.next().await.unwrap().unwrap();
    api.post("/v1/drain", json!({"within": 60})).await;
    let end = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(end.ends_with("event: end\ndata: {\"reason\":\"draining\"}\n\n"), "{end}");
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn a_removed_keys_streams_and_polls_end() {
    let api = Api::start().await;
    let gone = api.key("gone", &["lock"], &[]).await;
    let opened = api.post_as(&gone, "/v1/sessions", json!({"ttl": 60})).await.json;
    let events = format!("/v1/sessions/{}/events", opened["id"].as_str().unwrap());
    let mut streams = Vec::new();
    for path in ["/v1/changes", &events] {
        let request = request(Method::GET, path, &gone)
            .header("tenure-session", opened["session"].as_str().unwrap());
        let Ok(response) =
            api.router.clone().call(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), 200, "{path}");
        let mut chunks = response.into_body().into_data_stream();
        chunks.next().await.unwrap().unwrap();
        streams.push(chunks);
    }
    let after = api.place();
    let reader = async { poll(&api, &gone, &format!("?after={after}&hold=60")).await };
    let remover = async {
        let remove = request(Method::DELETE, "/v1/keys/gone", KEY).body(Body::empty()).unwrap();
        assert_eq!(api.send(remove).await.status, 200);
    };
    let (polled, ()) = tokio::join!(reader, remover);
    assert_eq!(polled.code(), (401, "unauthenticated"));
    api.take("a").await;
    for mut chunks in streams {
        let end = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
        assert!(end.ends_with("event: end\ndata: {\"reason\":\"unauthenticated\"}\n\n"), "{end}");
        assert!(chunks.next().await.is_none());
    }
}
