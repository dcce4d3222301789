//! The gateway: the door of the platform. It filters the crowd, each layer cheaper than the next, and
//! owns nothing durable: limits, caches, sold-out flags, and the tickets it signs.
//!
//! A request to buy meets the filters in [`purchase`], in the order of that module's `orders` file.
//! What survives them is reserved in the stock store and published to the order queue: then it is 202.

mod audit;
mod background;
mod catalogue;
mod config;
mod cors;
mod entry;
mod front_door;
mod gateway;
pub mod identity;
mod limits;
mod measure;
mod page_cache;
mod pressure;
pub mod process;
pub mod purchase;
mod routes;
mod sale;
mod shares;
mod status;
pub mod tickets;
mod upstream;
mod watchers;

use std::sync::Arc;

use domain::Clock;
use messaging::{DeadLetters, EventBus, OrderQueue};
use service_kit::health::Health;
use service_kit::http::{HttpClient, ServerLimits, serve as serve_http};
use service_kit::telemetry::Metrics;
use stock::StockStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use audit::AuditLog;
pub use config::{Config, Limits};
pub use contract::rules::Rate;
pub use cors::{Cors, OriginError};
pub use entry::{Captcha, Digits};
pub use limits::{NetworkError, Proxies, Standing};

use background::needs;
use front_door::FrontDoor;
use gateway::Gateway;

/// What the gateway works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Where units are set aside.
    pub stock: Arc<dyn StockStore>,
    /// Where orders go.
    pub queue: Arc<dyn OrderQueue>,
    /// What happens elsewhere.
    pub bus: Arc<dyn EventBus>,
    /// For operators.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The inventory service.
    pub inventory: HttpClient,
    /// The order service.
    pub order: HttpClient,
    /// The notify service; only the demo's mailbox asks it.
    pub notify: Option<HttpClient>,
    /// What a sale with a captcha asks: [`Digits`], or another.
    pub captcha: Arc<dyn Captcha>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it says what it waits for.
    pub health: Health,
    /// What `/metrics` shows.
    pub metrics: Metrics,
}

/// The gateway's two listeners.
pub struct Listeners {
    /// For buyers.
    pub public: TcpListener,
    /// For operators.
    pub admin: TcpListener,
}

/// Serves both listeners until `shutdown`, then lets requests under way finish. It serves at once, not
/// ready, and says in [`Dependencies::health`] what it waits for.
pub async fn serve(config: Config, deps: Dependencies, listeners: Listeners, shutdown: CancellationToken) {
    let gateway = Arc::new(Gateway::new(&config, &deps, shutdown.clone()));
    for part in [needs::CATALOGUE, needs::STOCK, needs::QUEUE, needs::NEWS] {
        deps.health.needs(part);
    }
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(background::keep_catalogue(gateway.clone(), deps.health.clone()));
    tasks.spawn(background::hear_broadcasts(gateway.clone(), deps.bus.clone(), deps.health.clone()));
    tasks.spawn(background::wake_watchers(gateway.clone(), deps.bus.clone()));
    tasks.spawn(background::sample_lanes(gateway.clone(), deps.health.clone()));
    tasks.spawn(background::ping_stock(gateway.clone(), deps.health.clone()));
    tasks.spawn(background::heal_flags(gateway.clone()));
    tasks.spawn(background::let_in(gateway.clone()));
    tasks.spawn(background::tidy(gateway.clone(), deps.metrics.clone()));
    if let Some(provider) = gateway.identity.provider() {
        tasks.spawn(identity::provider::keep(provider, deps.health.clone()));
    }
    let door = FrontDoor::new(gateway.clone(), config.demo, config.cors);
    let admin = routes::admin::router(&gateway, &config.admin_token, &deps.health, &deps.metrics);
    tokio::join!(
        serve_http(listeners.public, door, config.server, shutdown.clone()),
        serve_http(listeners.admin, admin, ServerLimits::default(), shutdown),
    );
    tasks.shutdown().await;
}
