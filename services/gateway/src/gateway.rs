//! The gateway's state, and the filters that every request can be put through.

use std::sync::Arc;
use std::time::Duration;

use contract::Code;
use domain::{BuyerId, Clock};
use messaging::{DeadLetters, OrderQueue};
use service_kit::http::RequestIds;
use stock::{SaleView, StockStore};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::catalogue::Catalogue;
use crate::config::{Config, Limits};
use crate::entry::Proofs;
use crate::identity::Identity;
use crate::limits::{
    KeyedLimit, LimitMaker, Proxies, Standing, address_key, browsing_buyer_key, buyer_at_sale_key, buyer_key,
};
use crate::measure::Measures;
use crate::page_cache::{Item, PageCache};
use crate::pressure::Pressure;
use crate::purchase::{Accepted, Caller, Decisions, Landed, Refusal, SingleFlight};
use crate::routes::document::Document;
use crate::sale::{BuyerLimit, Sale};
use crate::shares::Shares;
use crate::status::{Look, SEARCHES_MAX};
use crate::tickets::TicketKeys;
use crate::upstream::Upstream;
use crate::watchers::Watchers;
use crate::{Dependencies, routes};

/// How long a ticket is remembered after its end: a retry that was under way still finds it.
const REMEMBER_SLACK_S: u64 = 15;

/// Everything the gateway's requests share.
pub(crate) struct Gateway {
    pub(crate) audit_log: AuditLog,
    pub(crate) stock: Arc<dyn StockStore>,
    pub(crate) queue: Arc<dyn OrderQueue>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) upstream: Upstream,
    /// What each buyer may have at work.
    pub(crate) shares: Arc<Shares>,
    /// What each buyer may listen to.
    pub(crate) stream_shares: Arc<Shares>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Catalogue,
    pub(crate) identity: Identity,
    pub(crate) ticket_keys: TicketKeys,
    pub(crate) ticket_ttl_ms: i64,
    pub(crate) publish_wait: Duration,
    pub(crate) limits: Limits,
    pub(crate) limit_maker: Arc<LimitMaker>,
    pub(crate) buyer_limit: Option<KeyedLimit>,
    pub(crate) browse_limit: Option<KeyedLimit>,
    pub(crate) address_limit: Option<KeyedLimit>,
    pub(crate) proxies: Proxies,
    pub(crate) proofs: Proofs,
    /// Streams of waiting rooms.
    pub(crate) room_streams: Arc<Semaphore>,
    pub(crate) accepted: Accepted,
    /// Purchases at work: for how many units, and how they were answered.
    pub(crate) flights: SingleFlight<Landed>,
    /// Orders being looked up.
    pub(crate) looks: SingleFlight<Look>,
    /// Orders being searched for in the stock of many sales.
    pub(crate) searches: Semaphore,
    pub(crate) decisions: Decisions,
    pub(crate) pressure: Pressure,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) measures: Measures,
    pub(crate) request_ids: RequestIds,
    /// Rung when the catalogue should be read before its time.
    pub(crate) catalogue_wanted: tokio::sync::Notify,
    pub(crate) pages: routes::pages::Pages,
    pub(crate) page_cache: PageCache,
    /// What documents the API.
    pub(crate) openapi: Document,
    /// Cancelled when the gateway stops: streams end by it.
    pub(crate) stopping: CancellationToken,
}

impl Gateway {
    /// The state before anything is known.
    #[must_use]
    pub(crate) fn new(config: &Config, deps: &Dependencies, stopping: CancellationToken) -> Self {
        let limits = config.limits;
        let identity = Identity::new(&config.jwt_secret);
        let identity = match &config.jwks {
            Some(source) => {
                identity.with_provider(source.clone(), config.jwks_expected.clone(), config.jwks_refresh)
            }
            None => identity,
        };
        let limit_maker = Arc::new(LimitMaker::new(&limits, deps.clock.clone()));
        let lanes = deps.queue.lanes();
        Self {
            audit_log: config.audit_log.clone(),
            stock: deps.stock.clone(),
            queue: deps.queue.clone(),
            dead_letters: deps.dead_letters.clone(),
            upstream: Upstream::new(deps.inventory.clone(), deps.order.clone(), deps.notify.clone()),
            shares: Shares::of_requests(),
            stream_shares: Shares::of_streams(),
            clock: deps.clock.clone(),
            catalogue: Catalogue::new(lanes, limits, limit_maker.clone()),
            identity,
            ticket_keys: config.ticket_keys.clone(),
            ticket_ttl_ms: i64::try_from(config.ticket_ttl.as_millis()).unwrap_or(i64::MAX),
            publish_wait: config.publish_wait,
            limits,
            buyer_limit: limit_maker.per_buyer(limits.buyer),
            browse_limit: limit_maker.per_browsing_buyer(limits.browse),
            address_limit: limit_maker.per_address(limits.address),
            limit_maker,
            proxies: config.proxies.clone(),
            proofs: Proofs::new(deps.captcha.clone()),
            room_streams: Arc::new(Semaphore::new(limits.streams_max)),
            accepted: Accepted::new(config.ticket_ttl + Duration::from_secs(REMEMBER_SLACK_S)),
            flights: SingleFlight::default(),
            looks: SingleFlight::default(),
            searches: Semaphore::new(SEARCHES_MAX),
            decisions: Decisions::default(),
            pressure: Pressure::new(lanes, limits.lane_high_water),
            watchers: Arc::new(Watchers::new(limits.streams_max)),
            measures: Measures::new(lanes),
            request_ids: RequestIds::default(),
            catalogue_wanted: tokio::sync::Notify::new(),
            pages: routes::pages::Pages::new(),
            page_cache: PageCache::new(config.page_cache_bytes),
            openapi: routes::openapi::ready(&routes::operations(config.demo)),
            stopping,
        }
    }

    /// A page of what the catalogue holds. A stale one is served, and inventory asked behind it.
    pub(crate) async fn page(
        &self,
        item: Item,
        edition: u64,
        build: impl FnOnce() -> Document + Send + 'static,
    ) -> Arc<Document> {
        if self.page_cache.wants_check() {
            self.catalogue_wanted.notify_one();
        }
        self.page_cache.get(item, edition, build).await
    }

    /// The buyer who asks. A stranger counts against the limit of its address.
    ///
    /// # Errors
    /// 401, or 429 for an address that asks too often.
    pub(crate) fn identify(&self, caller: &Caller<'_>) -> Result<BuyerId, Refusal> {
        match self.identity.of(caller.headers, self.clock.now()) {
            Some(buyer) => Ok(buyer),
            None => {
                self.check_address_limit(caller)?;
                Err(Refusal::new(Code::Unauthenticated))
            }
        }
    }

    /// One request of a stranger at this address.
    fn check_address_limit(&self, caller: &Caller<'_>) -> Result<(), Refusal> {
        let Some(limit) = &self.address_limit else { return Ok(()) };
        let client = self.proxies.client(caller.peer.ip(), caller.headers);
        stood(caller, limit.check(address_key(client)))
    }

    /// One purchase request of this buyer, whatever its path and ticket. A sale with a limit of its own
    /// counts its buyers by itself.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn check_buyer_limit(
        &self,
        caller: &Caller<'_>,
        sale: &Sale,
        buyer: &BuyerId,
    ) -> Result<(), Refusal> {
        match &**sale.buyer_limit.load() {
            BuyerLimit::Own(None) => Ok(()),
            BuyerLimit::Own(Some(limit)) => stood(caller, limit.check(buyer_at_sale_key(buyer, sale.slot))),
            BuyerLimit::Usual => {
                let Some(limit) = &self.buyer_limit else { return Ok(()) };
                stood(caller, limit.check(buyer_key(buyer)))
            }
        }
    }

    /// One request of this buyer for anything but buying.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn check_browse_limit(&self, caller: &Caller<'_>, buyer: &BuyerId) -> Result<(), Refusal> {
        let Some(limit) = &self.browse_limit else { return Ok(()) };
        stood(caller, limit.check(browsing_buyer_key(buyer)))
    }

    /// One purchase request of this sale.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn check_sale_limit(&self, caller: &Caller<'_>, sale: &Sale) -> Result<(), Refusal> {
        sale.limit.load().check().map_err(|standing| refused(caller, standing))
    }

    /// While the sale's lane is above its high-water mark, nothing is reserved, but for a sale that has next to nothing
    /// in it: others filled it.
    ///
    /// # Errors
    /// 503, with the time the lane needs to drain.
    pub(crate) fn check_high_water(&self, sale: &Sale) -> Result<(), Refusal> {
        match self.pressure.check(sale.lane) {
            Err(retry_after_s) if sale.queue_share.is_used_up(self.pressure.high_water()) => {
                Err(Refusal { retry_after_s, ..Refusal::new(Code::Overloaded) })
            }
            _ => Ok(()),
        }
    }

    /// The sale as the store shows it.
    ///
    /// # Errors
    /// 503: without the store's word nothing is sold.
    pub(crate) async fn view(&self, sale: &Sale) -> Result<SaleView, Refusal> {
        sale.view(&*self.stock).await.map_err(|_| Refusal::new(Code::Unavailable))
    }
}

/// Lets the caller's answer say where it stands.
fn stood(caller: &Caller<'_>, outcome: Result<Standing, Standing>) -> Result<(), Refusal> {
    match outcome {
        Ok(standing) => {
            *caller.standing.lock() = Some(standing);
            Ok(())
        }
        Err(standing) => Err(refused(caller, standing)),
    }
}

fn refused(caller: &Caller<'_>, standing: Standing) -> Refusal {
    let retry_after_s = standing.reset_s;
    *caller.standing.lock() = Some(standing);
    Refusal { retry_after_s, ..Refusal::new(Code::RateLimited) }
}
