//! What the gateway does by itself: hears news, refreshes its catalogue, samples the lanes, heals flags.

use std::sync::Arc;
use std::time::Duration;

use contract::events::SaleNews;
use domain::SaleState;
use futures_util::{FutureExt, StreamExt, stream};
use messaging::{EventBus, QueueError};
use metrics::Gauge;
use service_kit::health::Health;
use service_kit::telemetry::Metrics;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::gateway::Gateway;
use crate::sale::Sale;

/// Between two readings of the catalogue when nothing is heard.
const CATALOGUE_EVERY_MS: u64 = 3000;
/// Between two samples of the lanes.
const SAMPLE_EVERY_MS: u64 = 200;
/// Between two questions whether flagged sales are still sold out: a lost broadcast heals within twice this.
const PROBE_EVERY_MS: u64 = 400;
/// Flagged sales asked about side by side: so many of a node that is silent do not hold up those of others for longer
/// than one question takes.
const LOOKS_AT_ONCE: usize = 512;
/// Between two questions whether the stock store answers.
const PING_EVERY_MS: u64 = 500;
/// Between two rounds of forgetting.
const TIDY_EVERY_MS: u64 = 50;
/// Between two rounds of letting buyers in from waiting rooms.
const LET_IN_EVERY_MS: u64 = 50;
/// After the bus or inventory could not be reached.
const RETRY_AFTER_MS: u64 = 200;

/// What readiness waits for.
pub(crate) mod needs {
    pub(crate) const CATALOGUE: &str = "the sales, from inventory";
    pub(crate) const STOCK: &str = "the stock store";
    pub(crate) const QUEUE: &str = "the order queue";
    pub(crate) const NEWS: &str = "the broadcasts of sale states";
}

fn every(millis: u64) -> tokio::time::Interval {
    let mut interval = interval(Duration::from_millis(millis));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Keeps the catalogue. An old one sells on, so readiness waits for the first reading only.
pub(crate) async fn keep_catalogue(gateway: Arc<Gateway>, health: Health) {
    let mut loaded = false;
    loop {
        let heard = gateway.upstream.sales().await;
        let answered = heard.is_ok();
        match heard {
            Ok(sales) => {
                gateway.catalogue.learn(sales);
                health.up(needs::CATALOGUE);
                loaded = true;
            }
            Err(error) if loaded => tracing::debug!(%error, "the catalogue could not be refreshed"),
            Err(error) => health.down(needs::CATALOGUE, error.to_string()),
        }
        gateway.page_cache.heard(answered);
        if !answered {
            // Whatever wants the catalogue wants it from a service that answers.
            tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
        }
        let wait = Duration::from_millis(if loaded { CATALOGUE_EVERY_MS } else { RETRY_AFTER_MS });
        tokio::select! {
            () = gateway.catalogue_wanted.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Hears broadcasts, for ever.
pub(crate) async fn hear_broadcasts(gateway: Arc<Gateway>, bus: Arc<dyn EventBus>, health: Health) {
    loop {
        if let Err(error) = broadcasts(&gateway, &*bus, &health).await {
            health.down(needs::NEWS, error.to_string());
            tracing::warn!(%error, "broadcasts are not heard");
        }
        tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
    }
}

async fn broadcasts(gateway: &Gateway, bus: &dyn EventBus, health: &Health) -> Result<(), QueueError> {
    let mut broadcasts = bus.broadcasts().await?;
    health.up(needs::NEWS);
    // Whatever was told before this moment was missed.
    read_all_afresh(gateway);
    loop {
        let Some(told) = broadcasts.next().await? else {
            read_all_afresh(gateway);
            continue;
        };
        let known = gateway.catalogue.by_id(told.sale.as_str());
        if known.is_none() || told.news == SaleNews::Opened {
            gateway.catalogue_wanted.notify_one();
        }
        if let Some(sale) = known {
            sale.hear(&told);
        }
    }
}

fn read_all_afresh(gateway: &Gateway) {
    gateway.catalogue.listing().sales().iter().for_each(|sale| sale.forget_view());
    gateway.catalogue_wanted.notify_one();
}

/// Wakes the event streams, for ever.
pub(crate) async fn wake_watchers(gateway: Arc<Gateway>, bus: Arc<dyn EventBus>) {
    loop {
        if let Ok(mut tap) = bus.tap().await {
            // Whatever happened before this moment was missed.
            gateway.watchers.ring_all();
            while let Ok(event) = tap.next().await {
                match event {
                    Some(event) => event.orders.iter().for_each(|fact| gateway.watchers.ring(fact.order)),
                    None => gateway.watchers.ring_all(),
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
    }
}

/// Samples the lanes, for ever.
pub(crate) async fn sample_lanes(gateway: Arc<Gateway>, health: Health) {
    let mut ticks = every(SAMPLE_EVERY_MS);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        match gateway.queue.lane_stats().await {
            Ok(stats) => {
                gateway.pressure.sample(&stats, last.elapsed());
                for sale in gateway.catalogue.listing().sales() {
                    sale.queue_share.keep(gateway.pressure.left(sale.lane));
                }
                last = Instant::now();
                health.answered(needs::QUEUE, gateway.queue.takes());
            }
            Err(error) => health.down(needs::QUEUE, error.to_string()),
        }
        for (lane, gauge) in (0..).zip(&gateway.measures.lane_depth) {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
            gauge.set(gateway.pressure.depth(lane) as f64);
        }
    }
}

/// Asks whether the stock store answers, for ever.
pub(crate) async fn ping_stock(gateway: Arc<Gateway>, health: Health) {
    let mut ticks = every(PING_EVERY_MS);
    loop {
        ticks.tick().await;
        health.answered(needs::STOCK, gateway.stock.ping().await);
    }
}

/// Asks the store about every sale that is flagged sold out, for ever: looking clears the flag if it
/// no longer holds, whether or not a broadcast said so.
pub(crate) async fn heal_flags(gateway: Arc<Gateway>) {
    let mut ticks = every(PROBE_EVERY_MS);
    loop {
        ticks.tick().await;
        let listing = gateway.catalogue.listing();
        let flagged = || listing.sales().iter().filter(|sale| sale.is_sold_out());
        // The look itself does the healing, and a store that does not answer heals nothing. Side by side: a node of the
        // store that is silent must not keep the flags of other nodes' sales.
        let due: Vec<_> = flagged().cloned().collect();
        let looks = due.iter().map(|sale| sale.view(&*gateway.stock));
        stream::iter(looks).for_each_concurrent(LOOKS_AT_ONCE, |look| look.map(drop)).await;
        set(&gateway.measures.sold_out, flagged().count());
    }
}

/// Lets buyers in from the waiting rooms, for ever.
pub(crate) async fn let_in(gateway: Arc<Gateway>) {
    const ROUNDS_PER_SECOND: u64 = 1000 / LET_IN_EVERY_MS;
    let mut ticks = every(LET_IN_EVERY_MS);
    for round in 0_u64.. {
        ticks.tick().await;
        let listing = gateway.catalogue.listing();
        let is_counted = round % ROUNDS_PER_SECOND == 0;
        // Side by side: a node of the store that is silent must not keep the rooms of other nodes' sales.
        let rooms = listing.sales().iter().map(|sale| let_in_of(&gateway, sale, is_counted));
        let told = stream::iter(rooms.collect::<Vec<_>>()).buffer_unordered(LOOKS_AT_ONCE);
        let sum = async |all: (usize, usize), room: (usize, usize)| (all.0 + room.0, all.1 + room.1);
        let (entered, waiting) = told.fold((0, 0), sum).await;
        gateway.measures.room_entered.increment(entered as u64);
        set(&gateway.measures.room_waiting, waiting);
    }
}

/// Lets buyers in from the waiting room of this sale; how many, and how many wait.
async fn let_in_of(gateway: &Gateway, sale: &Sale, is_counted: bool) -> (usize, usize) {
    let Some(rules) = sale.terms().sale.rules.waiting_room else {
        sale.room.clear();
        return (0, 0);
    };
    let is_open = async {
        let view = gateway.view(sale).await;
        view.is_ok_and(|view| view.state() == SaleState::Open)
    };
    // Where nobody waits it does not matter, and the store is not asked.
    let is_selling = !sale.is_sold_out() && (sale.room.waiting() == 0 || is_open.await);
    let now = gateway.clock.now();
    let entered = sale.room.let_in(rules, is_selling, now);
    if is_counted {
        sale.room.tidy(now);
    }
    (entered, sale.room.waiting())
}

/// A count, as a gauge takes it.
fn set(gauge: &Gauge, count: usize) {
    gauge.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// Brings the gauges up to date that nobody else sets.
fn report(gateway: &Gateway) {
    let measures = &gateway.measures;
    let limits = measures.limit_keys.iter().zip(&measures.limit_evictions);
    for ((keys, evictions), (tracked, evicted)) in limits.zip(gateway.limit_maker.keys()) {
        set(keys, tracked);
        evictions.absolute(evicted);
    }
    let listing = gateway.catalogue.listing();
    let share = |sale: &Arc<Sale>| {
        sale.bulkhead.restore();
        sale.bulkhead.room()
    };
    let shares = listing.sales().iter().map(share);
    set(&measures.least_share, shares.min().unwrap_or(gateway.limits.sale_concurrency_max));
    set(&measures.streams, gateway.watchers.open());
}

/// Forgets what has ended, for ever.
pub(crate) async fn tidy(gateway: Arc<Gateway>, metrics: Metrics) {
    const ROUNDS_PER_SECOND: usize = 20;
    const { assert!(TIDY_EVERY_MS * ROUNDS_PER_SECOND as u64 == 1000) };
    let mut ticks = every(TIDY_EVERY_MS);
    for round in 0_usize.. {
        ticks.tick().await;
        gateway.accepted.tidy(round);
        if gateway.limit_maker.tidy(round) {
            gateway.catalogue.listing().sales().iter().for_each(|sale| sale.recount());
        }
        if round % ROUNDS_PER_SECOND == 0 {
            report(&gateway);
            metrics.upkeep();
        }
    }
}
