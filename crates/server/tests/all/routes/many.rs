//! Several locks at once, and several leases.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn several_locks_are_granted_together_or_not_at_all() {
    let api = Api::start().await;
    let body = json!({"locks": [{"name": "b"}, {"name": "a", "mode": "shared"},
        {"name": "s", "permits": 3, "weight": 2}], "ttl": 60});
    let grant = api.post("/v1/acquire", body).await;
    assert_eq!(grant.status, 200, "{}", grant.text);
    let locks = grant.json["locks"].as_array().unwrap();
    let names: Vec<&str> = locks.iter().map(|lock| lock["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "a", "s"], "in the order asked");
    assert_eq!((&locks[1]["mode"], &locks[2]["weight"]), (&json!("shared"), &json!(2)));
    assert_eq!(grant.json["token"], Value::Null);

    let blocked = json!({"locks": [{"name": "free"}, {"name": "b"}, {"name": "a"}]});
    let refused = api.post("/v1/acquire", blocked).await;
    assert_eq!(refused.code(), (409, "held"));
    assert_eq!(refused.json["blocked_by"], json!(["b", "a"]));
    assert_eq!(api.get("/v1/locks/free").await.json["state"], "free");

    let part = json!({"lease": grant.json["lease"], "names": ["b"]});
    assert_eq!(api.post("/v1/release", part).await.json["released"], true);
    assert_eq!(api.get("/v1/locks/b").await.json["state"], "free");
    assert_eq!(api.get("/v1/locks/a").await.json["state"], "held");
    let renewed = api.post("/v1/renew", json!({"lease": grant.json["lease"]})).await.json;
    assert_eq!(renewed["locks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn one_lock_in_a_list_is_answered_as_a_list() {
    let api = Api::start().await;
    let grant = api.post("/v1/acquire", json!({"locks": [{"name": "a"}]})).await.json;
    assert_eq!(grant["locks"][0]["name"], "a");
    let grant = api.post("/v1/acquire", json!({"name": "b"})).await.json;
    assert_eq!((&grant["name"], &grant["locks"]), (&json!("b"), &Value::Null));
}

#[tokio::test]
async fn many_leases_are_answered_one_by_one() {
    let api = Api::start().await;
    let (a, b) = (api.take("a").await, api.take("b").await);
    let unknown = "x".repeat(32);
    let leases = json!({"leases": [a, unknown, b]});
    let renewed = api.post("/v1/renew", leases.clone()).await.json;
    let results = renewed["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert!(results[0]["valid_for"].is_number() && results[2]["valid_for"].is_number());
    assert_eq!((&results[1]["code"], &results[1]["reason"]), (&json!("lost"), &json!("unknown")));
    let released = api.post("/v1/release", leases).await.json;
    assert_eq!(released["results"][0], json!({"lease": a, "released": true}));
    assert_eq!(released["results"][1]["code"], "lost");
    assert_eq!(api.get("/v1/locks/b").await.json["state"], "free");
}

#[tokio::test]
async fn a_request_for_many_is_given_up_by_its_id_and_names() {
    let api = Api::start().await;
    let ask =
        json!({"locks": [{"name": "a"}, {"name": "b"}], "request_id": "request-1", "ttl": 60});
    assert_eq!(api.post("/v1/acquire", ask).await.status, 200);
    let cancel = json!({"request_id": "request-1", "names": ["b", "a"]});
    let given_up = api.post("/v1/release", cancel).await.json;
    assert_eq!((&given_up["released"], &given_up["cancelled"]), (&json!(true), &json!(true)));
    assert_eq!(api.get("/v1/locks/a").await.json["state"], "free");
}
