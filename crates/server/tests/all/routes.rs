//! The routes, through the service without a socket: what goes in, what comes out, and what must not change.

mod changes;
mod hostile;
mod keys;
mod locks;
mod many;
mod methods;
mod sessions;
mod text;
mod waiting;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_server::{Config, Service};
use tower::Service as _;

use crate::fixture::{KEY, config};

/// The routes over a log in memory.
struct Api {
    service: Service,
    router: Router,
    _dir: TempDir,
}

/// A whole answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
    /// The body, if it is JSON; else null.
    json: Value,
}

impl Api {
    async fn start() -> Self {
        Self::start_with("", |_| {}).await
    }

    /// With a configuration file, and changed by a function before the start.
    async fn start_with(file: &str, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let mut config = config(&dir, file);
        change(&mut config);
        let service = Service::start(config).await.expect("the test server starts");
        let router = tenure_server::router(service.app().clone());
        Api { service, router, _dir: dir }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let Ok(response) = self.router.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the answer is whole").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("the answer is UTF-8");
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: parts.status.as_u16(), headers: parts.headers, text, json }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(request(Method::GET, path, KEY).body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.post_as(KEY, path, body).await
    }

    async fn post_as(&self, key: &str, path: &str, body: Value) -> Reply {
        self.send(posting(key, path, &body)).await
    }

    async fn get_as(&self, key: &str, path: &str) -> Reply {
        self.send(request(Method::GET, path, key).body(Body::empty()).expect("a request")).await
    }

    /// Takes a lock and tells its lease.
    async fn take(&self, name: &str) -> String {
        let grant = self.post(&format!("/v1/locks/{name}/acquire"), json!({"ttl": 60})).await;
        assert_eq!(grant.status, 200, "{}", grant.text);
        grant.json["lease"].as_str().expect("a lease").to_owned()
    }

    /// Makes a key and tells its secret.
    async fn key(&self, name: &str, roles: &[&str], prefixes: &[&str]) -> String {
        let body = json!({"name": name, "roles": roles, "prefixes": prefixes});
        let made = self.post("/v1/keys", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json["key"].as_str().expect("a secret").to_owned()
    }

    /// Opens a session and tells its id and handle.
    async fn session(&self) -> (String, String) {
        let opened = self.post("/v1/sessions", json!({"ttl": 60})).await;
        assert_eq!(opened.status, 201, "{}", opened.text);
        let text = |field: &str| opened.json[field].as_str().expect("a text").to_owned();
        (text("id"), text("session"))
    }

    /// How many changes there were: what a refused request must leave alone.
    fn place(&self) -> String {
        self.service.app().log.cursor().to_string()
    }
}

impl Reply {
    fn code(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or_default())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn request(method: Method, path: &str, key: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
}

fn posting(key: &str, path: &str, body: &Value) -> Request<Body> {
    let request = request(Method::POST, path, key).header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_string())).expect("a request")
}
