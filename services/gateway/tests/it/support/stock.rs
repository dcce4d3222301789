//! The memory stock, with a hand on its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{Clock, ReservationId, SaleId};
use parking_lot::Mutex;
use stock::{
    Held, MemoryStock, Peek, Rebuild, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot,
    StockConfig, StockError, StockStore,
};

type Hook = Box<dyn Fn(&MemoryStock) + Send + Sync>;

/// A real memory stock that counts what it is asked and can be made to fail.
pub struct Stock {
    pub inner: MemoryStock,
    pub unreachable: AtomicBool,
    /// The next reservation is made, and its answer lost.
    pub loses_answer: AtomicBool,
    pub reserves: AtomicUsize,
    pub new_reservations: AtomicUsize,
    pub views: AtomicUsize,
    pub releases: AtomicUsize,
    /// Answers the next reservations instead of the store.
    pub script: Mutex<Vec<ReserveOutcome>>,
    /// Called after each reservation, before its answer is given.
    pub after_reserve: Mutex<Option<Hook>>,
}

impl Stock {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: MemoryStock::new(clock),
            unreachable: AtomicBool::new(false),
            loses_answer: AtomicBool::new(false),
            reserves: AtomicUsize::new(0),
            new_reservations: AtomicUsize::new(0),
            views: AtomicUsize::new(0),
            releases: AtomicUsize::new(0),
            script: Mutex::default(),
            after_reserve: Mutex::default(),
        }
    }

    fn reached(&self) -> Result<(), StockError> {
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(StockError::Unreachable("cut by the test".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl StockStore for Stock {
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError> {
        self.reached()?;
        self.reserves.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = self.script.lock().pop() {
            return Ok(answer);
        }
        let answer = self.inner.reserve(request).await?;
        if answer == ReserveOutcome::Reserved {
            self.new_reservations.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(hook) = self.after_reserve.lock().take() {
            hook(&self.inner);
        }
        if self.loses_answer.swap(false, Ordering::SeqCst) {
            return Err(StockError::Unreachable("the answer was lost by the test".into()));
        }
        Ok(answer)
    }

    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError> {
        self.reached()?;
        self.inner.peek(sale, id).await
    }

    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError> {
        self.reached()?;
        self.views.fetch_add(1, Ordering::SeqCst);
        self.inner.view(sale).await
    }

    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        self.inner.settle(sale, ids).await
    }

    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError> {
        self.releases.fetch_add(1, Ordering::SeqCst);
        self.inner.release(sale, id).await
    }

    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError> {
        self.inner.configure(sale, config).await
    }

    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError> {
        self.inner.set_total(sale, total, version).await
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError> {
        self.inner.snapshot(sale).await
    }

    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError> {
        self.inner.stale(sale, age_ms, limit).await
    }

    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError> {
        self.inner.rebuild_begin(rebuild).await
    }

    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError> {
        self.inner.rebuild_load(rebuild, live).await
    }

    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError> {
        self.inner.rebuild_finish(rebuild, config, total, total_version).await
    }

    async fn ping(&self) -> Result<(), StockError> {
        self.reached()
    }
}
