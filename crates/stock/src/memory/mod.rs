//! The stock store in this process's memory. It starts empty, so every start takes the road of a lost
//! store: unknown, barrier, rebuild.

mod sale;
mod shelf;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{Clock, ReservationId, SaleId};
use parking_lot::{Mutex, RwLock};

use self::sale::SaleStock;
use crate::port::{
    Held, Peek, Rebuild, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot, StockConfig,
    StockError, StockStore,
};

/// Sales a process keeps at most; opening another is refused.
const SALES_MAX: usize = 10_000;
/// Reservations settled under one lock at most: buyers wait for it.
const SETTLE_MAX: usize = 64;

/// [`StockStore`] in memory: one lock a sale, held for the length of one operation.
pub struct MemoryStock {
    clock: Arc<dyn Clock>,
    sales: RwLock<HashMap<SaleId, Arc<Mutex<Slot>>>>,
}

/// A sale's place: the state in force, and the one being written, if any.
#[derive(Default)]
struct Slot {
    live: Option<SaleStock>,
    draft: Option<(Rebuild, SaleStock)>,
}

impl MemoryStock {
    /// An empty store that reads this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sales: RwLock::default() }
    }

    /// Forgets everything, as a restart does. For drills and tests.
    pub fn lose_everything(&self) {
        self.sales.write().clear();
    }

    fn slot(&self, sale: &SaleId) -> Result<Arc<Mutex<Slot>>, StockError> {
        self.sales.read().get(sale).cloned().ok_or_else(|| StockError::UnknownSale(sale.clone()))
    }

    /// Runs one atomic operation on the sale's state in force.
    fn with<T>(&self, sale: &SaleId, operation: impl FnOnce(&mut SaleStock) -> T) -> Result<T, StockError> {
        let slot = self.slot(sale)?;
        let mut slot = slot.lock();
        slot.live.as_mut().map(operation).ok_or_else(|| StockError::UnknownSale(sale.clone()))
    }

    /// Runs one step of a rebuild, unless it is void.
    fn with_draft(&self, rebuild: &Rebuild, step: impl FnOnce(&mut Slot)) -> bool {
        let Ok(slot) = self.slot(&rebuild.sale) else { return false };
        let mut slot = slot.lock();
        let in_force = slot.draft.as_ref().is_some_and(|(begun, _)| begun == rebuild);
        if in_force {
            step(&mut slot);
        }
        in_force
    }
}

#[async_trait]
impl StockStore for MemoryStock {
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError> {
        let now = self.clock.now();
        self.with(&request.sale, |sale| sale.reserve(request, now))
    }

    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError> {
        let now = self.clock.now();
        self.with(sale, |sale| sale.peek(id, now))
    }

    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError> {
        let now = self.clock.now();
        self.with(sale, |sale| sale.view(now))
    }

    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        for ids in ids.chunks(SETTLE_MAX) {
            self.with(sale, |sale| ids.iter().for_each(|id| sale.settle(*id)))?;
        }
        Ok(())
    }

    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError> {
        let now = self.clock.now();
        self.with(sale, |sale| sale.release(id, now))
    }

    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError> {
        self.with(sale, |sale| sale.configure(config))
    }

    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError> {
        self.with(sale, |sale| sale.set_total(total, version))
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError> {
        let now = self.clock.now();
        self.with(sale, |sale| sale.snapshot(now))
    }

    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError> {
        let before = self.clock.now().plus(-age_ms);
        self.with(sale, |sale| sale.stale(before, limit))
    }

    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError> {
        let mut sales = self.sales.write();
        if sales.len() >= SALES_MAX && !sales.contains_key(&rebuild.sale) {
            return Err(StockError::Unreachable(format!("it is full: {SALES_MAX} sales")));
        }
        let slot = sales.entry(rebuild.sale.clone()).or_default().clone();
        drop(sales);
        let mut slot = slot.lock();
        if slot.live.as_ref().is_some_and(|live| live.epoch() >= rebuild.epoch) {
            return Ok(false);
        }
        if slot.draft.as_ref().is_some_and(|(begun, _)| begun.epoch > rebuild.epoch) {
            return Ok(false);
        }
        // **Out of force from here on**: the ledger rejects what is reserved in it once the barrier is reached.
        slot.live = None;
        slot.draft = Some((rebuild.clone(), SaleStock::empty(rebuild.epoch)));
        Ok(true)
    }

    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError> {
        let now = self.clock.now();
        Ok(self.with_draft(rebuild, |slot| {
            if let Some((_, draft)) = &mut slot.draft {
                live.iter().for_each(|order| draft.load(order, now));
            }
        }))
    }

    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError> {
        Ok(self.with_draft(rebuild, |slot| {
            if let Some((_, mut draft)) = slot.draft.take() {
                draft.arm(config, total, total_version);
                slot.live = Some(draft);
            }
        }))
    }

    async fn ping(&self) -> Result<(), StockError> {
        Ok(())
    }
}
