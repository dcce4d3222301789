//! The internal listener. A route's file is named after its path.

mod admin_sales;
mod audit;
mod late_reservations;
mod ledger;
mod sales;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use contract::Code;
use domain::SaleId;
use service_kit::http::{ApiError, problem_fallbacks};

use crate::inventory::Inventory;
use crate::sale_store::SaleStoreError;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) inventory: Arc<Inventory>,
}

/// Every internal route, without its guard.
pub(crate) fn router(app: App) -> Router {
    let router = Router::new()
        .route("/internal/v1/sales", get(sales::list))
        .route("/internal/v1/sales/{id}", get(sales::one))
        .route("/internal/v1/late-reservations", post(late_reservations::create))
        .route("/internal/v1/audit", get(audit::audit))
        .route("/internal/v1/admin/sales", get(admin_sales::list).post(admin_sales::create))
        .route("/internal/v1/admin/sales/{id}", get(admin_sales::one).patch(admin_sales::patch))
        .route("/internal/v1/admin/sales/{id}/pause", post(admin_sales::pause))
        .route("/internal/v1/admin/sales/{id}/resume", post(admin_sales::resume))
        .route("/internal/v1/admin/sales/{id}/end", post(admin_sales::end))
        .route("/internal/v1/admin/sales/{id}/restock", post(admin_sales::restock))
        .route("/internal/v1/admin/sales/{id}/ledger", get(ledger::ledger));
    problem_fallbacks(router).with_state(app)
}

/// A path's sale id; one that cannot be an id is not found.
pub(crate) fn sale_id(text: &str) -> Result<SaleId, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::SaleNotFound, format!("No sale has the id {text:?}.")))
}

impl From<SaleStoreError> for ApiError {
    fn from(error: SaleStoreError) -> Self {
        match error {
            SaleStoreError::NotFound => Self::new(Code::SaleNotFound, "No sale has this id."),
            SaleStoreError::Conflict(why) => Self::new(Code::Conflict, format!("{why}.")),
            SaleStoreError::Terms(why) => Self::new(Code::InvalidSale, format!("{why}.")),
            SaleStoreError::Unavailable(why) => {
                tracing::warn!(%why, "the sale store is away");
                Self::new(Code::Unavailable, "The sale store does not answer right now.")
            }
            SaleStoreError::Refused(why) => Self::internal(why),
        }
    }
}
