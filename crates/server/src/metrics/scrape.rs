//! The route `/metrics`.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use tenure_core::Role;

use super::Answered;
use super::render::CONTENT_TYPE;
use crate::app::App;
use crate::error::Refused;
use crate::identity::Peer;

/// Its path.
pub(crate) const PATH: &str = "/metrics";

/// Answers a scrape: with a key that may read, or without one at the operators' door.
pub(crate) async fn scrape(app: &App, request: &Parts) -> Result<Response, Refused> {
    let peer = request.extensions.get::<Peer>().cloned().unwrap_or_default();
    if !peer.operators_welcome {
        return Err(Refused::not_found("route"));
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Refused::method("GET, HEAD"));
    }
    if !peer.admin {
        let caller = app.identify(request)?;
        caller.require(Role::Read)?;
        // Names of other keys stand in labels.
        caller.may_touch_all()?;
    }
    let text = app.metrics.text(app).await.map_err(|_| Refused::bug("metrics are no text"))?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response.extensions_mut().insert(Answered { route: PATH, code: "" });
    Ok(response)
}
