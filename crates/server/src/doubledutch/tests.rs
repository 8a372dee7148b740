//! The routes against a machine in memory or on disk, without a socket. What needs one is in `tests/all/doubledutch`.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures::future::join_all;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tenure_core::{
    Acquire, Action, Answer, Change, Claim, Command, KeyName, Lease, LeaseRecord, LockName,
    Permits, Prefix, Role, Weight,
};
use tenure_log::{Event, Log, Options, Subscription};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::router;
use crate::app::App;
use crate::config::{Config, KeyConfig, Overrides, Settings};
use crate::drain::Drain;
use crate::identity::Peer;
use crate::keys::{Keys, full_key};
use crate::metrics::Metrics;

const KEY: &str = "test";

/// A server without a socket.
#[derive(Clone)]
struct Server(App);

fn settings() -> Settings {
    let overrides = Overrides { config: Some(std::path::PathBuf::new()), ..Overrides::default() };
    let mut settings = Config::load(&overrides).unwrap().settings;
    settings.name = "TestServer".into();
    settings.doubledutch.status_tokens = true;
    settings
}

fn key(name: &str, secret: &str, roles: &[Role], prefixes: &[&str]) -> KeyConfig {
    let prefixes = prefixes.iter().map(|p| Prefix::new(p).unwrap()).collect();
    KeyConfig { roles: roles.to_vec(), prefixes, ..full_key(&KeyName::new(name).unwrap(), secret) }
}

impl Server {
    async fn new() -> Self {
        Server::with(Options::memory(), settings(), Vec::new()).await
    }

    async fn with(options: Options, settings: Settings, more_keys: Vec<KeyConfig>) -> Self {
        let log = Log::open(options).await.unwrap();
        let metrics = Metrics::new();
        let mut keys = vec![key("doubledutch", KEY, &[Role::Lock], &[])];
        keys.extend(more_keys);
        Server(App::new(log, Keys::new(keys, metrics.clone()), Drain::new(), metrics, settings))
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = router(self.0.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()[header::SERVER], "TestServer");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let body = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn ask(&self, method: &str, target: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(target);
        let peer = Peer { address: None, ..Peer::default() };
        let (status, body) = self.send(request.extension(peer).body(Body::empty()).unwrap()).await;
        (status.as_u16(), body)
    }

    /// Asks with the key; only for answers of 200.
    async fn getlock(&self, rest: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/getlock?auth={KEY}&{rest}")).await;
        assert_eq!(status, 200, "{rest}: {body}");
        body
    }

    /// The session token of a lock that is free, or free in time.
    async fn token(&self, rest: &str) -> String {
        let body = self.getlock(rest).await;
        assert_eq!(body["lockacquired"], true, "{rest}: {body}");
        body["sessiontoken"].as_str().unwrap().to_owned()
    }

    async fn refused(&self, rest: &str) {
        assert_eq!(self.getlock(rest).await["lockacquired"], false, "{rest}");
    }

    async fn release(&self, name: &str, token: &str) -> (u16, Value) {
        self.ask("DELETE", &format!("/releaselock?auth={KEY}&lockname={name}&token={token}")).await
    }

    async fn locks(&self) -> Vec<Value> {
        let (status, body) = self.ask("GET", &format!("/status?auth={KEY}")).await;
        assert_eq!((status, &body["status"]), (200, &json!("ok")));
        body["locks"].as_array().unwrap().clone()
    }

    fn getlock_later(&self, rest: &str) -> JoinHandle<Value> {
        let (server, rest) = (self.clone(), rest.to_owned());
        tokio::spawn(async move { server.getlock(&rest).await })
    }

    fn feed(&self) -> Feed {
        Feed(self.0.log.changes(None))
    }
}

/// What happens to locks, as it happens.
struct Feed(Subscription);

impl Feed {
    /// Waits until `action` has happened so many times.
    async fn wait_for(&mut self, action: Action, mut times: usize) {
        while times > 0 {
            let Event::Changes(changes) = self.0.next().await else { panic!("the feed ended") };
            for (_, change) in changes {
                let Change::Lock(change) = change else { continue };
                times = times.saturating_sub(usize::from(change.action == action));
            }
        }
    }
}

#[tokio::test]
async fn every_request_gets_the_answer_of_doubledutch() {
    let server = Server::new().await;
    let held = server.token("lockname=held&lifetime=1000").await;
    let error = |text: &str| json!({"servername": "TestServer", "error": text});
    let state = |text: &str| json!({"servername": "TestServer", "status": text});
    let released = |name: &str, is: bool| json!({"servername": "TestServer", "lockname": name, "lockreleased": is});
    let not_acquired = json!({"servername": "TestServer", "lockname": "held", "sessiontoken": "", "lockacquired": false});
    let table = [
        ("GET", "/getlock", 400, error("no lockname supplied")),
        ("GET", "/getlock?auth=test", 400, error("no lockname supplied")),
        ("GET", "/getlock?auth=wrong&timeout=x", 400, error("no lockname supplied")),
        ("GET", "/getlock?lockname=a", 401, error("no api key supplied")),
        ("GET", "/getlock?lockname=a&timeout=x", 401, error("no api key supplied")),
        ("GET", "/getlock?lockname=a&auth=wrong", 401, error("invalid api key")),
        ("GET", "/getlock?lockname=a&auth=", 401, error("invalid api key")),
        ("GET", "/getlock?lockname=a&auth=wrong&lifetime=x", 401, error("invalid api key")),
        ("GET", "/getlock?lockname=held&auth=test", 200, not_acquired.clone()),
        ("GET", "/getlock?lockname=held&auth=test&timeout=0", 200, not_acquired.clone()),
        ("GET", "/getlock?lockname=held&auth=test&timeout=0.05", 200, not_acquired),
        ("DELETE", "/releaselock", 400, error("invalid params")),
        ("DELETE", "/releaselock?lockname=a&token=b", 400, error("invalid params")),
        ("DELETE", "/releaselock?lockname=a&auth=wrong", 400, error("invalid params")),
        ("DELETE", "/releaselock?token=b&auth=test", 400, error("invalid params")),
        ("DELETE", "/releaselock?lockname=a&token=b&auth=wrong", 401, error("invalid key")),
        ("DELETE", "/releaselock?lockname=a&token=b&auth=test", 400, released("a", false)),
        ("DELETE", "/releaselock?lockname=held&token=&auth=test", 400, released("held", false)),
        (
            "DELETE",
            &format!("/releaselock?lockname=other&token={held}&auth=test"),
            400,
            released("other", false),
        ),
        (
            "DELETE",
            &format!("/releaselock?lockname=held&token={held}&auth=test"),
            200,
            released("held", true),
        ),
        (
            "DELETE",
            &format!("/releaselock?lockname=held&token={held}&auth=test"),
            400,
            released("held", false),
        ),
        ("GET", "/status", 400, state("no api key")),
        ("GET", "/status?auth=wrong", 401, state("invalid key")),
        ("GET", "/status?auth=", 401, state("invalid key")),
        (
            "GET",
            "/status?auth=test",
            200,
            json!({"servername": "TestServer", "status": "ok", "locks": []}),
        ),
    ];
    for (method, target, status, body) in table {
        assert_eq!(server.ask(method, target).await, (status, body), "{method} {target}");
    }
}

#[tokio::test]
async fn a_request_that_says_nothing_certain_changes_nothing() {
    let server = Server::new().await;
    for (rest, reason) in [
        ("lockname=a&lockname=a", "lockname is supplied twice"),
        ("lockname=a&auth=test", "auth is supplied twice"),
        ("lockname=a&lifetime=1&lifetime=1", "lifetime is supplied twice"),
        ("lockname=%FF", "lockname is not percent-encoded UTF-8"),
        ("lockname=%0A", "lockname has the forbidden character U+000A"),
        ("lockname=%E2%80%AE", "lockname has the forbidden character U+202E"),
        ("lockname=", "lockname must have at least 1 bytes"),
        ("lockname=a&timeout=NaN", "timeout is not a number of seconds from 0"),
        ("lockname=a&timeout=-1", "timeout is not a number of seconds from 0"),
        ("lockname=a&lifetime=inf", "lifetime is not a number of seconds from 0 to 31622400"),
    ] {
        let (status, body) = server.ask("GET", &format!("/getlock?auth=test&{rest}")).await;
        assert_eq!((status, &body["error"]), (400, &json!(reason)), "{rest}");
    }
    let (status, body) = server.ask("GET", "/status?auth=test&auth=test").await;
    assert_eq!((status, &body["status"]), (400, &json!("auth is supplied twice")));
    for (method, target) in [
        ("HEAD", "/getlock?lockname=a&auth=test"),
        ("POST", "/getlock?lockname=a&auth=test"),
        ("GET", "/releaselock?lockname=a&token=b&auth=test"),
        ("DELETE", "/status?auth=test"),
    ] {
        assert_eq!(server.ask(method, target).await.0, 405, "{method} {target}");
    }
    assert_eq!(server.locks().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_taken_lock_is_refused_until_it_is_released() {
    let server = Server::new().await;
    let token = server.token("lockname=a&lifetime=1000").await;
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
    for _ in 0..3 {
        server.refused("lockname=a&timeout=0").await;
    }
    let wrong: String = token.chars().rev().collect();
    assert_eq!(server.release("a", &wrong).await.0, 400);
    server.refused("lockname=a").await;
    assert_eq!(server.release("a", &token).await.1["lockreleased"], true);
    assert_ne!(server.token("lockname=a&lifetime=1000").await, token);
    assert_eq!(server.release("a", &token).await.0, 400, "the old token is worth nothing");
}

#[tokio::test]
async fn of_two_releases_at_once_one_released() {
    let server = Server::new().await;
    let token = server.token("lockname=a").await;
    let answers = join_all((0..20).map(|_| server.release("a", &token))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_get_a_thousand_locks_at_once() {
    let server = Server::new().await;
    let tasks = (0..1000).map(|i| server.getlock_later(&format!("lockname={i}&lifetime=1000")));
    for answer in join_all(tasks).await {
        assert_eq!(answer.unwrap()["lockacquired"], true);
    }
    let locks = server.locks().await;
    assert_eq!(locks.len(), 1000);
    let remaining = locks[999]["remaining"].as_f64().unwrap();
    assert!(remaining <= 1000.0 && remaining > 950.0, "{remaining}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thirty_clients_at_once_one_gets_the_lock() {
    let server = Server::new().await;
    let tasks = (0..30).map(|_| server.getlock_later("lockname=race&lifetime=1000"));
    let answers = join_all(tasks).await;
    let acquired = answers.into_iter().filter(|a| a.as_ref().unwrap()["lockacquired"] == true);
    assert_eq!(acquired.count(), 1);
    assert_eq!(server.locks().await.len(), 1);
}

#[tokio::test]
async fn status_tells_locks_in_order_of_grant() {
    let server = Server::new().await;
    for name in ["m", "z", "a", "k"] {
        server.token(&format!("lockname={name}")).await;
    }
    let z = server.locks().await[1]["sessiontoken"].as_str().unwrap().to_owned();
    assert_eq!(server.release("z", &z).await.0, 200, "a token from /status releases");
    server.token("lockname=z").await;
    let locks = server.locks().await;
    let names: Vec<&str> = locks.iter().map(|lock| lock["lockname"].as_str().unwrap()).collect();
    assert_eq!(names, ["m", "a", "k", "z"]);
}

#[tokio::test]
async fn a_lifetime_of_two_weeks_is_kept() {
    let server = Server::new().await;
    server.token("lockname=long&lifetime=1209600").await;
    let remaining = server.locks().await[0]["remaining"].as_f64().unwrap();
    assert!(remaining <= 1_209_600.0 && remaining > 1_209_540.0, "{remaining}");
}

#[tokio::test]
async fn an_expired_lock_is_the_next_ones() {
    let server = Server::new().await;
    let token = server.token("lockname=a&lifetime=1").await;
    server.refused("lockname=a&timeout=0").await;
    server.token("lockname=a&timeout=1").await;
    assert_eq!(server.release("a", &token).await.0, 400, "it was expired");
}

#[tokio::test]
async fn a_fraction_of_a_timeout_counts() {
    let server = Server::new().await;
    server.token("lockname=a&lifetime=1000").await;
    let asked = Instant::now();
    server.refused("lockname=a&timeout=0.3").await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_waiter_is_woken_by_the_release() {
    let server = Server::new().await;
    let mut feed = server.feed();
    let token = server.token("lockname=a&lifetime=1000").await;
    let first = server.getlock_later("lockname=a&timeout=1000&lifetime=1000");
    feed.wait_for(Action::Queued, 1).await;
    let second = server.getlock_later("lockname=a&timeout=100000000&lifetime=1000");
    feed.wait_for(Action::Queued, 1).await;
    server.release("a", &token).await;
    let first = first.await.unwrap();
    assert_eq!(first["lockacquired"], true);
    server.release("a", first["sessiontoken"].as_str().unwrap()).await;
    assert_eq!(second.await.unwrap()["lockacquired"], true, "first come, first served");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_queue() {
    let server = Server::new().await;
    let mut feed = server.feed();
    let token = server.token("lockname=a&lifetime=1000").await;
    let waiter = server.getlock_later("lockname=a&timeout=1000&lifetime=1000");
    feed.wait_for(Action::Queued, 1).await;
    waiter.abort();
    feed.wait_for(Action::Left, 1).await;
    server.release("a", &token).await;
    server.token("lockname=a&timeout=0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_nobody_was_told_of_is_given_back() {
    let server = Server::new().await;
    for i in 0..200 {
        let hasty = server.getlock_later("lockname=a&lifetime=1000&timeout=1000");
        for _ in 0..i % 20 {
            tokio::task::yield_now().await;
        }
        hasty.abort();
        // Either it was told, or the lock is free soon.
        let token = match hasty.await {
            Ok(told) => told["sessiontoken"].as_str().unwrap().to_owned(),
            Err(_) => server.token("lockname=a&lifetime=1000&timeout=20").await,
        };
        assert_eq!(server.release("a", &token).await.0, 200);
    }
    assert_eq!(server.locks().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_waiters_do_not_hold_up_a_release() {
    let server = Server::new().await;
    let mut feed = server.feed();
    server.token("lockname=crowded&lifetime=100000").await;
    let waiters: Vec<_> =
        (0..10_000).map(|_| server.getlock_later("lockname=crowded&timeout=100000")).collect();
    feed.wait_for(Action::Queued, 10_000).await;
    let token = server.token("lockname=other").await;
    assert_eq!(server.release("other", &token).await.0, 200);
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()), "they still wait");
    waiters.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_draining_server_tells_its_waiters() {
    let server = Server::new().await;
    let mut feed = server.feed();
    let token = server.token("lockname=a&lifetime=1000").await;
    let waiting = {
        let server = server.clone();
        tokio::spawn(async move {
            server.ask("GET", "/getlock?auth=test&lockname=a&timeout=1000").await
        })
    };
    feed.wait_for(Action::Queued, 1).await;
    server.0.drain.begin(Duration::from_secs(3600));
    let (status, body) = waiting.await.unwrap();
    assert_eq!((status, &body["error"]), (503, &json!("unavailable: draining")));
    assert_eq!(server.release("a", &token).await.0, 200, "holders may still give back");
    assert_eq!(server.ask("GET", "/getlock?auth=test&lockname=b").await.0, 503);
}

#[tokio::test]
async fn locks_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Server::with(Options::disk(dir.path()), settings(), Vec::new());
    let server = open().await;
    let token = server.token("lockname=a&lifetime=1000").await;
    server.token("lockname=b&lifetime=2000").await;
    let before = server.locks().await;
    server.0.log.stop().await;
    drop(server);
    let server = open().await;
    let after = server.locks().await;
    let names = |locks: &[Value]| {
        let told = locks.iter().map(|l| (l["lockname"].clone(), l["sessiontoken"].clone()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(names(&after), names(&before));
    assert!(after[0]["remaining"].as_f64() <= before[0]["remaining"].as_f64());
    server.refused("lockname=a").await;
    assert_eq!(server.release("a", &token).await.0, 200);
    server.0.log.stop().await;
}

#[tokio::test]
async fn without_status_tokens_neither_status_nor_log_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.doubledutch.status_tokens = false;
    let server = Server::with(Options::disk(dir.path()), settings, Vec::new()).await;
    let token = server.token("lockname=a&lifetime=1000").await;
    let shown = server.locks().await;
    assert_eq!((&shown[0]["lockname"], &shown[0]["sessiontoken"]), (&json!("a"), &json!("")));
    server.0.log.stop().await;
    let mut read = 0;
    for file in files_under(dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        read += bytes.len();
        assert!(!bytes.windows(32).any(|w| w == token.as_bytes()), "the token is in {file:?}");
    }
    assert!(read > 0, "there is a log to look into");
}

fn files_under(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn grants_made_elsewhere_exclude_and_are_not_shown() {
    let server = Server::new().await;
    let command = Command::Acquire(Box::new(Acquire::exclusive("a", Duration::from_secs(1000))));
    server.0.log.submit(command).await.unwrap();
    server.refused("lockname=a").await;
    assert_eq!(server.locks().await, Vec::<Value>::new());

    let mut semaphore = Acquire::exclusive("s", Duration::from_secs(1000));
    semaphore.wants[0].claim = Claim::permits(Permits::new(3).unwrap(), Weight::ONE).unwrap();
    semaphore.lease = LeaseRecord::Plain(Lease::from_random([1; 32]));
    let reply = server.0.log.submit(Command::Acquire(Box::new(semaphore))).await.unwrap();
    assert!(matches!(reply.answer, Answer::Granted(_)));
    let (status, body) = server.ask("GET", "/getlock?auth=test&lockname=s").await;
    assert_eq!((status, &body["error"]), (409, &json!("lockname is in use as a semaphore")));
}

#[tokio::test]
async fn the_key_may_come_in_the_header() {
    let server = Server::new().await;
    let ask = |key: &str| {
        let request =
            Request::get("/getlock?lockname=a").header("Authorization", format!("Bearer {key}"));
        server.send(request.body(Body::empty()).unwrap())
    };
    let (status, body) = ask("wrong").await;
    assert_eq!((status.as_u16(), &body["error"]), (401, &json!("invalid api key")));
    let (status, body) = ask(KEY).await;
    assert_eq!((status.as_u16(), &body["lockacquired"]), (200, &json!(true)));
}

#[tokio::test]
async fn a_key_sees_its_prefixes_and_its_own_tokens() {
    let keys = vec![
        key("ci", "ci-secret", &[Role::Lock], &["ci/"]),
        key("eye", "eye-secret", &[Role::Read], &[]),
    ];
    let server = Server::with(Options::memory(), settings(), keys).await;
    server.token("lockname=ci/a").await;
    server.token("lockname=other").await;
    let (status, body) = server.ask("GET", "/getlock?auth=ci-secret&lockname=other").await;
    assert_eq!(status, 403, "{body}");
    let (status, body) = server.ask("GET", "/getlock?auth=ci-secret&lockname=ci/b").await;
    assert_eq!((status, &body["lockacquired"]), (200, &json!(true)));
    let shown = |body: Value| -> Vec<(String, usize)> {
        let locks = body["locks"].as_array().unwrap().iter();
        let text = |lock: &Value, field: &str| lock[field].as_str().unwrap().to_owned();
        locks.map(|l| (text(l, "lockname"), text(l, "sessiontoken").len())).collect()
    };
    let ci = server.ask("GET", "/status?auth=ci-secret").await.1;
    assert_eq!(shown(ci), [("ci/a".to_owned(), 0), ("ci/b".to_owned(), 32)]);
    let eye = server.ask("GET", "/status?auth=eye-secret").await.1;
    assert!(shown(eye).iter().all(|(_, token_length)| *token_length == 0));
    let (status, body) = server.ask("GET", "/getlock?auth=eye-secret&lockname=x").await;
    assert_eq!(
        (status, &body["error"]),
        (403, &json!("this key may not do that: it needs role lock"))
    );
    let name = LockName::new("x").unwrap();
    let free = server.0.log.read(|machine| machine.lock(&name).holders.is_empty()).await.unwrap();
    assert!(free);
}
