//! The gateway as a process of its own: its parts opened from settings, then [`serve`].

use std::sync::Arc;

use domain::Clock;
use parts::{Opening, StockRole};
use service_kit::health::Health;
use service_kit::http::bind;
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SystemClock, telemetry};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, Digits, Listeners, serve};

/// Runs the gateway from its settings until `shutdown`.
///
/// # Errors
/// A bad setting, a taken port, or an engine that cannot be used.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let metrics = telemetry::init(&settings)?;
    let config = Config::from_settings(&settings)?;
    parts::refuse_embedded(&settings, "SECKILL_STOCK_URL", "memory:")?;
    parts::refuse_embedded(&settings, "SECKILL_QUEUE_URL", "embedded:")?;
    let inventory = parts::service_client(&settings, "SECKILL_INVENTORY_URL")?;
    let order = parts::service_client(&settings, "SECKILL_ORDER_URL")?;
    let notify = match settings.text("SECKILL_NOTIFY_URL") {
        Some(_) => Some(parts::service_client(&settings, "SECKILL_NOTIFY_URL")?),
        None => None,
    };
    let public = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let opening = Opening::begin(&settings, &metrics, shutdown.clone()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stock = parts::stock(&settings, StockRole::Gateway, clock.clone())?;
    opening.part("the stock store", || parts::answers(&stock)).await?;
    let broker = parts::broker(&settings, clock.clone()).await?;
    opening.part("the broker", || parts::connected(&broker)).await?;
    let admin = opening.done().await?;
    tracing::info!(public = %address(&public), admin = %address(&admin), "listening");
    let deps = Dependencies {
        stock,
        queue: broker.queue.clone(),
        bus: broker.bus.clone(),
        dead_letters: broker.dead_letters.clone(),
        inventory,
        order,
        notify,
        captcha: Arc::new(Digits),
        clock,
        health: Health::default(),
        metrics,
    };
    serve(config, deps, Listeners { public, admin }, shutdown).await;
    broker.close().await.map_err(Failure::failed)
}

fn address(listener: &tokio::net::TcpListener) -> String {
    listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string())
}
