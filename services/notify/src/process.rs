//! Notify as a process of its own: its parts opened from settings, then [`serve`].

use std::sync::Arc;

use domain::Clock;
use parts::Opening;
use service_kit::http::bind;
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SystemClock, telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, Listeners, mailbox, serve};

/// Runs notify from its settings until `shutdown`.
///
/// # Errors
/// A bad setting, a taken port, or an engine that cannot be used.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let metrics = telemetry::init(&settings)?;
    let config = Config::from_settings(&settings)?;
    parts::refuse_embedded(&settings, "SECKILL_QUEUE_URL", "embedded:")?;
    let internal = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let opening = Opening::begin(&settings, &metrics, shutdown.clone()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = parts::mailbox_database(&settings)?;
    let open_mailbox = || async { mailbox::open(&database.url).await.map_err(|e| database.unopened(e)) };
    let mailbox = opening.part("the mailbox", open_mailbox).await?;
    let broker = parts::broker(&settings, clock.clone()).await?;
    opening.part("the broker", || parts::connected(&broker)).await?;
    let operators = opening.done().await?;
    tracing::info!(internal = %address(&internal), admin = %address(&operators), "listening");
    let deps = Dependencies { bus: broker.bus.clone(), mailbox };
    let listeners = Listeners { internal, operators: Some((operators, metrics)) };
    serve(config, deps, listeners, shutdown).await;
    broker.close().await.map_err(Failure::failed)
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string())
}
