//! `/api/v1/payments/webhook`: the payment provider's word, passed on with its signature.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use service_kit::http::ApiError;

use super::Shared;
use crate::upstream::Service;

/// `POST /api/v1/payments/webhook`: the signature is over the raw body, so not a byte is touched here.
pub(super) async fn webhook(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    gateway.upstream.pass(Service::Order, Method::POST, "/internal/v1/webhook", &headers, body).await
}
