//! The OpenAPI document, generated from the routes' own annotations and the wire's own types.

use std::sync::LazyLock;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::routes::{acquire, changes, holding, keys, locks, operator, service, sessions};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tenure", description = "Distributed locks with fencing tokens, queues and the answer to who holds it."),
    modifiers(&Bearer),
    security(("key" = [])),
    tags((name = "locks"), (name = "sessions"), (name = "changes"), (name = "operator"), (name = "keys"),
        (name = "cluster"), (name = "service")),
    paths(
        acquire::lock, acquire::many, holding::renew_lock, holding::renew_many, holding::release_lock,
        holding::release_many, holding::convert, holding::check, holding::hand_over, operator::recall,
        operator::break_grant, operator::resize, locks::one, locks::list, sessions::open, sessions::list,
        sessions::one, sessions::keep_alive, sessions::events, sessions::end, changes::changes, keys::list,
        keys::make, keys::remove, keys::rotate, service::info, service::stats, service::cluster,
        service::add_member,
        service::remove_member, service::transfer, service::backup, service::drain, service::health, service::ready, service::open_api,
    ),
    components(schemas(
        tenure_api::ChangeEvent, tenure_api::EndedEvent, tenure_api::RecalledEvent, tenure_api::ResyncEvent,
        tenure_api::EndEvent, tenure_api::Many,
    ))
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("key", bearer);
    }
}

/// The document as JSON.
pub(crate) fn json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let document = Document::openapi().to_pretty_json();
        document.expect("the document has only plain values")
    });
    &JSON
}
