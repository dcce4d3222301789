//! The operators' listener.

mod orders;
mod queues;
mod sales;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contract::Code;
use service_kit::Secret;
use service_kit::health::{Health, routes as health_routes};
use service_kit::http::{
    ApiError, RequestId, X_REQUEST_ID, problem_fallbacks, require_bearer, with_request_id,
};
use service_kit::telemetry::Metrics;
use tracing::Instrument;

use super::Shared;
use crate::audit::Act;
use crate::gateway::Gateway;
use crate::purchase::{body, json};

/// Everything on the operators' listener: the API behind its token, health and metrics open.
pub(crate) fn router(gateway: &Arc<Gateway>, token: &Secret, health: &Health, metrics: &Metrics) -> Router {
    let api = Router::new()
        .route("/admin/v1/sales", get(sales::list).post(sales::create))
        .route("/admin/v1/sales/{id}", get(sales::one).patch(sales::change))
        .route("/admin/v1/sales/{id}/pause", post(sales::pause))
        .route("/admin/v1/sales/{id}/resume", post(sales::resume))
        .route("/admin/v1/sales/{id}/end", post(sales::end))
        .route("/admin/v1/sales/{id}/restock", post(sales::restock))
        .route("/admin/v1/sales/{id}/ledger", get(sales::ledger))
        .route("/admin/v1/orders/{id}", get(orders::one))
        .route("/admin/v1/orders/{id}/refund", post(orders::refund))
        .route("/admin/v1/audit", get(audit))
        .route("/admin/v1/queues", get(queues::all))
        .route("/admin/v1/dead-letters", get(queues::dead_letters))
        .route("/admin/v1/dead-letters/{id}/replay", post(queues::replay))
        .with_state(gateway.clone());
    let wait = gateway.limits.body_timeout;
    let guarded = problem_fallbacks(api)
        .layer(from_fn_with_state(gateway.clone(), recorded))
        .layer(from_fn_with_state(wait, prepared))
        .layer(from_fn_with_state(token.clone(), require_bearer));
    problem_fallbacks(health_routes(health, metrics))
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

/// Every act is in the audit log before it is done, and its outcome after it. What cannot be recorded is
/// not done.
async fn recorded(State(gateway): Shared, request: Request, next: Next) -> Response {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    // On a task of its own: an operator who hangs up does not leave an act half done, or without its outcome.
    let done = tokio::spawn(act_on_record(gateway, request, next).in_current_span());
    done.await.unwrap_or_else(|error| ApiError::internal(error).into_response())
}

async fn act_on_record(gateway: Arc<Gateway>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // Already read and bounded.
    let body = axum::body::to_bytes(body, contract::api::BODY_BYTES_MAX).await.unwrap_or_default();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.to_string());
    let request_id = parts.headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let (request_id, method, path) =
        (request_id.to_owned(), parts.method.clone(), parts.uri.path().to_owned());
    let mut act = Act {
        at: gateway.clock.now().0,
        request: &request_id,
        peer: peer.as_deref().unwrap_or("unknown"),
        method: method.as_str(),
        path: &path,
        body: Act::words(&body),
        status: None,
    };
    if let Err(error) = gateway.audit_log.record(&act).await {
        tracing::error!(%error, "the audit log cannot be written: nothing is done");
        return ApiError::new(Code::Unavailable, "The act could not be recorded, so it was not done.")
            .into_response();
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    (act.at, act.body, act.status) = (gateway.clock.now().0, None, Some(response.status().as_u16()));
    if let Err(error) = gateway.audit_log.record(&act).await {
        tracing::error!(%error, "an act's outcome could not be recorded");
    }
    response
}

/// `GET /admin/v1/audit`
async fn audit(State(gateway): Shared) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &gateway.upstream.audit().await?))
}
