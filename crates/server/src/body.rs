//! Request bodies and query strings, read strictly: what is wrong is named, nothing is guessed.

mod flat;
mod why;

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tenure_api::BadReason;
use tokio::time::timeout;

use crate::error::Refused;

pub(crate) use flat::decoded;

/// Longest request body in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest time that a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// What a problem calls the whole body.
const BODY: &str = "body";

/// How a body says that it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Json,
    Form,
    /// No content type: right only for an empty body.
    Unsaid,
}

/// Reads a request's body as `T`. An absent body without a content type is an empty object.
pub(crate) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refused> {
    let written = written(headers)?;
    let bytes = collect(headers, body).await?;
    match written {
        Written::Json if bytes.is_empty() => Err(Refused::field(
            BODY,
            BadReason::Missing,
            "JSON is announced, but the body is empty",
        )),
        Written::Json => json(&bytes),
        Written::Form => form(&bytes),
        Written::Unsaid if bytes.is_empty() => json(b"{}"),
        Written::Unsaid => Err(Refused::media_type()),
    }
}

/// Reads a query string as `T`.
pub(crate) fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Refused> {
    flat::read(query.unwrap_or_default()).map_err(Refused::from)
}

/// Refuses any query string: the route has no parameters.
pub(crate) fn no_query(query: Option<&str>) -> Result<(), Refused> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(()) };
    let name = query.split(['=', '&']).next().unwrap_or_default();
    let name = decoded(name, false).unwrap_or_else(|_| name.to_owned());
    Err(Refused::field(&name, BadReason::Unknown, format!("this route has no parameter `{name}`")))
}

/// Refuses a body that would have to be unpacked.
fn not_packed(headers: &HeaderMap) -> Result<(), Refused> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Refused::media_type())
}

fn written(headers: &HeaderMap) -> Result<Written, Refused> {
    not_packed(headers)?;
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(Written::Unsaid) };
    if values.next().is_some() {
        return Err(Refused::media_type());
    }
    if value.as_bytes() == b"application/json" {
        return Ok(Written::Json);
    }
    let text = value.to_str().map_err(|_| Refused::media_type())?.to_ascii_lowercase();
    let (kind, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let parameters = parameters.trim();
    if !parameters.is_empty() && !matches!(parameters, "charset=utf-8" | "charset=\"utf-8\"") {
        return Err(Refused::media_type());
    }
    match kind.trim() {
        "application/json" => Ok(Written::Json),
        "application/x-www-form-urlencoded" => Ok(Written::Form),
        _ => Err(Refused::media_type()),
    }
}

async fn collect(headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(Refused::body_too_large(BODY_BYTES_MAX));
    }
    match timeout(BODY_TIME_MAX, frames(body)).await {
        Ok(bytes) => bytes,
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
            Err(Refused::field(BODY, BadReason::Missing, detail))
        }
    }
}

/// All bytes of a body; of the usual one-frame body without a copy.
async fn frames(mut body: Body) -> Result<Bytes, Refused> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Refused::field(BODY, BadReason::Syntax, "the body broke off");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if all.len() + first.len() + data.len() > BODY_BYTES_MAX {
            return Err(Refused::body_too_large(BODY_BYTES_MAX));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    // What is derived would also take a list of values in the order of the fields.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Refused::field(BODY, BadReason::Type, "the body is a list, not an object"));
    }
    serde_json::from_slice(bytes).map_err(|error| why::json(bytes, &error))
}

fn form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let not_utf8 = |_| Refused::field(BODY, BadReason::Encoding, "the body is not UTF-8");
    let text = std::str::from_utf8(bytes).map_err(not_utf8)?;
    if text.trim_start().starts_with('{') {
        let detail = "this looks like JSON: send `Content-Type: application/json`";
        return Err(Refused::field(BODY, BadReason::Syntax, detail));
    }
    flat::read(text).map_err(Refused::from)
}

#[cfg(test)]
mod tests;
