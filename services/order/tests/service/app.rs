//! A running service with files, ports and a clock of its own. Tests wait for states, never for time.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use contract::internal::{AllocationView, LateOutcome, LateReservation, OrderRow, PutAllocation};
use contract::lane::{LaneMessage, OrderMessage};
use domain::{BuyerId, Clock, Epoch, OrderId, OrderStatus, SaleId, UnixMillis};
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use messaging::{EventBus, OrderQueue};
use order::order_store::{OrderStore, SqliteOptions, SqliteStore};
use order::payment::{PaymentProvider, Sandbox, SandboxConfig};
use order::{Config, Dependencies, LateStock, LateStockError, Listeners};
use service_kit::http::{HttpClient, Reply};
use service_kit::telemetry::Metrics;
use service_kit::{Secret, Settings, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outbox::FlakyBus;

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const PRICE: i64 = 2_500;
pub(crate) const PAY_WITHIN_S: u32 = 120;
const TOKEN: &str = "internal token of the tests";
pub(crate) const WEBHOOK_SECRET: &str = "webhook secret of the tests";

/// The machine's clock, and what the test added to it.
#[derive(Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl Clock for ShiftedClock {
    fn now(&self) -> UnixMillis {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }
}

/// Inventory's part for late payments, answering as it is told.
pub(crate) struct ScriptedStock(pub(crate) LateOutcome);

#[async_trait]
impl LateStock for ScriptedStock {
    async fn reserve(&self, _: &LateReservation) -> Result<LateOutcome, LateStockError> {
        Ok(self.0)
    }
}

/// Makes the queue that the service sees, over the broker's.
pub(crate) type Wiring = fn(Arc<EmbeddedBroker>) -> Arc<dyn OrderQueue>;

/// What a test wants to be different.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) provider: Option<Arc<dyn PaymentProvider>>,
    pub(crate) late_stock: Option<LateOutcome>,
    /// The sandbox's webhooks go nowhere.
    pub(crate) webhooks_lost: bool,
    /// Events get through at the third attempt.
    pub(crate) flaky_bus: bool,
    /// What stands between the service and the broker's queue.
    pub(crate) wire: Option<Wiring>,
}

pub(crate) struct App {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) http: HttpClient,
    /// Without the internal token.
    pub(crate) open: HttpClient,
    /// The operators' listener.
    pub(crate) operators: HttpClient,
    pub(crate) database: PathBuf,
    shutdown: CancellationToken,
    service: Option<JoinHandle<()>>,
    wishes: Wishes,
    _folder: tempfile::TempDir,
}

pub(crate) fn sale() -> SaleId {
    "lamp".parse().unwrap()
}

pub(crate) fn buyer(name: &str) -> BuyerId {
    name.parse().unwrap()
}

pub(crate) fn id(n: u32) -> OrderId {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    OrderId::mint(UnixMillis(1_700_000_000_000), random)
}

pub(crate) fn order(n: u32, who: &str, quantity: u32) -> LaneMessage {
    LaneMessage::Order(OrderMessage {
        order: id(n),
        sale: sale(),
        buyer: buyer(who),
        quantity,
        epoch: Epoch(1),
        reserved_at: UnixMillis(1_700_000_000_000),
    })
}

/// Waits until `state` holds; a test that waits in vain fails here.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut state: impl FnMut() -> F) {
    let patience_ends = Instant::now() + PATIENCE;
    while !state().await {
        assert!(Instant::now() < patience_ends, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl App {
    pub(crate) async fn start(wishes: Wishes) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let database = folder.path().join("ledger.db");
        let options = SqliteOptions { busy: Duration::from_millis(50), ..SqliteOptions::default() };
        let store = Arc::new(SqliteStore::open(&database, options, clock.clone()).await.unwrap());
        let options = EmbeddedOptions { lanes: 1, ..EmbeddedOptions::default() };
        let broker =
            EmbeddedBroker::open(&folder.path().join("queue.db"), options, clock.clone()).await.unwrap();
        let nowhere = HttpClient::new("http://127.0.0.1:9", None);
        let mut app = Self {
            store,
            broker,
            clock,
            http: nowhere.clone(),
            open: nowhere.clone(),
            operators: nowhere,
            database,
            shutdown: CancellationToken::new(),
            service: None,
            wishes,
            _folder: folder,
        };
        app.resume().await;
        app
    }

    /// Starts the service, afresh after [`App::stop`].
    pub(crate) async fn resume(&mut self) {
        let (listener, operators) = (listener().await, listener().await);
        let (address, for_operators) = (listener.local_addr().unwrap(), operators.local_addr().unwrap());
        let webhook_to = if self.wishes.webhooks_lost { "127.0.0.1:9".into() } else { address.to_string() };
        let settings = Settings::from_vars([])
            .unwrap()
            .with("SECKILL_INTERNAL_TOKEN", TOKEN)
            .with("SECKILL_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .with("SECKILL_EXPIRE_EVERY_MS", "20")
            .with("SECKILL_SANDBOX_WEBHOOK_URL", format!("http://{webhook_to}/api/v1/payments/webhook"));
        let config = Config::from_settings(&settings).unwrap();
        let sandbox_config = SandboxConfig {
            webhook_url: config.sandbox_webhook_url.clone(),
            webhook_secret: config.webhook_secret.clone(),
            public_url: String::new(),
        };
        let url = format!("sqlite:{}", self.database.display());
        let sandbox = Sandbox::open(&url, sandbox_config, self.clock.clone()).await.unwrap();
        let broker = self.broker.clone();
        let queue = match self.wishes.wire {
            Some(wire) => wire(broker.clone()),
            None => broker.clone(),
        };
        let bus: Arc<dyn EventBus> =
            if self.wishes.flaky_bus { Arc::new(FlakyBus::over(broker)) } else { broker };
        let deps = Dependencies {
            store: self.store.clone(),
            queue,
            bus,
            provider: self.wishes.provider.clone().unwrap_or(sandbox.clone()),
            sandbox: Some(sandbox),
            late_stock: Arc::new(ScriptedStock(self.wishes.late_stock.unwrap_or(LateOutcome::Refused))),
            clock: self.clock.clone(),
        };
        self.shutdown = CancellationToken::new();
        let listeners = Listeners { internal: listener, operators: Some((operators, Metrics::install())) };
        self.service = Some(tokio::spawn(order::serve(config, deps, listeners, self.shutdown.clone())));
        let base = format!("http://{address}");
        self.http = HttpClient::new(&base, Some(&Secret::new(TOKEN)));
        self.open = HttpClient::new(&base, None);
        self.operators = HttpClient::new(&format!("http://{for_operators}"), None);
    }

    /// Asks the service to stop and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        self.service.take().unwrap().await.unwrap();
    }

    /// Stops everything; nothing may be amiss in the ledger then.
    pub(crate) async fn end(mut self) {
        assert_eq!(self.store.audit().await.unwrap(), []);
        self.stop().await;
        self.broker.close().await.unwrap();
    }

    pub(crate) async fn put_sale(&self, total: u32, per_user_limit: u32) {
        let put = PutAllocation {
            total,
            total_version: 1,
            price_cents: PRICE,
            currency: "EUR".into(),
            per_user_limit,
            pay_within_s: PAY_WITHIN_S,
        };
        let path = format!("/internal/v1/allocations/{}", sale());
        let _: AllocationView = self.http.call(Method::PUT, &path, &put).await.unwrap();
    }

    pub(crate) async fn publish(&self, message: &LaneMessage) {
        OrderQueue::publish(&*self.broker, message).await.unwrap();
    }

    /// Publishes an order of one unit and waits for its row.
    pub(crate) async fn place(&self, n: u32, who: &str) {
        self.publish(&order(n, who, 1)).await;
        self.until_status(n, OrderStatus::PendingPayment).await;
    }

    pub(crate) async fn status(&self, n: u32) -> Option<OrderStatus> {
        let row: Result<OrderRow, _> = self.http.get(&format!("/internal/v1/orders/{}", id(n))).await;
        row.ok().map(|row| row.order.status)
    }

    pub(crate) async fn until_status(&self, n: u32, status: OrderStatus) {
        until(&format!("order {n} is {status}"), || async { self.status(n).await == Some(status) }).await;
    }

    /// Moves the clock past the time to pay of everything committed so far.
    pub(crate) fn pass_deadline(&self) {
        self.clock.0.fetch_add(i64::from(PAY_WITHIN_S) * 1000 + 1, Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) async fn lane_depth(&self) -> u64 {
        self.broker.lane_stats().await.unwrap().iter().map(|lane| lane.depth + lane.in_flight).sum()
    }

    /// Sends a body to the webhook, signed by the right key.
    pub(crate) async fn webhook(&self, body: &serde_json::Value) -> Reply {
        let body = body.to_string();
        let signature = order::sign_webhook(&Secret::new(WEBHOOK_SECRET), self.clock.now(), body.as_bytes());
        self.webhook_signed(&signature, &body).await
    }

    pub(crate) async fn webhook_signed(&self, signature: &str, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("seckill-signature", HeaderValue::from_str(signature).unwrap());
        self.open
            .send(Method::POST, "/api/v1/payments/webhook", headers, body.to_owned().into())
            .await
            .unwrap()
    }

    /// Presses a button of the pay page.
    pub(crate) async fn press(&self, pay_page: &str, action: &str) {
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        let body = format!("action={action}").into();
        let reply = self.open.send(Method::POST, pay_page, headers, body).await.unwrap();
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
        let back = if action == "fail" { "/s/lamp#payment=failed" } else { "/s/lamp" };
        assert_eq!(reply.headers[header::LOCATION], back);
    }
}

impl App {
    /// From the next start on, inventory answers late payments like this.
    pub(crate) fn answer_late(&mut self, outcome: LateOutcome) {
        self.wishes.late_stock = Some(outcome);
    }
}
