//! Both stores' counts of a sale, side by side.

use axum::Json;
use axum::extract::{Path, State};
use contract::Code;
use contract::api::{Ledger, StockCounts};
use contract::internal::AllocationView;
use domain::SaleId;
use service_kit::http::ApiError;
use stock::{Snapshot, StockError};

use super::{App, sale_id};
use crate::disagreements::is_consistent;
use crate::inventory::Inventory;

/// `GET /internal/v1/admin/sales/{id}/ledger`.
pub(super) async fn ledger(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Ledger>, ApiError> {
    let id = sale_id(&id)?;
    app.inventory.sales.get(&id).await?;
    let (allocation, snapshot) = app.inventory.both_sides(&id).await?;
    let allocation = allocation.ok_or_else(|| {
        ApiError::new(Code::Unavailable, "The sale has no allocation in the order store yet.")
    })?;
    Ok(Json(side_by_side(&allocation, snapshot.as_ref())))
}

fn side_by_side(allocation: &AllocationView, snapshot: Option<&Snapshot>) -> Ledger {
    Ledger {
        total: allocation.total,
        epoch: allocation.epoch.0,
        stock_store: snapshot.map(|s| StockCounts { free: s.free, reserved: s.reserved, settled: s.settled }),
        order_store: allocation.counts,
        queued: snapshot.map_or(0, |s| s.reservations),
        consistent: snapshot.is_some_and(|s| is_consistent(allocation, s)),
    }
}

impl Inventory {
    /// What the order store and the stock store say of a sale; the latter `None` while it is lost.
    pub(super) async fn both_sides(
        &self,
        sale: &SaleId,
    ) -> Result<(Option<AllocationView>, Option<Snapshot>), ApiError> {
        let allocation = self.ledger.allocation(sale).await?;
        match self.stock.snapshot(sale).await {
            Ok(snapshot) => Ok((allocation, Some(snapshot))),
            Err(StockError::UnknownSale(_)) => Ok((allocation, None)),
            Err(StockError::Unreachable(why)) => Err(ApiError::new(Code::Unavailable, why)),
        }
    }
}
