//! `/api/v1/demo`: a stand-in for an identity provider and a letter box. Mounted in demo mode only.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use contract::api::{DemoLogin, DemoToken};
use service_kit::http::{ApiError, StrictJson};

use super::{Buyer, Shared};
use crate::purchase::json;

/// How long a demo login lasts.
const LOGIN_S: i64 = 3600;

/// `POST /api/v1/demo/login`
pub(super) async fn login(State(gateway): Shared, StrictJson(login): StrictJson<DemoLogin>) -> Response {
    let token = gateway.identity.mint(&login.user, gateway.clock.now(), LOGIN_S);
    json(StatusCode::OK, &DemoToken { token })
}

/// `GET /api/v1/demo/mailbox`
pub(super) async fn mailbox(State(gateway): Shared, Buyer(buyer): Buyer) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &gateway.upstream.mailbox(&buyer).await?))
}
