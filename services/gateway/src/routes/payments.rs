//! `/api/v1/payments/webhook`: the payment provider's word, passed on with its signature.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use contract::Code;
use contract::api::WEBHOOK_SIGNATURE_HEADER;
use service_kit::http::ApiError;

use super::Shared;
use crate::upstream::{For, Service};

/// `POST /api/v1/payments/webhook`: the signature is over the raw body, so not a byte is touched here. The key is the
/// order service's; one without a signature goes no further.
pub(super) async fn webhook(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if !headers.contains_key(WEBHOOK_SIGNATURE_HEADER) {
        return Err(ApiError::new(
            Code::BadSignature,
            "The webhook is not signed: Seckill-Signature is missing.",
        ));
    }
    let (method, path) = (Method::POST, "/internal/v1/webhook");
    gateway.upstream.pass(For::Provider, Service::Order, method, path, &headers, body).await
}
