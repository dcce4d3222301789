//! The order service: orders, payments, allocations with their epoch, and the outbox. The ledger is
//! the arbiter of every sale; the stock store is only its fast filter.
//!
//! Lanes come in through [`messaging::OrderQueue`], are committed by batch to the [`OrderStore`], and
//! what happened goes out through the outbox to [`messaging::EventBus`]. Jobs beside it expire what is
//! not paid, find units for late payments, and have the provider pay back what must be paid back.

mod backlog;
mod config;
mod consumer;
mod jobs;
mod late_stock;
pub mod order_store;
pub mod payment;
pub mod process;
mod provider_status;
mod relay;
mod routes;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use domain::Clock;
use messaging::{EventBus, OrderQueue};
use service_kit::health::{self, Health};
use service_kit::http::{RequestIds, ServerLimits, serve as serve_http, with_request_id};
use service_kit::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use late_stock::{HttpLateStock, LateStock, LateStockError};
pub use webhook::sign as sign_webhook;

use order_store::OrderStore;
use payment::{PaymentProvider, Sandbox};

/// How often ledger and queue are asked whether they answer, in milliseconds.
const PING_EVERY_MS: u64 = 1_000;

/// What the order service works with.
pub struct Dependencies {
    /// The ledger.
    pub store: Arc<dyn OrderStore>,
    /// The order queue, for the lanes.
    pub queue: Arc<dyn OrderQueue>,
    /// The event bus, for the outbox.
    pub bus: Arc<dyn EventBus>,
    /// Who collects the money.
    pub provider: Arc<dyn PaymentProvider>,
    /// The same provider, if it is the sandbox: its pay page and its errands are served here.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Units for late payments.
    pub late_stock: Arc<dyn LateStock>,
    /// The time, for webhook signatures. The ledger's times are the store's own.
    pub clock: Arc<dyn Clock>,
}

/// Where the order service listens.
pub struct Listeners {
    /// For the other services, and for what the gateway passes through.
    pub internal: TcpListener,
    /// For operators: metrics and health; the all-in-one serves those itself.
    pub operators: Option<(TcpListener, Metrics)>,
}

/// Runs the service until `shutdown`, then finishes what is under way: a batch being committed is
/// committed and acknowledged before its lane is closed.
pub async fn serve(config: Config, deps: Dependencies, listeners: Listeners, shutdown: CancellationToken) {
    let health = Health::default();
    let mut tasks = JoinSet::new();
    for lane in 0..deps.queue.lanes() {
        let consumer = consumer::LaneConsumer {
            queue: deps.queue.clone(),
            store: deps.store.clone(),
            batch_max: config.batch_max,
        };
        tasks.spawn(consumer.run(lane, shutdown.clone()));
    }
    tasks.spawn(relay::run(deps.store.clone(), deps.bus.clone(), shutdown.clone()));
    jobs::spawn(&mut tasks, &config, &deps, &shutdown);
    tasks.spawn(backlog::report(deps.store.clone(), shutdown.clone()));
    tasks.spawn(watch_engines(deps.store.clone(), deps.queue.clone(), health.clone(), shutdown.clone()));
    if let Some(sandbox) = deps.sandbox.clone() {
        if !config.demo {
            tracing::warn!("payments go to the sandbox, where no money moves: see docs/extending.md");
        }
        tasks.spawn(sandbox.run_errands(shutdown.clone()));
    }
    if let Some((listener, metrics)) = listeners.operators {
        let router = health::listener(&health, &metrics);
        tasks.spawn(serve_http(listener, router, ServerLimits::default(), shutdown.clone()));
    }
    let router =
        routes::router(&config, &deps).layer(from_fn_with_state(RequestIds::default(), with_request_id));
    serve_http(listeners.internal, router, ServerLimits::default(), shutdown).await;
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the order service broke");
        }
    }
}

/// Readiness means that the ledger answers, and that orders can come in.
async fn watch_engines(
    store: Arc<dyn OrderStore>,
    queue: Arc<dyn OrderQueue>,
    health: Health,
    shutdown: CancellationToken,
) {
    const LEDGER: &str = "the ledger";
    const QUEUE: &str = "the order queue";
    for part in [LEDGER, QUEUE] {
        health.needs(part);
    }
    loop {
        health.answered(LEDGER, store.ping().await);
        health.answered(QUEUE, queue.lane_stats().await);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(PING_EVERY_MS)) => {}
        }
    }
}
