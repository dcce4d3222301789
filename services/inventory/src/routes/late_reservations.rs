//! Units for an order that was paid after it had expired.

use axum::Json;
use axum::extract::State;
use contract::Code;
use contract::events::SaleNews;
use contract::internal::{LateOutcome, LateReservation};
use domain::ReservationId;
use service_kit::http::{ApiError, StrictJson};
use stock::{ReserveOutcome, ReserveRequest, StockError};

use super::App;

/// `POST /internal/v1/late-reservations`. Idempotent: a repeat finds the reservation it made.
pub(super) async fn create(
    State(app): State<App>,
    StrictJson(wanted): StrictJson<LateReservation>,
) -> Result<Json<LateOutcome>, ApiError> {
    let stock = &app.inventory.stock;
    let view = match stock.view(&wanted.sale).await {
        Ok(view) => view,
        Err(error) => return unanswered(&error),
    };
    // The order has expired, so the units it held are to go back; the event that says so may not have come yet. They
    // may be the very units that are asked for.
    let first = ReservationId::first(wanted.order_id);
    match stock.release(&wanted.sale, first).await {
        Ok(released) if released.from_zero => {
            app.inventory.broadcast(&wanted.sale, released.change, SaleNews::Available).await;
        }
        Ok(_) => {}
        Err(error) => return unanswered(&error),
    }
    let fence_age_ms = i64::try_from(app.inventory.fence_age.as_millis()).unwrap_or(i64::MAX);
    let request = ReserveRequest {
        sale: wanted.sale,
        id: ReservationId::late(wanted.order_id),
        buyer: wanted.buyer,
        quantity: wanted.quantity,
        epoch: view.epoch,
        expires_at: view.now.plus(fence_age_ms),
    };
    match stock.reserve(&request).await {
        Ok(ReserveOutcome::Reserved | ReserveOutcome::AlreadyReserved | ReserveOutcome::Settled) => {
            Ok(Json(LateOutcome::Reserved { epoch: view.epoch }))
        }
        // The state changed between the two calls.
        Ok(ReserveOutcome::StaleTicket | ReserveOutcome::Expired) => Ok(Json(LateOutcome::Rebuilding)),
        Ok(
            // Overdue is never said of a late one.
            ReserveOutcome::Overdue
            | ReserveOutcome::Released
            | ReserveOutcome::QuantityMismatch
            | ReserveOutcome::SoldOut(_)
            | ReserveOutcome::NotEnough { .. }
            | ReserveOutcome::LimitReached
            | ReserveOutcome::Closed(_),
        ) => Ok(Json(LateOutcome::Refused)),
        Err(error) => unanswered(&error),
    }
}

fn unanswered(error: &StockError) -> Result<Json<LateOutcome>, ApiError> {
    match error {
        StockError::UnknownSale(_) => Ok(Json(LateOutcome::Rebuilding)),
        StockError::Unreachable(why) => Err(ApiError::new(Code::Unavailable, why.clone())),
    }
}
