//! The sale's view of the stock store: asked for at most every 50 ms, however many want it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use domain::UnixMillis;
use stock::{SaleView, StockError, StockStore};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Sale;

/// How old a view may be.
pub(super) const VIEW_AGE_MS_MAX: u64 = 50;

#[derive(Default)]
pub(super) struct Views {
    last: ArcSwapOption<Seen>,
    asking: Mutex<()>,
    /// Rises when what was seen no longer counts, also what is being fetched at that moment.
    era: AtomicU64,
}

/// One look at the store.
struct Seen {
    at: Instant,
    era: u64,
    outcome: Result<SaleView, StockError>,
    gate: OnceLock<Bytes>,
}

impl Sale {
    /// The sale as the store showed it at most [`VIEW_AGE_MS_MAX`] ago. A store that does not answer
    /// is asked no more often than one that does.
    ///
    /// # Errors
    /// Whatever the store reports: the caller fails closed.
    pub async fn view(&self, stock: &dyn StockStore) -> Result<SaleView, StockError> {
        if let Some(seen) = self.views.last.load().as_ref().filter(|seen| self.is_fresh(seen)) {
            return seen.outcome.clone();
        }
        self.look(stock).await.outcome.clone()
    }

    /// The gate document of such a view.
    ///
    /// # Errors
    /// As [`Sale::view`].
    pub async fn gate(&self, stock: &dyn StockStore) -> Result<Bytes, StockError> {
        let seen = match self.views.last.load_full().filter(|seen| self.is_fresh(seen)) {
            Some(seen) => seen,
            None => self.look(stock).await,
        };
        let view = seen.outcome.as_ref().map_err(Clone::clone)?;
        Ok(seen.gate.get_or_init(|| super::gate(self, view)).clone())
    }

    /// The stock store's clock, going on from when it was last seen; `None` if it never was.
    #[must_use]
    pub fn store_now(&self) -> Option<UnixMillis> {
        let seen = self.views.last.load();
        let seen = seen.as_ref()?;
        let since = i64::try_from(seen.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        seen.outcome.as_ref().ok().map(|view| view.now.plus(since))
    }

    /// What was seen so far does not count any more.
    pub fn forget_view(&self) {
        self.views.era.fetch_add(1, Ordering::AcqRel);
    }

    fn is_fresh(&self, seen: &Seen) -> bool {
        seen.era == self.views.era.load(Ordering::Acquire)
            && seen.at.elapsed() < Duration::from_millis(VIEW_AGE_MS_MAX)
    }

    async fn look(&self, stock: &dyn StockStore) -> Arc<Seen> {
        let _one_at_a_time = self.views.asking.lock().await;
        if let Some(seen) = self.views.last.load_full().filter(|seen| self.is_fresh(seen)) {
            return seen;
        }
        let era = self.views.era.load(Ordering::Acquire);
        let outcome = stock.view(&self.id).await;
        match &outcome {
            Ok(view) => self.saw(view),
            Err(StockError::UnknownSale(_)) => self.saw_nothing(),
            Err(StockError::Unreachable(_)) => {}
        }
        let seen = Arc::new(Seen { at: Instant::now(), era, outcome, gate: OnceLock::new() });
        self.views.last.store(Some(seen.clone()));
        seen
    }
}
