//! What every part of inventory works with, and the few steps they share.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use contract::events::{Change, SaleBroadcast, SaleNews};
use domain::{Clock, SaleId, SaleState};
use messaging::{EventBus, OrderQueue};
use parking_lot::Mutex;
use stock::{SaleView, StockStore};
use tokio::sync::Semaphore;

use crate::ledger::Ledger;
use crate::sale_store::{SaleRow, SaleStore};

/// Inventory's parts.
pub(crate) struct Inventory {
    pub(crate) sales: Arc<dyn SaleStore>,
    pub(crate) stock: Arc<dyn StockStore>,
    pub(crate) queue: Arc<dyn OrderQueue>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    /// Age at which an unsettled reservation is fenced. **Longer than a ticket lives plus the publish
    /// bound**: a younger one's order may still be on its way to the lane.
    pub(crate) fence_age: Duration,
    /// Sales whose stock state is being rebuilt by this process.
    pub(crate) rebuilding: Mutex<HashSet<SaleId>>,
    /// One for every rebuild at once of sales that sell or will, first come first served.
    pub(crate) rebuild_slots: Semaphore,
    /// The same for sales that are over: they are many, and nobody waits for them.
    pub(crate) ended_rebuild_slots: Semaphore,
}

impl Inventory {
    /// Tells every gateway. Best effort: gateways probe by themselves when they miss it.
    pub(crate) async fn broadcast(&self, sale: &SaleId, change: Change, news: SaleNews) {
        let told = self.bus.broadcast(&SaleBroadcast { sale: sale.clone(), change, news }).await;
        if let Err(error) = told {
            tracing::warn!(%sale, %error, "gateways could not be told of a sale's state");
        }
    }

    /// Tells every gateway what the sale's present state amounts to.
    pub(crate) async fn broadcast_view(&self, sale: &SaleId, view: &SaleView) {
        let news = match view.state() {
            SaleState::Upcoming | SaleState::Open => SaleNews::Available,
            SaleState::Paused => SaleNews::Paused,
            SaleState::SoldOut => SaleNews::SoldOut,
            SaleState::Ended => SaleNews::Ended,
        };
        self.broadcast(sale, view.change, news).await;
    }

    /// Brings the ledger and the stock store up to the row: total first in the ledger, then in the
    /// store, so that the store never lets more in than the ledger takes. Whatever fails here is
    /// done again by the reconciler.
    pub(crate) async fn push(&self, sale: &SaleRow) -> Result<(), String> {
        self.ledger.put(sale).await.map_err(|e| e.to_string())?;
        let told = async {
            self.stock.configure(&sale.id, &sale.stock_config()).await?;
            self.stock.set_total(&sale.id, sale.terms.stock, sale.total_version).await?;
            self.stock.view(&sale.id).await
        };
        let view = told.await.map_err(|e| e.to_string())?;
        self.broadcast(&sale.id, view.change, SaleNews::Opened).await;
        self.broadcast_view(&sale.id, &view).await;
        Ok(())
    }
}
