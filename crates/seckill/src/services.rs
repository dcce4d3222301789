//! The services behind the gateway: opened, wired to each other, started.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use domain::Clock;
use order::payment::{PaymentProvider, Sandbox, SandboxConfig};
use parts::{Broker, Database, StockRole, Unopened, patiently};
use service_kit::health::Health;
use service_kit::http::{HttpClient, bind};
use service_kit::lifecycle::Failure;
use service_kit::{Secret, Settings};
use stock::StockStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The services as they run, and what the gateway needs of them.
pub(crate) struct Services {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stock: Arc<dyn StockStore>,
    pub(crate) broker: Broker,
    pub(crate) health: Health,
    pub(crate) inventory: HttpClient,
    pub(crate) order: HttpClient,
    pub(crate) notify: HttpClient,
    pub(crate) stop: CancellationToken,
    pub(crate) running: Vec<JoinHandle<()>>,
}

/// Starts order, inventory and notify on the runtime it is called on. `public` is where buyers come in:
/// the payment sandbox calls back there. `shutdown` ends the waiting for engines that are away; services that
/// run are stopped by [`Services::stop`], after the door.
pub(crate) async fn start(
    settings: Settings,
    public: SocketAddr,
    broker: Broker,
    clock: Arc<dyn Clock>,
    health: Health,
    shutdown: CancellationToken,
) -> Result<Services, Failure> {
    let settings = &settings;
    let inventory_config = inventory::Config::from_settings(settings)?;
    let notify_config = notify::Config::from_settings(settings)?;
    let order_config =
        order::Config::from_settings(&settings.clone().with("SECKILL_LISTEN", public.to_string()))?;
    let database = parts::database(settings)?;
    let stock = parts::stock(settings, StockRole::Inventory, clock.clone())?;
    patiently(&health, &shutdown, "the stock store", || parts::answers(&stock)).await?;
    let token = settings.secret("SECKILL_INTERNAL_TOKEN")?;
    let stop = CancellationToken::new();
    let common = Common { stock, broker, clock, health, token, stop, shutdown };
    let (inventory_listener, inventory_address) = internal().await?;
    let (order_listener, order_address) = internal().await?;
    let (notify_listener, notify_address) = internal().await?;
    let running = vec![
        start_order(order_config, &common, &database, order_listener, inventory_address).await?,
        start_inventory(inventory_config, &common, &database, inventory_listener, order_address).await?,
        start_notify(notify_config, &common, settings, notify_listener).await?,
    ];
    Ok(Services {
        inventory: common.client(inventory_address),
        order: common.client(order_address),
        notify: common.client(notify_address),
        clock: common.clock,
        stock: common.stock,
        broker: common.broker,
        health: common.health,
        stop: common.stop,
        running,
    })
}

/// What every service gets.
struct Common {
    clock: Arc<dyn Clock>,
    stock: Arc<dyn StockStore>,
    broker: Broker,
    health: Health,
    token: Secret,
    stop: CancellationToken,
    shutdown: CancellationToken,
}

impl Common {
    /// Opens a part in the database, however long that is away.
    async fn open<T, O>(&self, part: &'static str, open: impl FnMut() -> O) -> Result<T, Failure>
    where
        O: Future<Output = Result<T, Unopened>>,
    {
        patiently(&self.health, &self.shutdown, part, open).await
    }

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

async fn start_order(
    config: order::Config,
    common: &Common,
    database: &Database,
    internal: TcpListener,
    inventory: SocketAddr,
) -> Result<JoinHandle<()>, Failure> {
    let clock = &common.clock;
    let open_store = || async {
        order::order_store::open_pooled(&database.url, database.pool, clock.clone())
            .await
            .map_err(|e| database.unopened(e))
    };
    let store = common.open("the ledger", open_store).await?;
    let books = SandboxConfig {
        webhook_url: config.sandbox_webhook_url.clone(),
        webhook_secret: config.webhook_secret.clone(),
        public_url: config.public_url.clone(),
    };
    let open_sandbox = || async {
        let opened = Sandbox::open(&database.url, books.clone(), clock.clone()).await;
        opened.map_err(|e| database.unopened(e))
    };
    let sandbox = common.open("the payment sandbox", open_sandbox).await?;
    let provider: Arc<dyn PaymentProvider> = sandbox.clone();
    let deps = order::Dependencies {
        store,
        queue: common.broker.queue.clone(),
        bus: common.broker.bus.clone(),
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
    database: &Database,
    internal: TcpListener,
    order: SocketAddr,
) -> Result<JoinHandle<()>, Failure> {
    let open_sales = || async {
        let opened = inventory::sale_store::open(&database.url, common.clock.clone()).await;
        opened.map_err(|e| database.unopened(e))
    };
    let sales = common.open("the sales", open_sales).await?;
    let deps = inventory::Dependencies {
        sales,
        stock: common.stock.clone(),
        queue: common.broker.queue.clone(),
        bus: common.broker.bus.clone(),
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
    let database = parts::mailbox_database(settings)?;
    let open_mailbox =
        || async { notify::mailbox::open(&database.url).await.map_err(|e| database.unopened(e)) };
    let mailbox = common.open("the mailbox", open_mailbox).await?;
    let deps = notify::Dependencies { bus: common.broker.bus.clone(), mailbox };
    let listeners = notify::Listeners { internal, operators: None };
    Ok(tokio::spawn(notify::serve(config, deps, listeners, common.stop.clone())))
}
