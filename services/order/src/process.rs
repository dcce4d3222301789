//! The order service as a process of its own: its parts opened from settings, then
//! [`serve`].

use std::sync::Arc;

use domain::Clock;
use parts::Opening;
use service_kit::http::bind;
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SystemClock, telemetry};
use tokio_util::sync::CancellationToken;

use crate::payment::{Sandbox, SandboxConfig};
use crate::{Config, Dependencies, HttpLateStock, Listeners, order_store, serve};

/// Runs the order service from its settings until `shutdown`.
///
/// # Errors
/// A bad setting, a taken port, or an engine that cannot be used.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let metrics = telemetry::init(&settings)?;
    let config = Config::from_settings(&settings)?;
    parts::refuse_embedded(&settings, "SECKILL_QUEUE_URL", "embedded:")?;
    let inventory = parts::service_client(&settings, "SECKILL_INVENTORY_URL")?;
    let internal = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let opening = Opening::begin(&settings, &metrics, shutdown.clone()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = parts::database(&settings)?;
    let open_store = || async {
        order_store::open_pooled(&database.url, database.pool, clock.clone())
            .await
            .map_err(|e| database.unopened(e))
    };
    let store = opening.part("the ledger", open_store).await?;
    let books = SandboxConfig {
        webhook_url: config.sandbox_webhook_url.clone(),
        webhook_secret: config.webhook_secret.clone(),
        public_url: config.public_url.clone(),
    };
    let open_sandbox = || async {
        let opened = Sandbox::open(&database.url, books.clone(), clock.clone()).await;
        opened.map_err(|e| database.unopened(e))
    };
    let sandbox = opening.part("the payment sandbox", open_sandbox).await?;
    let broker = parts::broker(&settings, clock.clone()).await?;
    opening.part("the broker", || parts::connected(&broker)).await?;
    let operators = opening.done().await?;
    let deps = Dependencies {
        store,
        queue: broker.queue.clone(),
        bus: broker.bus.clone(),
        provider: sandbox.clone(),
        sandbox: Some(sandbox),
        late_stock: Arc::new(HttpLateStock::new(inventory)),
        clock,
    };
    let listeners = Listeners { internal, operators: Some((operators, metrics)) };
    tracing::info!("order serves");
    serve(config, deps, listeners, shutdown).await;
    broker.close().await.map_err(Failure::failed)
}
