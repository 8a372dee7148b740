//! Which route each call takes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{HttpCall, read_answer};
use crate::backend::Failure;
use crate::backend::call::*;
use crate::url::encode;

/// A call that a server can be asked.
pub(crate) trait ByHttp: Asks {
    /// The request.
    fn to_http(&self) -> HttpCall;
    /// The answer in the body of a success.
    fn from_http(body: &[u8]) -> Result<Self::Answer, Failure>;
}

/// A query string with its `?`, or nothing.
pub(super) fn query(fields: &impl Serialize) -> String {
    let value = serde_json::to_value(fields).expect("the types of the wire are JSON");
    let Value::Object(fields) = value else { return String::new() };
    let pairs: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("{name}={}", encode(&text))),
            other => Some(format!("{name}={}", encode(&other.to_string()))),
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn lock(name: &tenure_core::LockName, verb: &str) -> String {
    format!("/v1/locks/{}/{verb}", encode(name.as_str()))
}

trait JsonAnswer: Asks<Answer: DeserializeOwned> {
    fn read(body: &[u8]) -> Result<Self::Answer, Failure> {
        read_answer(body)
    }
}

impl<C: Asks<Answer: DeserializeOwned>> JsonAnswer for C {}

macro_rules! routes {
    ($($call:ident: |$this:ident| $http:expr;)+) => {$(
        impl ByHttp for $call {
            fn to_http(&self) -> HttpCall {
                let $this = self;
                $http
            }

            fn from_http(body: &[u8]) -> Result<Self::Answer, Failure> {
                <Self as JsonAnswer>::read(body)
            }
        }
    )+};
}

routes! {
    Acquire: |c| HttpCall::post("/v1/acquire", &c.0);
    Convert: |c| HttpCall::post(lock(&c.name, "convert"), &c.body);
    HandOver: |c| HttpCall::post(lock(&c.name, "hand_over"), &c.body);
    Renew: |c| HttpCall::post("/v1/renew", &c.0);
    Release: |c| HttpCall::post("/v1/release", &c.0);
    ReleaseMany: |c| HttpCall::post("/v1/release", &c.0);
    OpenSession: |c| HttpCall::post("/v1/sessions", &c.0);
    KeepAlive: |c| {
        HttpCall::post(format!("/v1/sessions/{}/keepalive", c.0.id), &c.body())
    };
    EndSession: |c| HttpCall::post(format!("/v1/sessions/{}/end", c.id), &c.body);
    Recall: |c| HttpCall::post(lock(&c.name, "recall"), &c.body);
    Break: |c| HttpCall::post(lock(&c.name, "break"), &c.body);
    Resize: |c| HttpCall::post(lock(&c.name, "resize"), &c.body);
    Check: |c| HttpCall::post(lock(&c.name, "check"), &c.body);
    GetLock: |c| HttpCall::get(format!("/v1/locks/{}", encode(c.0.as_str())));
    ListLocks: |c| HttpCall::get(format!("/v1/locks{}", query(&c.0)));
    ListSessions: |c| HttpCall::get(format!("/v1/sessions{}", query(&c.0)));
    GetSession: |c| HttpCall::get(format!("/v1/sessions/{}", c.0));
    ListKeys: |_c| HttpCall::get("/v1/keys");
    AddKey: |c| HttpCall::post("/v1/keys", &c.0);
    RotateKey: |c| {
        HttpCall::post(format!("/v1/keys/{}/rotate", encode(c.name.as_str())), &c.body)
    };
    GetStats: |_c| HttpCall::get("/v1/stats");
    GetInfo: |_c| HttpCall::get("/v1");
    GetCluster: |_c| HttpCall::get("/v1/cluster");
    Drain: |c| HttpCall::post("/v1/drain", &c.0);
}

impl ByHttp for RemoveKey {
    fn to_http(&self) -> HttpCall {
        HttpCall::delete(format!("/v1/keys/{}", encode(self.0.as_str())))
    }

    fn from_http(_body: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

impl ByHttp for GetReady {
    fn to_http(&self) -> HttpCall {
        HttpCall::get("/readyz")
    }

    fn from_http(_body: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tenure_api::{LocksQuery, SortName};
    use tenure_core::{LockName, Prefix};

    use super::*;

    #[test]
    fn a_name_that_ends_in_a_verb_is_one_segment() {
        let call = GetLock(LockName::new("a/acquire").unwrap()).to_http();
        assert_eq!(call.path, "/v1/locks/a%2Facquire");
    }

    #[test]
    fn a_query_has_what_is_set() {
        let fields = LocksQuery {
            prefix: Some(Prefix::new("a/ä").unwrap()),
            limit: Some(5),
            sort: Some(SortName::HeldFor),
            ..LocksQuery::default()
        };
        let text = query(&fields);
        for part in ["prefix=a%2F%C3%A4", "limit=5", "sort=held_for"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(query(&LocksQuery::default()), "");
    }
}
