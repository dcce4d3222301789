//! Inventory as a process of its own: its parts opened from settings, then [`serve`].

use std::sync::Arc;

use domain::Clock;
use parts::{Opening, StockRole};
use service_kit::http::bind;
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SystemClock, telemetry};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, Listeners, sale_store, serve};

/// Runs inventory from its settings until `shutdown`.
///
/// # Errors
/// A bad setting, a taken port, or an engine that cannot be used.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let metrics = telemetry::init(&settings)?;
    let config = Config::from_settings(&settings)?;
    parts::refuse_embedded(&settings, "SECKILL_STOCK_URL", "memory:")?;
    parts::refuse_embedded(&settings, "SECKILL_QUEUE_URL", "embedded:")?;
    let order = parts::service_client(&settings, "SECKILL_ORDER_URL")?;
    let internal = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let opening = Opening::begin(&settings, &metrics, shutdown.clone()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = parts::database(&settings)?;
    let open_sales =
        async || sale_store::open(&database.url, clock.clone()).await.map_err(|e| database.unopened(e));
    let sales = opening.part("the sales", open_sales).await?;
    let stock = parts::stock(&settings, StockRole::Inventory, clock.clone())?;
    opening.part("the stock store", || parts::answers(&stock)).await?;
    let broker = parts::broker(&settings, clock.clone()).await?;
    opening.part("the broker", || parts::connected(&broker)).await?;
    let operators = opening.done().await?;
    let deps =
        Dependencies { sales, stock, queue: broker.queue.clone(), bus: broker.bus.clone(), order, clock };
    let listeners = Listeners { internal, operators: Some((operators, metrics)) };
    tracing::info!("inventory serves");
    serve(config, deps, listeners, shutdown).await;
    broker.close().await.map_err(Failure::failed)
}
