//! The operators' listener.

mod orders;
mod queues;
mod sales;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use service_kit::Secret;
use service_kit::health::{Health, routes as health_routes};
use service_kit::http::{
    ApiError, RequestId, X_REQUEST_ID, problem_fallbacks, require_bearer, with_request_id,
};
use service_kit::telemetry::Metrics;

use super::Shared;
use crate::gateway::Gateway;
use crate::purchase::{body, json};

/// Everything on the operators' listener: the API behind its token, health and metrics open.
pub(crate) fn router(gateway: &Arc<Gateway>, token: &Secret, health: &Health, metrics: &Metrics) -> Router {
    let api = Router::new()
        .route("/admin/v1/sales", get(sales::list).post(sales::create))
        .route("/admin/v1/sales/{id}", get(sales::one).patch(sales::change))
        .route("/admin/v1/sales/{id}/pause", post(sales::act))
        .route("/admin/v1/sales/{id}/resume", post(sales::act))
        .route("/admin/v1/sales/{id}/end", post(sales::act))
        .route("/admin/v1/sales/{id}/restock", post(sales::change))
        .route("/admin/v1/sales/{id}/ledger", get(sales::one))
        .route("/admin/v1/orders/{id}", get(orders::one))
        .route("/admin/v1/orders/{id}/refund", post(orders::refund))
        .route("/admin/v1/audit", get(audit))
        .route("/admin/v1/queues", get(queues::all))
        .route("/admin/v1/dead-letters", get(queues::dead_letters))
        .route("/admin/v1/dead-letters/{id}/replay", post(queues::replay))
        .with_state(gateway.clone());
    let wait = gateway.limits.body_timeout;
    let guarded = problem_fallbacks(api)
        .layer(from_fn_with_state(wait, prepared))
        .layer(from_fn_with_state(token.clone(), require_bearer));
    health_routes(health, metrics)
        .fallback_service(guarded)
        .layer(from_fn_with_state(gateway.request_ids.clone(), with_request_id))
}

/// What stands behind this waits for no client, and sees the request's id as a header to pass on.
async fn prepared(State(wait): State<Duration>, mut request: Request, next: Next) -> Response {
    if let Some(RequestId(id)) = request.extensions().get::<RequestId>().cloned() {
        request.headers_mut().insert(X_REQUEST_ID, id);
    }
    match body::buffered(request, wait).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// `GET /admin/v1/audit`
async fn audit(State(gateway): Shared) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &gateway.upstream.audit().await?))
}
