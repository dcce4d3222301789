//! Sales, and the life of their stock: preheat, restock, settle, release, fence, rebuild, reconcile.
//!
//! Selling does not depend on this service: gateways speak to the stock store themselves. What depends
//! on it is that units come back, that lost stock is rebuilt, and that gateways hear of it.

mod config;
mod disagreements;
mod events;
mod inventory;
mod ledger;
pub mod process;
mod reconcile;
mod recover;
mod routes;
pub mod sale_store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use domain::Clock;
use messaging::{EventBus, OrderQueue};
use service_kit::health::{self, Health};
use service_kit::http::{
    HttpClient, RequestIds, ServerLimits, require_bearer, serve as serve_http, with_request_id,
};
use service_kit::telemetry::Metrics;
use stock::StockStore;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use inventory::Inventory;
use sale_store::SaleStore;

/// How often the engines are asked whether they answer, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// What inventory works with.
pub struct Dependencies {
    /// The sales.
    pub sales: Arc<dyn SaleStore>,
    /// The stock store.
    pub stock: Arc<dyn StockStore>,
    /// The order queue, for fences and barriers.
    pub queue: Arc<dyn OrderQueue>,
    /// The event bus.
    pub bus: Arc<dyn EventBus>,
    /// The order service's internal listener.
    pub order: HttpClient,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Where inventory listens.
pub struct Listeners {
    /// For the other services.
    pub internal: TcpListener,
    /// For operators: metrics and health; the all-in-one serves those itself.
    pub operators: Option<(TcpListener, Metrics)>,
}

/// Runs the service until `shutdown`, then finishes what is under way.
pub async fn serve(config: Config, deps: Dependencies, listeners: Listeners, shutdown: CancellationToken) {
    let inventory = Arc::new(Inventory {
        sales: deps.sales,
        stock: deps.stock,
        queue: deps.queue,
        bus: deps.bus,
        ledger: ledger::Ledger::new(deps.order),
        clock: deps.clock,
        fence_age: config.fence_age(),
        rebuilding: parking_lot::Mutex::default(),
        rebuild_slots: Semaphore::new(recover::REBUILDS_MAX),
        ended_rebuild_slots: Semaphore::new(recover::ENDED_REBUILDS_MAX),
    });
    let app = routes::App { inventory: inventory.clone() };
    let router = routes::router(app)
        .layer(from_fn_with_state(config.internal_token, require_bearer))
        .layer(from_fn_with_state(RequestIds::default(), with_request_id));
    let health = Health::default();
    let operators = async {
        if let Some((listener, metrics)) = listeners.operators {
            let router = health::listener(&health, &metrics);
            serve_http(listener, router, ServerLimits::default(), shutdown.clone()).await;
        }
    };
    tokio::join!(
        serve_http(listeners.internal, router, ServerLimits::default(), shutdown.clone()),
        operators,
        watch_engines(&inventory, &health, &shutdown),
        reconcile::run(inventory.clone(), config.reconcile_every, shutdown.clone()),
        events::run(inventory.clone(), shutdown.clone()),
    );
}

/// Readiness means that stock store, broker and sales answer.
async fn watch_engines(inventory: &Inventory, health: &Health, shutdown: &CancellationToken) {
    const STOCK: &str = "the stock store";
    const QUEUE: &str = "the order queue";
    const SALES: &str = "the sales";
    for part in [STOCK, QUEUE, SALES] {
        health.needs(part);
    }
    loop {
        health.answered(STOCK, inventory.stock.ping().await);
        health.answered(QUEUE, inventory.queue.lane_stats().await);
        health.answered(SALES, inventory.sales.all().await);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)) => {}
        }
    }
}
