//! Sales, and the life of their stock: preheat, restock, settle, release, fence, rebuild, reconcile.
//!
//! Selling does not depend on this service: gateways speak to the stock store themselves. What depends
//! on it is that units come back, that lost stock is rebuilt, and that gateways hear of it.

mod config;
mod events;
mod keeper;
mod ledger;
pub mod process;
mod reconcile;
mod recover;
mod routes;
pub mod sale_store;

use std::sync::Arc;

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
use tokio_util::sync::CancellationToken;

pub use config::Config;
use keeper::Keeper;
use sale_store::SaleStore;

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
    let keeper = Arc::new(Keeper {
        sales: deps.sales,
        stock: deps.stock,
        queue: deps.queue,
        bus: deps.bus,
        ledger: ledger::Ledger::new(deps.order),
        clock: deps.clock,
        fence_age: config.fence_age(),
        rebuilding: parking_lot::Mutex::default(),
    });
    let app = routes::App { keeper: keeper.clone() };
    let router = routes::router(app)
        .layer(from_fn_with_state(config.internal_token, require_bearer))
        .layer(from_fn_with_state(RequestIds::default(), with_request_id));
    let operators = async {
        if let Some((listener, metrics)) = listeners.operators {
            let router = health::routes(&Health::default(), &metrics);
            serve_http(listener, router, ServerLimits::default(), shutdown.clone()).await;
        }
    };
    tokio::join!(
        serve_http(listeners.internal, router, ServerLimits::default(), shutdown.clone()),
        operators,
        reconcile::run(keeper.clone(), config.reconcile_every, shutdown.clone()),
        events::run(keeper, shutdown.clone()),
    );
}
