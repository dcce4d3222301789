//! `/admin/v1/sales`: inventory's, passed on. The same suffix, the same bodies.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use contract::Code;
use domain::SaleId;
use service_kit::http::ApiError;

use crate::gateway::Gateway;
use crate::purchase::body::is_json;
use crate::routes::{Segment, Shared};
use crate::upstream::Service;

/// `GET /admin/v1/sales`
pub(super) async fn list(State(gateway): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    ask(&gateway, Method::GET, "", &headers, Bytes::new()).await
}

/// `POST /admin/v1/sales`
pub(super) async fn create(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    need_json(&headers)?;
    tell(&gateway, Method::POST, "", &headers, body).await
}

/// `GET /admin/v1/sales/{id}` and `…/ledger`
pub(super) async fn one(
    State(gateway): Shared,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    ask(&gateway, Method::GET, &suffix(&id, &uri)?, &headers, Bytes::new()).await
}

/// `PATCH /admin/v1/sales/{id}` and `POST …/restock`
pub(super) async fn change(
    State(gateway): Shared,
    Segment(id): Segment,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    need_json(&headers)?;
    tell(&gateway, method, &suffix(&id, &uri)?, &headers, body).await
}

/// `POST /admin/v1/sales/{id}/pause`, `…/resume`, `…/end`
pub(super) async fn act(
    State(gateway): Shared,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    tell(&gateway, Method::POST, &suffix(&id, &uri)?, &headers, Bytes::new()).await
}

/// `/{id}` and what follows it in the request's path, which the router knows.
fn suffix(id: &str, uri: &Uri) -> Result<String, ApiError> {
    let id: SaleId = id.parse().map_err(|_| ApiError::new(Code::SaleNotFound, "No sale has this id."))?;
    let action = uri.path().rsplit('/').next().filter(|last| *last != id.as_str());
    Ok(action.map_or(format!("/{id}"), |action| format!("/{id}/{action}")))
}

fn need_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, "Send content-type: application/json."))
}

async fn ask(
    gateway: &Gateway,
    method: Method,
    suffix: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let path = format!("/internal/v1/admin/sales{suffix}");
    gateway.upstream.pass(Service::Inventory, method, &path, headers, body).await
}

/// The same, for what changes a sale: whoever changed it sees it changed here at once.
async fn tell(
    gateway: &Gateway,
    method: Method,
    suffix: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let response = ask(gateway, method, suffix, headers, body).await?;
    if response.status().is_success() {
        match gateway.upstream.sales().await {
            Ok(sales) => gateway.catalogue.learn(sales),
            Err(error) => tracing::debug!(%error, "the catalogue will be refreshed later"),
        }
        if let Some(sale) = suffix.split('/').nth(1).and_then(|id| gateway.catalogue.by_id(id)) {
            sale.forget_view();
        }
    }
    Ok(response)
}
