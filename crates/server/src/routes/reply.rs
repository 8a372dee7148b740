//! Answers as bytes: JSON, or `name=value` lines for shells.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::{CONTENT_TYPE, JSON};
use crate::error::Refused;

/// How the client wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/json`.
    Json,
    /// `text/plain`: `name=value` lines.
    Text,
    /// `text/event-stream`.
    Events,
    /// Anything: JSON, or a stream where there is one.
    Any,
}

impl Format {
    /// The first media type of `Accept` that we can write.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let Some(accept) = headers.get(header::ACCEPT) else { return Format::Any };
        if accept.as_bytes() == b"*/*" {
            return Format::Any;
        }
        let accept = accept.to_str().unwrap_or_default();
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let mut known = kinds.filter_map(|kind| match kind {
            "application/json" | "application/problem+json" | "application/*" => Some(Format::Json),
            "text/plain" => Some(Format::Text),
            "text/event-stream" => Some(Format::Events),
            _ => None,
        });
        known.next().unwrap_or(Format::Any)
    }
}

/// An answer with this status.
pub(super) fn answer<T: Serialize>(status: StatusCode, format: Format, body: &T) -> Response {
    let mut response = match (format, serde_json::to_vec(body)) {
        (Format::Text, Ok(json)) => text(lines(&json)),
        (_, Ok(json)) => typed(JSON, Body::from(json)),
        (_, Err(error)) => return refused(&Refused::bug(&error.to_string()), format),
    };
    *response.status_mut() = status;
    response
}

/// A refusal.
pub(super) fn refused(refused: &Refused, format: Format) -> Response {
    let problem = &*refused.problem;
    let json = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = match format {
        Format::Text => text(lines(&json)),
        _ => typed(HeaderValue::from_static("application/problem+json"), Body::from(json)),
    };
    *response.status_mut() = refused.status();
    refused.write_headers(response.headers_mut());
    response
}

/// The methods of a route.
pub(super) fn options(allow: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// A short text.
pub(super) fn text(text: String) -> Response {
    typed(HeaderValue::from_static("text/plain; charset=utf-8"), Body::from(text))
}

/// A body of some type. Answers have leases and names in them: nothing on the way keeps them.
pub(super) fn typed(kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `name=value` lines; what is nested has its path as name, as in `holders.0.note`.
fn lines(json: &[u8]) -> String {
    let mut lines = String::new();
    if let Ok(value) = serde_json::from_slice(json) {
        write_lines(&mut lines, "", &value);
    }
    lines
}

fn write_lines(lines: &mut String, name: &str, value: &Value) {
    let below =
        |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                write_lines(lines, &below(member), value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                write_lines(lines, &below(&index.to_string()), item);
            }
        }
        Value::String(text) => push_line(lines, name, text),
        other => push_line(lines, name, &other.to_string()),
    }
}

/// A text of the client may come back in a refusal: it must not be able to write a line of its own.
fn push_line(lines: &mut String, name: &str, value: &str) {
    for part in [name, "=", value] {
        lines.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    lines.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values_and_nothing_else() {
        let json = br#"{"acquired":true,"token":4711,"note":"a\nacquired=false","session":null,"holders":[{"owner":"o"}]}"#;
        let expected = "acquired=true\nholders.0.owner=o\nnote=a acquired=false\ntoken=4711\n";
        let text = lines(json);
        let mut sorted: Vec<&str> = text.lines().collect();
        sorted.sort_unstable();
        assert_eq!(sorted.join("\n") + "\n", expected);
    }

    #[test]
    fn the_first_known_media_type_decides() {
        let wanted = |accept: &'static str| {
            Format::wanted(&HeaderMap::from_iter([(
                header::ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        assert_eq!(wanted("text/plain"), Format::Text);
        assert_eq!(wanted("text/html, application/json;q=0.9"), Format::Json);
        assert_eq!(wanted("text/event-stream"), Format::Events);
        assert_eq!(wanted("*/*"), Format::Any);
        assert_eq!(wanted("image/png"), Format::Any);
    }
}
