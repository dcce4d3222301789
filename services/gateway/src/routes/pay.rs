//! `/pay/{reference}`: the payment sandbox's page, which the order service serves.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use contract::Code;
use service_kit::http::ApiError;

use super::{Segment, Shared};
use crate::gateway::Gateway;
use crate::upstream::{For, Service};

/// `GET /pay/{reference}`
pub(super) async fn page(
    State(gateway): Shared,
    Segment(reference): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    pass(&gateway, Method::GET, &reference, &headers, Bytes::new()).await
}

/// `POST /pay/{reference}`
pub(super) async fn act(
    State(gateway): Shared,
    Segment(reference): Segment,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    pass(&gateway, Method::POST, &reference, &headers, body).await
}

async fn pass(
    gateway: &Gateway,
    method: Method,
    reference: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    // It becomes part of a path: nothing that could lead elsewhere gets in.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=128).contains(&reference.len()) && reference.bytes().all(is_plain);
    if !fits || reference.starts_with('.') {
        return Err(ApiError::new(Code::NotFound, "There is no such payment."));
    }
    let path = format!("/pay/{reference}");
    gateway.upstream.pass(For::Buyer, Service::Order, method, &path, headers, body).await
}
