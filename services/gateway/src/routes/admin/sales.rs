//! `/admin/v1/sales`: inventory's, passed on. The same suffix, the same bodies.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use contract::Code;
use domain::SaleId;
use service_kit::http::{ApiError, require_json};

use crate::gateway::Gateway;
use crate::routes::{Segment, Shared};
use crate::upstream::{For, Service};

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
    require_json(&headers)?;
    tell(&gateway, Method::POST, "", &headers, body).await
}

/// `GET /admin/v1/sales/{id}`
pub(super) async fn one(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    ask(&gateway, Method::GET, &sale_path(&id, "")?, &headers, Bytes::new()).await
}

/// `GET /admin/v1/sales/{id}/ledger`
pub(super) async fn ledger(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    ask(&gateway, Method::GET, &sale_path(&id, "/ledger")?, &headers, Bytes::new()).await
}

/// `PATCH /admin/v1/sales/{id}`
pub(super) async fn change(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_json(&headers)?;
    tell(&gateway, Method::PATCH, &sale_path(&id, "")?, &headers, body).await
}

/// `POST /admin/v1/sales/{id}/restock`
pub(super) async fn restock(
    State(gateway): Shared,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_json(&headers)?;
    tell(&gateway, Method::POST, &sale_path(&id, "/restock")?, &headers, body).await
}

/// `POST /admin/v1/sales/{id}/pause`
pub(super) async fn pause(gateway: Shared, id: Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    act(gateway, id, "/pause", headers).await
}

/// `POST /admin/v1/sales/{id}/resume`
pub(super) async fn resume(gateway: Shared, id: Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    act(gateway, id, "/resume", headers).await
}

/// `POST /admin/v1/sales/{id}/end`
pub(super) async fn end(gateway: Shared, id: Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    act(gateway, id, "/end", headers).await
}

async fn act(
    State(gateway): Shared,
    Segment(id): Segment,
    action: &str,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    tell(&gateway, Method::POST, &sale_path(&id, action)?, &headers, Bytes::new()).await
}

/// The sale's path at inventory, below all sales.
fn sale_path(id: &str, action: &str) -> Result<String, ApiError> {
    let id: SaleId = id.parse().map_err(|_| ApiError::new(Code::SaleNotFound, "No sale has this id."))?;
    Ok(format!("/{id}{action}"))
}

async fn ask(
    gateway: &Gateway,
    method: Method,
    suffix: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let path = format!("/internal/v1/admin/sales{suffix}");
    gateway.upstream.pass(For::Operator, Service::Inventory, method, &path, headers, body).await
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
