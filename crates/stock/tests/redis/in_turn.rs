//! Several adapters as one store: each call goes to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{ReservationId, SaleId};
use stock::{
    Held, Peek, Rebuild, RedisStock, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot,
    StockConfig, StockError, StockStore,
};

pub(crate) struct InTurn {
    stores: Vec<Arc<RedisStock>>,
    next: AtomicUsize,
}

impl InTurn {
    pub(crate) fn of(stores: Vec<Arc<RedisStock>>) -> Self {
        Self { stores, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &RedisStock {
        &self.stores[self.next.fetch_add(1, Ordering::Relaxed) % self.stores.len()]
    }
}

#[async_trait]
impl StockStore for InTurn {
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError> {
        self.next().reserve(request).await
    }

    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError> {
        self.next().peek(sale, id).await
    }

    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError> {
        self.next().view(sale).await
    }

    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        self.next().settle(sale, ids).await
    }

    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError> {
        self.next().release(sale, id).await
    }

    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError> {
        self.next().configure(sale, config).await
    }

    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError> {
        self.next().set_total(sale, total, version).await
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError> {
        self.next().snapshot(sale).await
    }

    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError> {
        self.next().stale(sale, age_ms, limit).await
    }

    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError> {
        self.next().rebuild_begin(rebuild).await
    }

    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError> {
        self.next().rebuild_load(rebuild, live).await
    }

    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError> {
        self.next().rebuild_finish(rebuild, config, total, total_version).await
    }

    async fn ping(&self) -> Result<(), StockError> {
        self.next().ping().await
    }
}
