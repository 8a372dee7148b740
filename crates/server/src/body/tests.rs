//! What is wrong is named: the field and the kind of mistake.

use http::HeaderValue;
use serde_json::json;
use tenure_api::{AcquireRequest, CheckRequest, Code, LocksQuery};

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn read_as<T: DeserializeOwned>(kind: &str, body: impl Into<Body>) -> Result<T, Refused> {
    let mut headers = HeaderMap::new();
    if !kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).expect("a header value"));
    }
    read(&headers, body.into()).await
}

async fn mistake(kind: &str, body: &[u8]) -> (String, String) {
    let refused = read_as::<AcquireRequest>(kind, body.to_vec()).await.expect_err("a mistake");
    assert_eq!(refused.problem.code, Code::BadRequest, "{body:?}");
    (refused.problem.field.unwrap_or_default(), refused.problem.reason.unwrap_or_default())
}

#[tokio::test]
async fn a_mistake_in_json_names_the_field_and_the_kind() {
    let deep = format!("{{\"locks\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let cases: [(&[u8], &str, &str); 37] = [
        (br#"{"ttl":true}"#, "ttl", "type"),
        (br#"{"ttl":{}}"#, "ttl", "type"),
        (br#"{"ttl":-1}"#, "ttl", "range"),
        (br#"{"ttl":1e300}"#, "ttl", "range"),
        (br#"{"ttl":1e999}"#, "ttl", "range"),
        (br#"{"ttl":NaN}"#, "ttl", "syntax"),
        (br#"{"ttl":Infinity}"#, "ttl", "syntax"),
        (br#"{"ttl":0x10}"#, "ttl", "syntax"),
        (br#"{"ttl":"NaN"}"#, "ttl", "syntax"),
        (br#"{"ttl":"1e3"}"#, "ttl", "syntax"),
        (br#"{"ttl":""}"#, "ttl", "syntax"),
        (br#"{"ttl":"99999999999999999999999d"}"#, "ttl", "range"),
        (br#"{"wait":5,"ttl":"soon"}"#, "ttl", "syntax"),
        (br#"{"mode":"sharde"}"#, "mode", "range"),
        (br#"{"mode":7}"#, "mode", "type"),
        (br#"{"permits":0.5}"#, "permits", "type"),
        (br#"{"permits":-1}"#, "permits", "range"),
        (br#"{"permits":4294967296}"#, "permits", "range"),
        (br#"{"permits":"3"}"#, "permits", "type"),
        (br#"{"reentrant":1}"#, "reentrant", "type"),
        (br#"{"note":"a\u0000b"}"#, "note", "syntax"),
        (br#"{"note":"a\u202eb"}"#, "note", "syntax"),
        (br#"{"owner":""}"#, "owner", "range"),
        (br#"{"request_id":"short"}"#, "request_id", "range"),
        (br#"{"session":"s-1"}"#, "session", "syntax"),
        (br#"{"tll":1}"#, "tll", "unknown"),
        (br#"{"ttl":1,"ttl":2}"#, "ttl", "duplicate"),
        (br#"{"locks":[{"name":"a"},{"weight":1}]}"#, "locks[1].name", "missing"),
        (br#"{"locks":[{"name":"a","x":1}]}"#, "locks[0].x", "unknown"),
        (br#"{"locks":[{"name":"a"},{"name":7}]}"#, "locks[1].name", "type"),
        (b"{\"note\":\"\xff\"}", "note", "encoding"),
        (br#"{"ttl":1} x"#, "body", "syntax"),
        (br#"{"ttl":1"#, "ttl", "syntax"),
        (b" [null]", "body", "type"),
        (br#"{"locks":[["a",null,null,null]]}"#, "locks", "type"),
        (b"", "body", "missing"),
        (b"\xef\xbb\xbf{}", "body", "syntax"),
    ];
    for (body, field, reason) in cases {
        let text = String::from_utf8_lossy(body);
        assert_eq!(mistake(JSON, body).await, (field.to_owned(), reason.to_owned()), "{text}");
    }
    let (field, reason) = mistake(JSON, deep.as_bytes()).await;
    assert!(field.starts_with("locks") && field.len() < 300, "{field}");
    assert!(["type", "syntax"].contains(&reason.as_str()), "{reason}");
}

#[tokio::test]
async fn a_mistake_in_a_form_names_the_field_and_the_kind() {
    let cases: [(&[u8], &str, &str); 14] = [
        (b"ttl=soon", "ttl", "syntax"),
        (b"ttl=", "ttl", "syntax"),
        (b"ttl=-1", "ttl", "syntax"),
        (b"ttl=NaN", "ttl", "syntax"),
        (b"tll=1", "tll", "unknown"),
        (b"ttl=1&ttl=2", "ttl", "duplicate"),
        (b"permits=three", "permits", "type"),
        (b"permits=99999999999", "permits", "range"),
        (b"reentrant=yes", "reentrant", "type"),
        (b"mode=sharde", "mode", "range"),
        (b"note=%zz", "note", "encoding"),
        (b"note=%ff", "note", "encoding"),
        (b"locks=a", "locks", "type"),
        (br#"{"ttl":30}"#, "body", "syntax"),
    ];
    for (body, field, reason) in cases {
        let text = String::from_utf8_lossy(body);
        assert_eq!(mistake(FORM, body).await, (field.to_owned(), reason.to_owned()), "{text}");
    }
}

#[tokio::test]
async fn a_form_is_read_like_the_same_json() {
    let form = "ttl=30s&wait=0.5&note=a+b%2Bc&reentrant=true&permits=3&mode=shared";
    let same = json!({"ttl": 30, "wait": 0.5, "note": "a b+c", "reentrant": true, "permits": 3,
        "mode": "shared"});
    let read: AcquireRequest = read_as(FORM, form).await.unwrap();
    assert_eq!(read, serde_json::from_value(same).unwrap());
    let check: CheckRequest = read_as(FORM, "token=4711").await.unwrap();
    assert_eq!(check.token.get(), 4711);
}

#[tokio::test]
async fn nothing_is_an_empty_object_and_announced_nothing_is_a_mistake() {
    let empty: AcquireRequest = read_as("", "").await.unwrap();
    assert_eq!(empty, AcquireRequest::default());
    let empty: AcquireRequest = read_as(FORM, "").await.unwrap();
    assert_eq!(empty, AcquireRequest::default());
    assert_eq!(mistake(JSON, b"").await, ("body".to_owned(), "missing".to_owned()));
}

#[tokio::test]
async fn other_types_are_refused() {
    let code = |refused: Refused| refused.problem.code;
    let kinds = [
        "",
        "text/plain",
        "application/xml",
        "application/json; charset=latin1",
        "multipart/form-data; boundary=x",
        "application/json, application/json",
    ];
    for kind in kinds {
        let refused = read_as::<AcquireRequest>(kind, "{}").await.unwrap_err();
        assert_eq!(code(refused), Code::UnsupportedMediaType, "{kind}");
    }
    for kind in ["application/json; charset=UTF-8", "Application/JSON"] {
        assert!(read_as::<AcquireRequest>(kind, "{}").await.is_ok(), "{kind}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_however_it_comes() {
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    let refused = read_as::<AcquireRequest>(JSON, large.clone()).await.unwrap_err();
    assert_eq!((refused.problem.code, refused.status().as_u16()), (Code::TooLarge, 413));

    let chunks =
        large.chunks(64 * 1024).map(|c| Ok::<_, std::io::Error>(Bytes::copy_from_slice(c)));
    let chunks: Vec<_> = chunks.collect();
    let dripping = Body::from_stream(futures::stream::iter(chunks));
    let refused = read_as::<AcquireRequest>(JSON, dripping).await.unwrap_err();
    assert_eq!(refused.problem.code, Code::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let refused = read_as::<AcquireRequest>(JSON, never).await.unwrap_err();
    assert_eq!(refused.problem.code, Code::BadRequest);
}

#[test]
fn a_query_is_as_strict_as_a_body() {
    let mistake = |text| {
        let problem = query::<LocksQuery>(Some(text)).expect_err("a mistake").problem;
        (problem.field.unwrap_or_default(), problem.reason.unwrap_or_default())
    };
    let cases = [
        ("limit=many", "limit", "type"),
        ("limit=-1", "limit", "type"),
        ("limit=1&limit=2", "limit", "duplicate"),
        ("x=1", "x", "unknown"),
        ("prefix=%", "prefix", "encoding"),
        ("prefix=%C3%28", "prefix", "encoding"),
        ("prefix=%00", "prefix", "syntax"),
        ("state=lost", "state", "range"),
        ("%ff=1", "%ff", "encoding"),
    ];
    for (text, field, reason) in cases {
        assert_eq!(mistake(text), (field.to_owned(), reason.to_owned()), "{text}");
    }
    let read: LocksQuery = query(Some("prefix=a%2Fb&limit=5&sort=held_for")).unwrap();
    assert_eq!(read.prefix.unwrap().as_str(), "a/b");
    assert_eq!(query::<LocksQuery>(None).unwrap(), LocksQuery::default());
    assert!(no_query(Some("a=1")).is_err() && no_query(None).is_ok() && no_query(Some("")).is_ok());
}

#[test]
fn what_is_repeated_in_a_refusal_is_cut() {
    let body = format!("{{\"{}\":1}}", "x".repeat(100_000));
    let refused = json::<AcquireRequest>(body.as_bytes()).unwrap_err();
    assert!(refused.problem.field.unwrap().len() < 300);
    assert!(refused.problem.detail.unwrap().len() < 300);
}
