//! One sale as this gateway knows it: its terms, what was last seen of its stock, its share of the gateway.

mod bulkhead;
mod news;
mod queue_share;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::api::BUY_PREFIX;
use contract::internal::CatalogueSale;
use contract::rules::{Rate, SaleRules};
use domain::{Money, MoneyError, SaleId};

use crate::config::Limits;
use crate::entry::Crowd;
use crate::entry::room::Room;
use crate::limits::{KeyedLimit, LimitMaker, SaleLimit};

use bulkhead::Bulkhead;
use news::News;
use queue_share::QueueShare;
use view::Views;

/// A sale's terms and the documents made of them, built once per change.
pub struct Terms {
    /// As inventory tells them.
    pub sale: CatalogueSale,
    /// `/api/v1/buy/{slug}`.
    pub buy: String,
    /// Price of one unit.
    price: Option<Money>,
    /// Rises with every change of them.
    pub edition: u64,
}

impl Terms {
    fn new(sale: CatalogueSale, edition: u64) -> Self {
        let currency = sale.sale.currency.parse().ok();
        Self {
            buy: format!("{BUY_PREFIX}{}", sale.slug),
            price: currency.map(|currency| Money { cents: sale.sale.price_cents, currency }),
            edition,
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

/// What a sale says about requests per buyer.
pub(crate) enum BuyerLimit {
    /// Nothing: as everywhere at this gateway.
    Usual,
    /// This, or nothing, instead.
    Own(Option<KeyedLimit>),
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
    pub(crate) bulkhead: Bulkhead,
    /// Its orders in its lane.
    pub(crate) queue_share: QueueShare,
    /// How many ask for tickets.
    pub(crate) crowd: Crowd,
    /// Who waits to ask.
    pub(crate) room: Room,
    /// Purchase requests by time.
    pub(crate) limit: ArcSwap<SaleLimit>,
    /// The same per buyer, if the sale has a rule of its own.
    pub(crate) buyer_limit: ArcSwap<BuyerLimit>,
    usual_limit: Option<Rate>,
    maker: Arc<LimitMaker>,
    terms: ArcSwap<Terms>,
    news: News,
    views: Views,
    generation: AtomicU64,
}

impl Sale {
    /// A sale just heard of.
    #[must_use]
    pub(crate) fn new(
        sale: CatalogueSale,
        slot: u32,
        lanes: u16,
        limits: &Limits,
        maker: Arc<LimitMaker>,
    ) -> Self {
        let sale_limit = own_sale_limit(&sale.rules, limits.sale, &maker);
        let buyer_limit = own_buyer_limit(&sale.rules, &maker);
        Self {
            id: sale.sale.id.clone(),
            slot,
            lane: contract::lane::lane_of(&sale.sale.id, lanes),
            bulkhead: Bulkhead::new(limits.sale_concurrency_max, limits.latency_target),
            queue_share: QueueShare::default(),
            crowd: Crowd::default(),
            room: Room::default(),
            limit: ArcSwap::from_pointee(sale_limit),
            buyer_limit: ArcSwap::from_pointee(buyer_limit),
            usual_limit: limits.sale,
            maker,
            terms: ArcSwap::from_pointee(Terms::new(sale, 0)),
            news: News::default(),
            views: Views::new(),
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
        let old = self.terms().sale.rules.clone();
        if old.sale_limit != sale.rules.sale_limit {
            self.limit.store(Arc::new(own_sale_limit(&sale.rules, self.usual_limit, &self.maker)));
        }
        if old.buyer_limit != sale.rules.buyer_limit {
            self.buyer_limit.store(Arc::new(own_buyer_limit(&sale.rules, &self.maker)));
        }
        let edition = self.terms().edition + 1;
        self.terms.store(Arc::new(Terms::new(sale, edition)));
        self.forget_view();
        true
    }

    /// What was counted of the sale's requests does not count any more: the clock was set back.
    pub fn recount(&self) {
        let rules = self.terms().sale.rules.clone();
        self.limit.store(Arc::new(own_sale_limit(&rules, self.usual_limit, &self.maker)));
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

fn own_sale_limit(rules: &SaleRules, usual: Option<Rate>, maker: &LimitMaker) -> SaleLimit {
    maker.of_sale(rules.sale_limit.map_or(usual, |own| own.0))
}

fn own_buyer_limit(rules: &SaleRules, maker: &LimitMaker) -> BuyerLimit {
    match rules.buyer_limit {
        Some(own) => BuyerLimit::Own(maker.per_buyer(own.0)),
        None => BuyerLimit::Usual,
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
        room: terms.sale.rules.waiting_room.is_some(),
        buy: contract::api::Gate::shows_path(state).then(|| terms.buy.clone()),
    };
    serde_json::to_vec(&gate).unwrap_or_default().into()
}
