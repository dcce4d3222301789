//! `/api/v1/payments/webhook`: the payment provider's word, passed on with its signature.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use contract::Code;
use service_kit::http::ApiError;
use tokio::sync::Semaphore;

use super::Shared;
use crate::upstream::Service;

/// Webhooks at work at once: whoever sends them without a right to must not take the calls of all buyers.
const WEBHOOKS_MAX: usize = 64;
static WEBHOOKS: Semaphore = Semaphore::const_new(WEBHOOKS_MAX);

/// `POST /api/v1/payments/webhook`: the signature is over the raw body, so not a byte is touched here.
pub(super) async fn webhook(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let _one_of_many = WEBHOOKS
        .try_acquire()
        .map_err(|_| ApiError::new(Code::Overloaded, "Too many webhooks are at work: send it again."))?;
    gateway.upstream.pass(Service::Order, Method::POST, "/internal/v1/webhook", &headers, body).await
}
