//! `/admin/v1/orders`: the order service's, passed on.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use domain::OrderId;
use service_kit::http::ApiError;

use crate::gateway::Gateway;
use crate::routes::{Segment, Shared};
use crate::status::not_found;
use crate::upstream::{For, Service};

/// `GET /admin/v1/orders/{id}`
pub(super) async fn one(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    pass(&gateway, Method::GET, &id, "", &headers).await
}

/// `POST /admin/v1/orders/{id}/refund`
pub(super) async fn refund(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    pass(&gateway, Method::POST, &id, "/refund", &headers).await
}

async fn pass(
    gateway: &Gateway,
    method: Method,
    id: &str,
    suffix: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let order: OrderId = id.parse().map_err(|_| not_found())?;
    let path = format!("/internal/v1/admin/orders/{order}{suffix}");
    gateway.upstream.pass(For::Operator, Service::Order, method, &path, headers, Bytes::new()).await
}
