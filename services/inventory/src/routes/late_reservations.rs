//! Units for an order that was paid after it had expired.

use axum::Json;
use axum::extract::State;
use contract::Code;
use contract::events::SaleNews;
use contract::internal::{LateOutcome, LateReservation};
use domain::ReservationId;
use service_kit::http::{ApiError, StrictJson};
use stock::{Reserve, Reserved, StockError};

use super::App;

/// `POST /internal/v1/late-reservations`. Idempotent: a repeat finds the reservation it made.
pub(super) async fn create(
    State(app): State<App>,
    StrictJson(wanted): StrictJson<LateReservation>,
) -> Result<Json<LateOutcome>, ApiError> {
    let stock = &app.keeper.stock;
    let view = match stock.view(&wanted.sale).await {
        Ok(view) => view,
        Err(error) => return unanswered(&error),
    };
    // The order has expired, so the units it held are to go back; the event that says so may not have come yet. They
    // may be the very units that are asked for.
    let first = ReservationId::first(wanted.order_id);
    match stock.release(&wanted.sale, first).await {
        Ok(released) if released.from_zero => {
            app.keeper.broadcast(&wanted.sale, released.change, SaleNews::Available).await;
        }
        Ok(_) => {}
        Err(error) => return unanswered(&error),
    }
    let fence_age_ms = i64::try_from(app.keeper.fence_age.as_millis()).unwrap_or(i64::MAX);
    let request = Reserve {
        sale: wanted.sale,
        id: ReservationId::late(wanted.order_id),
        buyer: wanted.buyer,
        quantity: wanted.quantity,
        epoch: view.epoch,
        expires_at: view.now.plus(fence_age_ms),
    };
    match stock.reserve(&request).await {
        Ok(Reserved::Reserved | Reserved::AlreadyReserved | Reserved::Settled) => {
            Ok(Json(LateOutcome::Reserved { epoch: view.epoch }))
        }
        // The state changed between the two calls.
        Ok(Reserved::StaleTicket | Reserved::Expired) => Ok(Json(LateOutcome::Rebuilding)),
        Ok(
            // Overdue is never said of a late one.
            Reserved::Overdue
            | Reserved::Finished
            | Reserved::QuantityMismatch
            | Reserved::SoldOut(_)
            | Reserved::NotEnough { .. }
            | Reserved::LimitReached
            | Reserved::Closed(_),
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
