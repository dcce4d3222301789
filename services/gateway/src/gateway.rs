//! The gateway's state, and the filters that every request can be put through.

use std::sync::Arc;
use std::time::Duration;

use contract::Code;
use domain::{BuyerId, Clock};
use messaging::{DeadLetters, OrderQueue};
use service_kit::http::RequestIds;
use stock::{SaleView, StockStore};
use tokio_util::sync::CancellationToken;

use crate::catalogue::Catalogue;
use crate::config::{Config, Limits};
use crate::identity::Identity;
use crate::limits::{KeyedLimit, Ticks, address_key, buyer_key};
use crate::measure::Measures;
use crate::pressure::Pressure;
use crate::purchase::{Accepted, Caller, Decisions, Flights, Refusal};
use crate::sale::Sale;
use crate::tickets::TicketKeys;
use crate::upstream::Upstream;
use crate::watchers::Watchers;
use crate::{Deps, routes};

/// How long a ticket is remembered after its end: a retry that was under way still finds it.
const REMEMBER_SLACK_S: u64 = 15;

/// Everything the gateway's requests share.
pub struct Gateway {
    pub(crate) stock: Arc<dyn StockStore>,
    pub(crate) queue: Arc<dyn OrderQueue>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) upstream: Upstream,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Catalogue,
    pub(crate) identity: Identity,
    pub(crate) ticket_keys: TicketKeys,
    pub(crate) ticket_ttl_ms: i64,
    pub(crate) publish_wait: Duration,
    pub(crate) limits: Limits,
    pub(crate) buyer_limit: KeyedLimit,
    pub(crate) address_limit: KeyedLimit,
    pub(crate) accepted: Accepted,
    pub(crate) flights: Flights,
    pub(crate) decisions: Decisions,
    pub(crate) pressure: Pressure,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) measures: Measures,
    pub(crate) request_ids: RequestIds,
    /// Rung when the catalogue should be read before its time.
    pub(crate) catalogue_wanted: tokio::sync::Notify,
    pub(crate) pages: routes::pages::Pages,
    /// Cancelled when the gateway stops: streams end by it.
    pub(crate) stopping: CancellationToken,
}

impl Gateway {
    /// The state before anything is known.
    #[must_use]
    pub fn new(config: &Config, deps: &Deps, stopping: CancellationToken) -> Self {
        let (limits, ticks) = (config.limits, Ticks::new(deps.clock.clone()));
        let lanes = deps.queue.lanes();
        Self {
            stock: deps.stock.clone(),
            queue: deps.queue.clone(),
            dead_letters: deps.dead_letters.clone(),
            upstream: Upstream::new(deps.inventory.clone(), deps.order.clone(), deps.notify.clone()),
            clock: deps.clock.clone(),
            catalogue: Catalogue::new(lanes, limits, ticks.clone()),
            identity: Identity::new(&config.jwt_secret),
            ticket_keys: config.ticket_keys.clone(),
            ticket_ttl_ms: i64::try_from(config.ticket_ttl.as_millis()).unwrap_or(i64::MAX),
            publish_wait: config.publish_wait,
            limits,
            buyer_limit: KeyedLimit::new(limits.buyer, limits.keys_max, &ticks),
            address_limit: KeyedLimit::new(limits.address, limits.keys_max, &ticks),
            accepted: Accepted::new(config.ticket_ttl + Duration::from_secs(REMEMBER_SLACK_S)),
            flights: Flights::default(),
            decisions: Decisions::default(),
            pressure: Pressure::new(lanes, limits.lane_high_water),
            watchers: Arc::new(Watchers::new(limits.streams_max)),
            measures: Measures::new(lanes),
            request_ids: RequestIds::default(),
            catalogue_wanted: tokio::sync::Notify::new(),
            pages: routes::pages::Pages::new(),
            stopping,
        }
    }

    /// The buyer who asks. A stranger counts against the limit of its address.
    ///
    /// # Errors
    /// 401, or 429 for an address that asks too often.
    pub fn identify(&self, caller: &Caller<'_>) -> Result<BuyerId, Refusal> {
        match self.identity.of(caller.headers, self.clock.now()) {
            Some(buyer) => Ok(buyer),
            None if self.address_limit.allows(address_key(caller.peer)) => {
                Err(Refusal::new(Code::Unauthenticated))
            }
            None => Err(Refusal::new(Code::RateLimited)),
        }
    }

    /// One purchase request of this buyer, whatever its path and ticket.
    ///
    /// # Errors
    /// 429.
    pub fn hold_buyer_limit(&self, buyer: &BuyerId) -> Result<(), Refusal> {
        if self.buyer_limit.allows(buyer_key(buyer)) { Ok(()) } else { Err(Refusal::new(Code::RateLimited)) }
    }

    /// One purchase request of this sale.
    ///
    /// # Errors
    /// 429.
    pub fn hold_sale_limit(&self, sale: &Sale) -> Result<(), Refusal> {
        if sale.limit.allows() { Ok(()) } else { Err(Refusal::new(Code::RateLimited)) }
    }

    /// Nothing is reserved while the sale's lane is above its high-water mark.
    ///
    /// # Errors
    /// 503, with the time the lane needs to drain.
    pub fn hold_high_water(&self, sale: &Sale) -> Result<(), Refusal> {
        let full = |retry_after_s| Refusal { retry_after_s, ..Refusal::new(Code::Overloaded) };
        self.pressure.check(sale.lane).map_err(full)
    }

    /// The sale as the store shows it.
    ///
    /// # Errors
    /// 503: without the store's word nothing is sold.
    pub async fn view(&self, sale: &Sale) -> Result<SaleView, Refusal> {
        sale.view(&*self.stock).await.map_err(|_| Refusal::new(Code::Unavailable))
    }
}
