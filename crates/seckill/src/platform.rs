//! Starting the whole platform in one process, and stopping it in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::Clock;
use parts::patiently;
use service_kit::health::Health;
use service_kit::http::bind;
use service_kit::lifecycle::Failure;
use service_kit::telemetry;
use service_kit::{Settings, SystemClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::back_office::BackOffice;
use crate::services::{self, Services};

/// A platform that runs.
pub struct Running {
    /// Where buyers come in.
    pub public: SocketAddr,
    /// Where operators come in.
    pub admin: SocketAddr,
    gateway: JoinHandle<()>,
    services: Services,
    _back_office: BackOffice,
}

impl Running {
    /// Waits until the platform has stopped, after `shutdown` was cancelled: first the door, so that
    /// nothing more is accepted; then the services behind it, which finish what they hold; the queue last.
    ///
    /// # Errors
    /// When a service broke, or the queue could not be closed.
    pub async fn stopped(self) -> Result<(), Failure> {
        let gateway = self.gateway.await;
        self.services.stop.cancel();
        let mut broke = gateway.err().map(|e| format!("the gateway broke: {e}"));
        for service in self.services.running {
            broke = service.await.err().map(|e| format!("a service broke: {e}")).or(broke);
        }
        self.services.broker.close().await.map_err(Failure::failed)?;
        broke.map_or(Ok(()), |why| Err(Failure::Failed(why)))
    }
}

/// Starts the platform. It runs until `shutdown` is cancelled; then [`Running::stopped`] says when it has.
///
/// # Errors
/// A bad setting, a taken port, or a part that does not open.
pub async fn start(settings: &Settings, shutdown: CancellationToken) -> Result<Running, Failure> {
    let metrics = telemetry::init(settings)?;
    let settings = settings.clone().with("SECKILL_INTERNAL_TOKEN", random_token()?);
    // The door's settings and ports first: a mistake there ends here, and touches no data.
    let config = gateway::Config::from_settings(&settings)?;
    let public = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let admin = bind("SECKILL_ADMIN_LISTEN", settings.address("SECKILL_ADMIN_LISTEN")?).await?;
    let public_address = public.local_addr().map_err(Failure::failed)?;
    let admin_address = admin.local_addr().map_err(Failure::failed)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The broker stays on the door's side: it answers hundreds of waiting purchases at a time, and waking
    // each across runtimes would cost more than the answer.
    let health = Health::default();
    let broker = parts::broker(&settings, clock.clone()).await?;
    patiently(&health, &shutdown, "the broker", || parts::connected(&broker)).await?;
    let back_office = BackOffice::open()?;
    let opened = services::start(settings, public_address, broker, clock, health, shutdown.clone());
    let services = back_office.run(opened).await?;
    let deps = gateway::Dependencies {
        stock: services.stock.clone(),
        queue: services.broker.queue.clone(),
        bus: services.broker.bus.clone(),
        dead_letters: services.broker.dead_letters.clone(),
        inventory: services.inventory.clone(),
        order: services.order.clone(),
        notify: Some(services.notify.clone()),
        captcha: Arc::new(gateway::Digits),
        clock: services.clock.clone(),
        health: services.health.clone(),
        metrics,
    };
    let listeners = gateway::Listeners { public, admin };
    let gateway = tokio::spawn(gateway::serve(config, deps, listeners, shutdown));
    Ok(Running { public: public_address, admin: admin_address, gateway, services, _back_office: back_office })
}

fn random_token() -> Result<String, Failure> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(Failure::failed)?;
    Ok(hex::encode(random))
}
