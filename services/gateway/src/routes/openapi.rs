//! `/api/openapi.json`: the public API as a document, made of the same table as the router.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use contract::{Problem, api, events};
use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::Shared;
use super::document::Document;

/// One operation, as documented.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// In lower case.
    pub(crate) method: &'static str,
    /// Its name, in the document and for generated clients.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) summary: &'static str,
    /// The media types of what it answers when all is well.
    pub(crate) answers: &'static [&'static str],
    /// Every status it may answer with, besides 429, 431 and 503, which all may.
    pub(crate) statuses: &'static [u16],
    /// Whether it needs a bearer token.
    pub(crate) buyer: bool,
    /// The name of its body's schema, if it takes one.
    pub(crate) body: Option<&'static str>,
    /// The name of its answer's schema, if that is JSON.
    pub(crate) answer: Option<&'static str>,
    /// Whether it can do without its body.
    pub(crate) is_body_optional: bool,
    /// What else it takes, beside what is in its path.
    pub(crate) parameters: &'static [Parameter],
}

/// A parameter of the query or the header.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// `query` or `header`.
    pub(crate) place: &'static str,
    /// Its JSON type.
    pub(crate) kind: &'static str,
    /// Whether it must be there.
    pub(crate) is_required: bool,
    /// One sentence.
    pub(crate) description: &'static str,
}

const JSON: &str = "application/json";

/// An operation that answers JSON.
pub(crate) const fn op(
    method: &'static str,
    name: &'static str,
    summary: &'static str,
    statuses: &'static [u16],
) -> Operation {
    Operation {
        method,
        name,
        summary,
        answers: &[JSON],
        statuses,
        buyer: false,
        body: None,
        answer: None,
        is_body_optional: false,
        parameters: &[],
    }
}

impl Operation {
    /// It needs a bearer token.
    pub(crate) const fn signed(mut self) -> Self {
        self.buyer = true;
        self
    }

    /// It takes a body of this schema.
    pub(crate) const fn takes(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }

    /// It takes a body of this schema, or none.
    pub(crate) const fn may_take(mut self, body: &'static str) -> Self {
        self.is_body_optional = true;
        self.takes(body)
    }

    /// It takes these parameters.
    pub(crate) const fn asks(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    /// It answers JSON of this schema.
    pub(crate) const fn gives(mut self, schema: &'static str) -> Self {
        self.answer = Some(schema);
        self
    }

    /// It answers something else than JSON.
    pub(crate) const fn answering(mut self, media_types: &'static [&'static str]) -> Self {
        self.answers = media_types;
        self
    }
}

/// The purchase path, which the front door serves without the router.
pub(crate) const PURCHASE: [(&str, Operation); 2] = [
    (
        "/api/v1/buy/{slug}/tickets",
        op("post", "issueTicket", "A new ticket.", &[200, 400, 401, 403, 404, 409, 410, 413, 415])
            .signed()
            .may_take("TicketRequest")
            .gives("TicketIssued"),
    ),
    (
        "/api/v1/buy/{slug}/orders",
        op(
            "post",
            "placeOrder",
            "Places the ticket's order; the same ticket again answers the same.",
            &[202, 400, 401, 403, 404, 409, 410, 413, 415, 422],
        )
        .signed()
        .takes("PlaceOrder")
        .gives("Accepted"),
    ),
];

/// The document of these operations.
///
/// # Errors
/// When it is no OpenAPI document: a bug in this file, which a test finds.
pub(crate) fn document(operations: &[(&str, Operation)]) -> Result<OpenApi, serde_json::Error> {
    let mut paths = serde_json::Map::new();
    for (path, operation) in operations {
        let item = paths.entry((*path).replace("{*path}", "{path}")).or_insert_with(|| json!({}));
        item[operation.method] = described(path, operation);
    }
    serde_json::from_value(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "seckill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The public API of a flash-sale platform. Times are Unix milliseconds, money is minor units.",
        },
        "paths": paths,
        "components": { "schemas": Schemas::openapi().components.map(|c| json!(c.schemas)), "securitySchemes": {
            "buyer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
        } },
    }))
}

fn described(path: &str, operation: &Operation) -> Value {
    let in_path = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } }));
    let beside_it = operation.parameters.iter().map(|asked| {
        json!({
            "name": asked.name,
            "in": asked.place,
            "required": asked.is_required,
            "description": asked.description,
            "schema": { "type": asked.kind },
        })
    });
    let parameters: Vec<_> = in_path.chain(beside_it).collect();
    let mut responses = serde_json::Map::new();
    for status in operation.statuses.iter().chain(&[429, 431, 503]) {
        let (description, content) = match status {
            200..300 => ("As asked.", content(operation)),
            303 => ("Elsewhere.", json!({})),
            304 => ("Not changed.", json!({})),
            431 => ("The header is too large.", json!({})),
            _ => (
                "A problem document.",
                json!({
                    "application/problem+json": schema_of("Problem"),
                    "text/html": {},
                }),
            ),
        };
        responses.insert(status.to_string(), json!({ "description": description, "content": content }));
    }
    let mut told = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if operation.buyer {
        told["security"] = json!([{ "buyer": [] }]);
    }
    if let Some(schema) = operation.body {
        let is_required = !operation.is_body_optional;
        told["requestBody"] = json!({ "required": is_required, "content": { JSON: schema_of(schema) } });
    }
    told
}

fn content(operation: &Operation) -> Value {
    let schema = operation.answer.map_or(json!({}), schema_of);
    operation.answers.iter().map(|media_type| ((*media_type).to_owned(), schema.clone())).collect()
}

fn schema_of(name: &str) -> Value {
    json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } })
}

/// The bodies, as the contract has them.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    api::Accepted,
    api::DemoLogin,
    api::DemoToken,
    api::Gate,
    api::Mailbox,
    api::Order,
    api::OrderList,
    api::PaymentStarted,
    api::PlaceOrder,
    api::Proof,
    api::ProofWanted,
    api::Sale,
    api::SaleList,
    api::TakePlace,
    api::TicketIssued,
    api::TicketRequest,
    api::WaitingPlace,
    api::WaitingRoom,
    api::WebhookEvent,
    api::WebhookKind,
    events::Channel,
    events::Notice,
    events::Priority,
    Problem,
)))]
struct Schemas;

/// `GET /api/openapi.json`
pub(super) async fn show(State(gateway): Shared, headers: HeaderMap) -> Response {
    gateway.openapi.answer(&headers)
}

/// The document, ready to be answered.
#[must_use]
pub(crate) fn ready(operations: &[(&str, Operation)]) -> Document {
    match document(operations) {
        Ok(document) => Document::json(&document),
        Err(error) => {
            tracing::error!(%error, "the API's document is broken");
            Document::json(&json!({}))
        }
    }
}
