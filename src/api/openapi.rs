//! The OpenAPI 3.1 document, generated from the handlers.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{admin, billing, campaigns, dead_letters, messages, senders, suppressions, templates};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Malote",
        description = "WhatsApp campaigns through Meta's Cloud API: sent once, followed to the end, billed exactly.\n\n\
            Errors are `application/problem+json` with a stable `code`. Lists are pages: `{items, next_cursor}`. Times are RFC 3339 in UTC. \
            Send an `Idempotency-Key` with every POST that creates or sends, and repeat it freely."
    ),
    paths(
        campaigns::routes::create, campaigns::routes::list, campaigns::routes::read, campaigns::routes::upload,
        campaigns::routes::preflight, campaigns::routes::launch, campaigns::routes::pause, campaigns::routes::resume,
        campaigns::routes::cancel, campaigns::routes::test, campaigns::routes::events,
        messages::routes::send, messages::routes::list, messages::routes::read,
        dead_letters::routes::list, dead_letters::routes::replay, dead_letters::routes::purge,
        suppressions::routes::list, suppressions::routes::put, suppressions::routes::remove,
        senders::add, senders::list, senders::change,
        templates::list, templates::sync,
        billing::usage::read, billing::invoices::list, billing::ledger::list,
        admin::plans::publish, admin::plans::list,
        admin::tenants::create, admin::tenants::list, admin::tenants::read, admin::tenants::change,
        admin::tenants::suspend, admin::tenants::assign,
        admin::keys::create, admin::keys::list, admin::keys::revoke, admin::quarantine::list,
    ),
    modifiers(&Keys),
    components(schemas(super::error::Problem)),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = || SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        if let Some(components) = &mut document.components {
            components.add_security_scheme("api_key", bearer());
            components.add_security_scheme("admin_key", bearer());
        }
    }
}

/// Writes the document as JSON, the same bytes every time.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}
