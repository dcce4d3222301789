//! One sale as this gateway knows it: its terms, what was last seen of its stock, its share of the gateway.

mod news;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::internal::CatalogueSale;
use domain::{Money, MoneyError, SaleId};
use tokio::sync::Semaphore;

use crate::config::Limits;
use crate::limits::{SaleLimit, Ticks};
use crate::routes::document::Document;

use news::News;
use view::Views;

/// Whose prefix every buy path has.
pub(crate) const BUY_PREFIX: &str = "/api/v1/buy/";

/// A sale's terms and the documents made of them, built once per change.
pub struct Terms {
    /// As inventory tells them.
    pub sale: CatalogueSale,
    /// `/api/v1/buy/{slug}`.
    pub buy: String,
    /// Price of one unit.
    price: Option<Money>,
    /// `GET /api/v1/sales/{id}`.
    pub document: Document,
}

impl Terms {
    fn new(sale: CatalogueSale) -> Self {
        let currency = sale.sale.currency.parse().ok();
        Self {
            buy: format!("{BUY_PREFIX}{}", sale.slug),
            price: currency.map(|currency| Money { cents: sale.sale.price_cents, currency }),
            document: Document::json(&sale.sale),
            sale,
        }
    }

    /// What `quantity` units cost.
    ///
    /// # Errors
    /// When the price cannot be used.
    pub fn amount(&self, quantity: u32) -> Result<Money, MoneyError> {
        self.price.ok_or(MoneyError::Currency)?.times(quantity)
    }
}

/// A sale, shared by everything that serves it. Lives as long as the process: the flags and views of
/// a sale survive a change of its terms.
pub struct Sale {
    /// Its id.
    pub id: SaleId,
    /// Its place in the catalogue: a short name for it.
    pub slot: u32,
    /// Its lane.
    pub lane: u16,
    /// Purchase requests at work at once.
    pub bulkhead: Arc<Semaphore>,
    /// Purchase requests by time.
    pub limit: SaleLimit,
    terms: ArcSwap<Terms>,
    news: News,
    views: Views,
    generation: AtomicU64,
}

impl Sale {
    /// A sale just heard of.
    #[must_use]
    pub fn new(sale: CatalogueSale, slot: u32, lanes: u16, limits: &Limits, ticks: &Ticks) -> Self {
        Self {
            id: sale.sale.id.clone(),
            slot,
            lane: contract::lane::lane_of(&sale.sale.id, lanes),
            bulkhead: Arc::new(Semaphore::new(limits.sale_concurrency_max)),
            limit: SaleLimit::new(limits.sale, ticks),
            terms: ArcSwap::from_pointee(Terms::new(sale)),
            news: News::default(),
            views: Views::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Its terms.
    pub fn terms(&self) -> arc_swap::Guard<Arc<Terms>> {
        self.terms.load()
    }

    /// Takes newer terms. Says whether anything changed.
    pub fn learn(&self, sale: CatalogueSale) -> bool {
        if self.terms().sale == sale || self.terms().sale.version > sale.version {
            return false;
        }
        self.terms.store(Arc::new(Terms::new(sale)));
        self.forget_view();
        true
    }

    /// Rises whenever earlier decisions about the sale no longer hold: part of every cached
    /// decision's key, so that raising it forgets them all.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn forget_decisions(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// The gate document of a view: at most 256 bytes.
fn gate(sale: &Sale, view: &stock::SaleView) -> Bytes {
    let state = view.state();
    let terms = sale.terms();
    let gate = contract::api::Gate {
        sale: sale.id.clone(),
        state: state.as_str().to_owned(),
        now: view.now.0,
        opens_at: view.inputs.opens_at.0,
        ends_at: view.inputs.ends_at.0,
        buy: contract::api::Gate::shows_path(state).then(|| terms.buy.clone()),
    };
    serde_json::to_vec(&gate).unwrap_or_default().into()
}
