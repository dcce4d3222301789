//! Starting the four services in one process, and stopping them in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::Clock;
use messaging::embedded::EmbeddedBroker;
use order::payment::{PaymentProvider, Sandbox, SandboxConfig};
use service_kit::health::Health;
use service_kit::http::{HttpClient, bind};
use service_kit::lifecycle::Failure;
use service_kit::telemetry;
use service_kit::{Secret, Settings, SystemClock};
use stock::StockStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::parts;

/// A platform that runs.
pub struct Running {
    /// Where buyers come in.
    pub public: SocketAddr,
    /// Where operators come in.
    pub admin: SocketAddr,
    gateway: JoinHandle<()>,
    services: Vec<JoinHandle<()>>,
    services_stop: CancellationToken,
    broker: Arc<EmbeddedBroker>,
}

impl Running {
    /// Waits until the platform has stopped, after `shutdown` was cancelled: first the door, so that
    /// nothing more is accepted; then the services behind it, which finish what they hold; the queue last.
    ///
    /// # Errors
    /// When a service broke, or the queue could not be closed.
    pub async fn stopped(self) -> Result<(), Failure> {
        let gateway = self.gateway.await;
        self.services_stop.cancel();
        let mut broke = gateway.err().map(|e| format!("the gateway broke: {e}"));
        for service in self.services {
            broke = service.await.err().map(|e| format!("a service broke: {e}")).or(broke);
        }
        self.broker.close().await.map_err(Failure::failed)?;
        broke.map_or(Ok(()), |why| Err(Failure::Failed(why)))
    }
}

/// What every service gets.
struct Common {
    clock: Arc<dyn Clock>,
    stock: Arc<dyn StockStore>,
    broker: Arc<EmbeddedBroker>,
    token: Secret,
    stop: CancellationToken,
}

impl Common {
    fn client(&self, address: SocketAddr) -> HttpClient {
        HttpClient::new(&format!("http://{address}"), Some(&self.token))
    }
}

/// An internal listener on a free port of the loopback interface.
async fn internal() -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = bind("internal", SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    Ok((listener, address))
}

/// Starts the platform. It runs until `shutdown` is cancelled; then [`Running::stopped`] says when it has.
///
/// # Errors
/// A bad setting, a taken port, or a part that does not open.
pub async fn start(settings: &Settings, shutdown: CancellationToken) -> Result<Running, Failure> {
    let metrics = telemetry::init(settings)?;
    let settings = &settings.clone().with("SECKILL_INTERNAL_TOKEN", random_token()?);
    // Everything is read and bound before anything starts: a mistake ends here, and touches nothing.
    let gateway_config = gateway::Config::from_settings(settings)?;
    let inventory_config = inventory::Config::from_settings(settings)?;
    let notify_config = notify::Config::from_settings(settings)?;
    let public = bind("SECKILL_LISTEN", settings.address("SECKILL_LISTEN")?).await?;
    let admin = bind("SECKILL_ADMIN_LISTEN", settings.address("SECKILL_ADMIN_LISTEN")?).await?;
    let public_address = public.local_addr().map_err(Failure::failed)?;
    let admin_address = admin.local_addr().map_err(Failure::failed)?;
    // The sandbox calls back where buyers come in, whatever port that turned out to be.
    let order_settings = settings.clone().with("SECKILL_LISTEN", public_address.to_string());
    let order_config = order::Config::from_settings(&order_settings)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = parts::database_url(settings)?;
    let common = Common {
        stock: parts::stock(settings, clock.clone())?,
        broker: parts::broker(settings, clock.clone()).await?,
        clock,
        token: settings.secret("SECKILL_INTERNAL_TOKEN")?,
        stop: CancellationToken::new(),
    };
    let (inventory_listener, inventory_address) = internal().await?;
    let (order_listener, order_address) = internal().await?;
    let (notify_listener, notify_address) = internal().await?;

    let services = vec![
        start_order(order_config, &common, &database, order_listener, inventory_address).await?,
        start_inventory(inventory_config, &common, &database, inventory_listener, order_address).await?,
        start_notify(notify_config, &common, settings, notify_listener).await?,
    ];
    let deps = gateway::Deps {
        stock: common.stock.clone(),
        queue: common.broker.clone(),
        bus: common.broker.clone(),
        dead_letters: common.broker.clone(),
        inventory: common.client(inventory_address),
        order: common.client(order_address),
        notify: Some(common.client(notify_address)),
        clock: common.clock.clone(),
        health: Health::default(),
        metrics,
    };
    let listeners = gateway::Listeners { public, admin };
    let gateway = tokio::spawn(gateway::serve(gateway_config, deps, listeners, shutdown));
    Ok(Running {
        public: public_address,
        admin: admin_address,
        gateway,
        services,
        services_stop: common.stop,
        broker: common.broker,
    })
}

async fn start_order(
    config: order::Config,
    common: &Common,
    database: &str,
    internal: TcpListener,
    inventory: SocketAddr,
) -> Result<JoinHandle<()>, Failure> {
    let store = order::order_store::open(database, common.clock.clone()).await.map_err(Failure::failed)?;
    let books = SandboxConfig {
        webhook_url: config.sandbox_webhook_url.clone(),
        webhook_secret: config.webhook_secret.clone(),
        public_url: config.public_url.clone(),
    };
    let sandbox = Sandbox::open(database, books, common.clock.clone()).await.map_err(Failure::failed)?;
    let provider: Arc<dyn PaymentProvider> = sandbox.clone();
    let deps = order::Dependencies {
        store,
        queue: common.broker.clone(),
        bus: common.broker.clone(),
        provider,
        sandbox: Some(sandbox),
        late_stock: Arc::new(order::HttpLateStock::new(common.client(inventory))),
        clock: common.clock.clone(),
    };
    let listeners = order::Listeners { internal, operators: None };
    Ok(tokio::spawn(order::serve(config, deps, listeners, common.stop.clone())))
}

async fn start_inventory(
    config: inventory::Config,
    common: &Common,
    database: &str,
    internal: TcpListener,
    order: SocketAddr,
) -> Result<JoinHandle<()>, Failure> {
    let sales = inventory::sale_store::open(database, common.clock.clone()).await.map_err(Failure::failed)?;
    let deps = inventory::Dependencies {
        sales,
        stock: common.stock.clone(),
        queue: common.broker.clone(),
        bus: common.broker.clone(),
        order: common.client(order),
        clock: common.clock.clone(),
    };
    let listeners = inventory::Listeners { internal, operators: None };
    Ok(tokio::spawn(inventory::serve(config, deps, listeners, common.stop.clone())))
}

async fn start_notify(
    config: notify::Config,
    common: &Common,
    settings: &Settings,
    internal: TcpListener,
) -> Result<JoinHandle<()>, Failure> {
    // A file of its own: notices in a storm must not hold up the ledger's writer.
    let path = parts::data_dir(settings)?.join("mailbox.db");
    let mailbox =
        notify::mailbox::open(&format!("sqlite:{}", path.display())).await.map_err(Failure::failed)?;
    let deps = notify::Dependencies { bus: common.broker.clone(), mailbox };
    let listeners = notify::Listeners { internal, operators: None };
    Ok(tokio::spawn(notify::serve(config, deps, listeners, common.stop.clone())))
}

fn random_token() -> Result<String, Failure> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(Failure::failed)?;
    Ok(hex::encode(random))
}
