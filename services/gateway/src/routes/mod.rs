//! The routes: a route's file sits where its URL says.

pub(crate) mod admin;
mod demo;
pub(crate) mod document;
mod event_stream;
mod events;
pub(crate) mod openapi;
mod orders;
pub(crate) mod pages;
mod pay;
mod payments;
mod sales;
mod waiting_room;

pub(crate) use sales::gate_of as gate;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post};
use contract::Code;
use contract::api::WEBHOOK_PATH;
use domain::BuyerId;
use service_kit::http::{ApiError, problem_fallbacks};

use crate::gateway::Gateway;

use openapi::{Operation, Parameter, op};

const HTML: &[&str] = &["text/html"];
const STREAM: &[&str] = &["text/event-stream"];

type Shared = axum::extract::State<Arc<Gateway>>;

/// A path, what serves it, and how that is documented.
type Route = (&'static str, MethodRouter<Arc<Gateway>>, Vec<Operation>);

/// Everything on the public listener but the purchase path: routes and documentation in one table, so that
/// neither can be without the other.
fn table(demo: bool) -> Vec<Route> {
    let mut all = pages_and_sales();
    all.extend(orders());
    all.extend(acts());
    if demo {
        all.extend(demo_routes());
    }
    all
}

/// What anybody may look at, and the waiting rooms.
fn pages_and_sales() -> Vec<Route> {
    let page = |name, summary, statuses| op("get", name, summary, statuses).answering(HTML);
    vec![
        ("/", get(pages::index), vec![page("home", "The shop.", &[200, 304])]),
        ("/s/{sale}", get(pages::sale), vec![page("salePage", "A sale's page.", &[200, 304, 404])]),
        (
            "/assets/{*path}",
            get(pages::asset),
            vec![page("asset", "A file of the pages.", &[200, 304, 404]).answering(pages::ASSETS)],
        ),
        ("/api/openapi.json", get(openapi::show), vec![op("get", "openapi", "This document.", &[200, 304])]),
        (
            "/api/v1/sales",
            get(sales::list),
            vec![op("get", "listSales", "All sales.", &[200, 304]).gives("SaleList")],
        ),
        (
            "/api/v1/sales/{sale}",
            get(sales::one),
            vec![op("get", "getSale", "A sale.", &[200, 304, 404]).gives("Sale")],
        ),
        (
            "/api/v1/sales/{sale}/gate",
            get(sales::gate),
            vec![op("get", "getGate", "A sale's gate.", &[200, 404]).gives("Gate")],
        ),
        (
            "/api/v1/sales/{sale}/waiting-room",
            get(waiting_room::show).post(waiting_room::enter),
            vec![
                op("get", "getWaitingRoom", "How the draw is made.", &[200, 404]).gives("WaitingRoom"),
                op("post", "takePlace", "A place in the line.", &[200, 400, 401, 404, 410, 413, 415])
                    .signed()
                    .takes("TakePlace")
                    .gives("WaitingPlace"),
            ],
        ),
        (
            "/api/v1/sales/{sale}/waiting-room/events",
            get(waiting_room::stream),
            vec![op("get", "followPlace", "How it moves.", &[200, 401, 404]).signed().answering(STREAM)],
        ),
    ]
}

/// Which page of a list.
const PAGING: [Parameter; 2] = [
    Parameter {
        name: "after",
        place: "query",
        kind: "string",
        is_required: false,
        description: "The page before's `next`.",
    },
    Parameter {
        name: "limit",
        place: "query",
        kind: "integer",
        is_required: false,
        description: "Entries on the page, 1 to 100.",
    },
];
/// Who a webhook is from.
const SIGNATURE: Parameter = Parameter {
    name: "Seckill-Signature",
    place: "header",
    kind: "string",
    is_required: true,
    description: "`t=<Unix seconds>,v1=<hex HMAC-SHA256 of \"<t>.<body>\">`.",
};

/// What buyers see of their orders.
fn orders() -> Vec<Route> {
    vec![
        (
            "/api/v1/orders",
            get(orders::list),
            vec![
                op("get", "listOrders", "Own orders.", &[200, 400, 401])
                    .signed()
                    .asks(&PAGING)
                    .gives("OrderList"),
            ],
        ),
        (
            "/api/v1/orders/{id}",
            get(orders::one),
            vec![op("get", "getOrder", "An order.", &[200, 401, 404]).signed().gives("Order")],
        ),
        (
            "/api/v1/orders/{id}/events",
            get(events::stream),
            vec![
                op("get", "followOrder", "Its status as it changes.", &[200, 401, 404])
                    .signed()
                    .answering(STREAM),
            ],
        ),
    ]
}

/// What changes something.
fn acts() -> Vec<Route> {
    const ACT: &[u16] = &[200, 400, 401, 404, 409, 413];
    let act = |name, summary, gives| vec![op("post", name, summary, ACT).signed().gives(gives)];
    let pay = op("get", "payPage", "The payment sandbox's page.", &[200, 404]).answering(HTML);
    let paid = op("post", "pay", "Its buttons.", &[200, 303, 400, 404, 413, 415]).answering(HTML);
    let webhook = op("post", "webhook", "A payment provider's word.", &[200, 400, 401, 413, 415])
        .asks(&[SIGNATURE])
        .takes("WebhookEvent");
    vec![
        (
            "/api/v1/orders/{id}/payment",
            post(orders::payment),
            act("startPayment", "Starts the payment.", "PaymentStarted"),
        ),
        (
            "/api/v1/orders/{id}/cancel",
            post(orders::cancel),
            act("cancelOrder", "Cancels the order.", "Order"),
        ),
        (WEBHOOK_PATH, post(payments::webhook), vec![webhook]),
        ("/pay/{reference}", get(pay::page).post(pay::act), vec![pay, paid]),
    ]
}

/// The demo's own.
fn demo_routes() -> Vec<Route> {
    let login =
        op("post", "demoLogin", "A token.", &[200, 400, 413, 415]).takes("DemoLogin").gives("DemoToken");
    let mailbox = op("get", "demoMailbox", "Notices.", &[200, 401]).signed().gives("Mailbox");
    vec![
        ("/api/v1/demo/login", post(demo::login), vec![login]),
        ("/api/v1/demo/mailbox", get(demo::mailbox), vec![mailbox]),
    ]
}

/// Everything on the public listener but the purchase path and the gates.
pub(crate) fn public(gateway: &Arc<Gateway>, demo: bool) -> Router {
    let router =
        table(demo).into_iter().fold(Router::new(), |router, (path, serves, _)| router.route(path, serves));
    problem_fallbacks(router).with_state(gateway.clone())
}

/// Every operation of the public listener.
pub(crate) fn operations(demo: bool) -> Vec<(&'static str, Operation)> {
    let routes =
        table(demo).into_iter().flat_map(|(path, _, all)| all.into_iter().map(move |one| (path, one)));
    routes.chain(openapi::PURCHASE).collect()
}

/// The variable part of a path. One that is no text names nothing, like any other unknown name.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// The buyer whom the request's token named, on the way in.
#[derive(Clone)]
pub(crate) struct Named(pub(crate) BuyerId);

/// The buyer who asks.
pub(crate) struct Buyer(pub(crate) BuyerId);

impl<S: Sync> FromRequestParts<S> for Buyer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let named = parts.extensions.get::<Named>().cloned();
        named.map(|Named(buyer)| Self(buyer)).ok_or_else(|| {
            ApiError::new(Code::Unauthenticated, "This needs a bearer token that has not ended.")
        })
    }
}
