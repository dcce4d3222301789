//! All sales this gateway knows, by id and by the slug of their buy path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use contract::api::SaleList;
use contract::internal::CatalogueSale;
use domain::SaleId;
use parking_lot::Mutex;

use crate::config::Limits;
use crate::limits::LimitMaker;
use crate::sale::Sale;

/// Sales at most; inventory refuses to create that many (10,000).
const SALES_MAX: usize = 100_000;

/// One state of the catalogue.
pub(crate) struct Listing {
    by_id: HashMap<SaleId, Arc<Sale>>,
    by_slug: HashMap<Box<str>, Arc<Sale>>,
    /// In the order they were first heard of: a sale's slot is its place here.
    all: Vec<Arc<Sale>>,
    /// Rises with every change.
    pub edition: u64,
}

/// The catalogue.
pub(crate) struct Catalogue {
    now: ArcSwap<Listing>,
    /// Whether inventory has been heard at all: before that, a sale that is not here is not unknown.
    heard: AtomicBool,
    learning: Mutex<()>,
    lanes: u16,
    limits: Limits,
    maker: Arc<LimitMaker>,
}

impl Catalogue {
    /// An empty catalogue of a platform with this many lanes.
    #[must_use]
    pub(crate) fn new(lanes: u16, limits: Limits, maker: Arc<LimitMaker>) -> Self {
        let empty = Listing { by_id: HashMap::new(), by_slug: HashMap::new(), all: Vec::new(), edition: 0 };
        let heard = AtomicBool::new(false);
        Self { now: ArcSwap::from_pointee(empty), heard, learning: Mutex::new(()), lanes, limits, maker }
    }

    /// Whether what is missing here is known to be missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// The sale of this id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Sale>> {
        self.now.load().by_id.get(id).cloned()
    }

    /// The sale whose buy path has this slug.
    pub(crate) fn by_slug(&self, slug: &str) -> Option<Arc<Sale>> {
        self.now.load().by_slug.get(slug).cloned()
    }

    /// The sale in this slot.
    pub(crate) fn by_slot(&self, slot: u32) -> Option<Arc<Sale>> {
        self.now.load().all.get(usize::try_from(slot).ok()?).cloned()
    }

    /// The whole state.
    pub(crate) fn listing(&self) -> Arc<Listing> {
        self.now.load_full()
    }

    /// Takes inventory's word for what is on sale. Sales are never forgotten: their flags, limits and
    /// slots outlive any answer that misses them.
    pub(crate) fn learn(&self, sales: Vec<CatalogueSale>) {
        let _one_at_a_time = self.learning.lock();
        let before = self.now.load();
        let mut all = before.all.clone();
        let mut changed = false;
        for told in sales {
            if let Some(known) = before.by_id.get(&told.sale.id) {
                changed |= known.learn(told);
            } else if all.len() < SALES_MAX {
                let slot = u32::try_from(all.len()).unwrap_or(u32::MAX);
                all.push(Arc::new(Sale::new(told, slot, self.lanes, &self.limits, self.maker.clone())));
                changed = true;
            }
        }
        if changed {
            self.now.store(Arc::new(Listing::of(all, before.edition + 1)));
        }
        self.heard.store(true, Ordering::Release);
    }
}

impl Listing {
    fn of(all: Vec<Arc<Sale>>, edition: u64) -> Self {
        Self {
            by_id: all.iter().map(|sale| (sale.id.clone(), sale.clone())).collect(),
            by_slug: all.iter().map(|sale| (sale.terms().sale.slug.as_str().into(), sale.clone())).collect(),
            all,
            edition,
        }
    }

    /// What buyers see of it.
    pub(crate) fn shown(&self) -> SaleList {
        let mut sales: Vec<_> = self.all.iter().map(|sale| sale.terms().sale.sale.clone()).collect();
        sales.sort_by(|a, b| (a.opens_at, &a.id).cmp(&(b.opens_at, &b.id)));
        SaleList { sales }
    }

    /// Every sale.
    pub(crate) fn sales(&self) -> &[Arc<Sale>] {
        &self.all
    }
}
