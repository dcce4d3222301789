//! `/api/v1/sales`: what is on sale, and each sale's gate.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use contract::Code;
use service_kit::http::ApiError;

use super::document::Document;
use super::{Segment, Shared};
use crate::gateway::Gateway;
use crate::page_cache::Item;
use crate::purchase::Refusal;

/// `GET /api/v1/sales`
pub(super) async fn list(State(gateway): Shared, headers: HeaderMap) -> Response {
    if !gateway.catalogue.is_complete() {
        return no_such_sale(&gateway).into_response();
    }
    let listing = gateway.catalogue.listing();
    let edition = listing.edition;
    let page = gateway.page(Item::List, edition, move || Document::json(&listing.shown())).await;
    page.answer(&headers)
}

/// `GET /api/v1/sales/{sale}`
pub(super) async fn one(State(gateway): Shared, Segment(sale): Segment, headers: HeaderMap) -> Response {
    let Some(sale) = gateway.catalogue.by_id(&sale) else { return no_such_sale(&gateway).into_response() };
    let terms = sale.terms().clone();
    let edition = terms.edition;
    let page = gateway.page(Item::Sale(sale.slot), edition, move || Document::json(&terms.sale.sale)).await;
    page.answer(&headers)
}

/// `GET /api/v1/sales/{sale}/gate`
pub(super) async fn gate(State(gateway): Shared, Segment(sale): Segment) -> Response {
    gate_of(&gateway, &sale).await
}

/// The gate of the sale with this id.
pub(crate) async fn gate_of(gateway: &Gateway, sale: &str) -> Response {
    let Some(sale) = gateway.catalogue.by_id(sale) else {
        return no_such_sale(gateway).into_response();
    };
    let Ok(gate) = sale.gate(&*gateway.stock).await else {
        return Refusal::new(Code::Unavailable).into_response();
    };
    let mut response = Response::new(gate.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A gateway that has just started, and has not heard from inventory, must not say that a sale is not there.
pub(super) fn no_such_sale(gateway: &Gateway) -> ApiError {
    if gateway.catalogue.is_complete() {
        ApiError::new(Code::SaleNotFound, "No sale has this id.")
    } else {
        ApiError::new(Code::Unavailable, "The sales are being loaded.")
    }
}
