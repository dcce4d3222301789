//! The routes: a route's file sits where its URL says.

pub(crate) mod admin;
mod demo;
pub(crate) mod document;
mod events;
mod orders;
pub(crate) mod pages;
mod pay;
mod payments;
mod sales;

pub(crate) use sales::gate_of as gate;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};
use contract::Code;
use domain::BuyerId;
use service_kit::http::{ApiError, problem_fallbacks};

use crate::gateway::Gateway;

type Shared = axum::extract::State<Arc<Gateway>>;

/// Everything on the public listener but the purchase path and the gates.
pub(crate) fn public(gateway: &Arc<Gateway>, demo: bool) -> Router {
    let router = Router::new()
        .route("/", get(pages::index))
        .route("/s/{sale}", get(pages::sale))
        .route("/assets/{*path}", get(pages::asset))
        .route("/api/v1/sales", get(sales::list))
        .route("/api/v1/sales/{sale}", get(sales::one))
        .route("/api/v1/sales/{sale}/gate", get(sales::gate))
        .route("/api/v1/orders", get(orders::list))
        .route("/api/v1/orders/{id}", get(orders::one))
        .route("/api/v1/orders/{id}/events", get(events::stream))
        .route("/api/v1/orders/{id}/payment", post(orders::payment))
        .route("/api/v1/orders/{id}/cancel", post(orders::cancel))
        .route("/api/v1/payments/webhook", post(payments::webhook))
        .route("/pay/{reference}", get(pay::page).post(pay::act));
    let router = if demo {
        router
            .route("/api/v1/demo/login", post(demo::login))
            .route("/api/v1/demo/mailbox", get(demo::mailbox))
    } else {
        router
    };
    problem_fallbacks(router).with_state(gateway.clone())
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
