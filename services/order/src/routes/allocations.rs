//! Allocations, as inventory sets and reads them.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use contract::Code;
use contract::internal::{AllocationView, OutboxView, PutAllocation};
use domain::Currency;
use futures_util::StreamExt;
use service_kit::http::{ApiError, StrictJson};

use super::{App, sale_id};
use crate::order_store::AllocationRecord;

fn view(record: AllocationRecord) -> Json<AllocationView> {
    Json(AllocationView {
        sale: record.sale,
        total: record.guard.total,
        total_version: record.total_version,
        epoch: record.guard.epoch,
        counts: record.counts,
    })
}

fn not_found() -> ApiError {
    ApiError::new(Code::SaleNotFound, "The sale has no allocation.")
}

/// `PUT /internal/v1/allocations/{sale}`.
pub(super) async fn put(
    State(app): State<App>,
    Path(sale): Path<String>,
    StrictJson(put): StrictJson<PutAllocation>,
) -> Result<Json<AllocationView>, ApiError> {
    let bad = |why: String| ApiError::new(Code::BadRequest, why);
    put.currency.parse::<Currency>().map_err(|e| bad(format!("{e}.")))?;
    if put.price_cents < 0 {
        return Err(bad("price_cents must be 0 or more.".into()));
    }
    Ok(view(app.store.put_allocation(&sale_id(&sale)?, &put).await?))
}

/// `GET /internal/v1/allocations/{sale}`.
pub(super) async fn get(
    State(app): State<App>,
    Path(sale): Path<String>,
) -> Result<Json<AllocationView>, ApiError> {
    app.store.allocation(&sale_id(&sale)?).await?.map(view).ok_or_else(not_found)
}

/// `GET /internal/v1/outbox`: whether what happened to allocations is still to be told.
pub(super) async fn outbox(State(app): State<App>) -> Result<Json<OutboxView>, ApiError> {
    Ok(Json(OutboxView { oldest_ms: app.store.backlog().await?.outbox_oldest_ms }))
}

/// `GET /internal/v1/allocations/{sale}/snapshot`: NDJSON. A line that cannot be read ends the stream
/// without its end line, which makes it worthless to the reader.
pub(super) async fn snapshot(State(app): State<App>, Path(sale): Path<String>) -> Result<Response, ApiError> {
    let lines = app.store.snapshot(&sale_id(&sale)?).await?.ok_or_else(not_found)?;
    let lines = lines.map(|line| {
        let mut json = serde_json::to_vec(&line?)?;
        json.push(b'\n');
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Bytes::from(json))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
