//! What operators see and do: orders with their money, refunds, the audit.

use axum::Json;
use axum::extract::{Path, State};
use contract::Code;
use contract::api::{AdminOrder, Audit};
use service_kit::http::ApiError;

use super::orders::shown;
use super::{App, order_id, order_not_found};
use crate::order_store::Refunded;

/// `GET /internal/v1/admin/orders/{id}`.
pub(super) async fn order(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<AdminOrder>, ApiError> {
    let history = app.store.order_history(order_id(&id)?).await?.ok_or_else(order_not_found)?;
    Ok(Json(AdminOrder {
        order: shown(&history.order),
        buyer: history.order.buyer,
        reason: history.order.reason,
        payments: history.payments,
        refunds: history.refunds,
    }))
}

/// `POST /internal/v1/admin/orders/{id}/refund`.
pub(super) async fn refund(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<AdminOrder>, ApiError> {
    match app.store.refund_order(order_id(&id)?).await? {
        Refunded::Done => order(State(app), Path(id)).await,
        Refunded::NotRefundable(status) => Err(ApiError::new(
            Code::NotRefundable,
            format!("The order is {status}; only a paid one is refunded."),
        )),
        Refunded::NotFound => Err(order_not_found()),
    }
}

/// `GET /internal/v1/audit`.
pub(super) async fn audit(State(app): State<App>) -> Result<Json<Audit>, ApiError> {
    let findings = app.store.audit().await?;
    Ok(Json(Audit { ok: findings.is_empty(), findings }))
}
