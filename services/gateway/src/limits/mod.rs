//! Rate limits: per buyer, per sale, per client address.

mod keyed;
mod proxies;
mod sale;
mod standing;
mod table;
mod ticks;

pub(crate) use keyed::{KeyedLimit, address_key, browsing_buyer_key, buyer_at_sale_key, buyer_key};
pub use proxies::{NetworkError, Proxies};
pub(crate) use sale::SaleLimit;
pub(crate) use standing::Policy;
pub use standing::Standing;
pub(crate) use table::Table;
pub(crate) use ticks::{Ticks, nanos};

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use contract::rules::Rate;
use domain::Clock;

use crate::config::Limits;

/// A clock set back by more than this makes the limits forget, in milliseconds: kept, their future
/// entries would refuse honest requests until the clock has caught up.
const SET_BACK_MS_MAX: i64 = 1000;

/// What makes limits, and what they remember.
pub(crate) struct LimitMaker {
    clock: Arc<dyn Clock>,
    buyers: Arc<Table>,
    addresses: Arc<Table>,
    last_ms: AtomicI64,
}

impl LimitMaker {
    /// Tables of the size these limits allow.
    #[must_use]
    pub(crate) fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        let table = || Arc::new(Table::new(limits.keys_max));
        let last_ms = AtomicI64::new(clock.now().0);
        Self { clock, buyers: table(), addresses: table(), last_ms }
    }

    /// A limit per buyer.
    #[must_use]
    pub(crate) fn per_buyer(&self, rate: Option<Rate>) -> Option<KeyedLimit> {
        KeyedLimit::new("buyer", rate, &self.buyers, &self.clock)
    }

    /// A limit per buyer of what is not buying.
    #[must_use]
    pub(crate) fn per_browsing_buyer(&self, rate: Option<Rate>) -> Option<KeyedLimit> {
        KeyedLimit::new("browse", rate, &self.buyers, &self.clock)
    }

    /// A limit per client address.
    #[must_use]
    pub(crate) fn per_address(&self, rate: Option<Rate>) -> Option<KeyedLimit> {
        KeyedLimit::new("address", rate, &self.addresses, &self.clock)
    }

    /// A limit of one sale.
    #[must_use]
    pub(crate) fn of_sale(&self, rate: Option<Rate>) -> SaleLimit {
        SaleLimit::new(rate, &self.clock)
    }

    /// Forgets, in one part of many, the keys that have their whole allowance again; call often. Says
    /// whether the clock was set back, so that everything was forgotten.
    pub(crate) fn tidy(&self, round: usize) -> bool {
        let now_ms = self.clock.now().0;
        let is_set_back = now_ms < self.last_ms.swap(now_ms, Ordering::Relaxed) - SET_BACK_MS_MAX;
        for table in [&self.buyers, &self.addresses] {
            if is_set_back {
                table.clear();
            }
            table.tidy(round, nanos(&*self.clock));
        }
        is_set_back
    }

    /// Keys tracked now, and keys given up so far: of buyers, of addresses.
    #[must_use]
    pub(crate) fn keys(&self) -> [(usize, u64); 2] {
        [&self.buyers, &self.addresses].map(|t| (t.keys(), t.evicted.load(Ordering::Relaxed)))
    }
}
