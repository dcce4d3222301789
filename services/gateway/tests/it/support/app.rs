//! The gateway under test, with everything it stands on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::stock::{Rebuild, StockConfig, StockStore};
use contract::api::{Order, Sale};
use contract::events::{Change, SaleBroadcast, SaleNews};
use contract::internal::{CatalogueSale, OrderRow};
use contract::rules::SaleRules;
use domain::{BuyerId, Clock, Epoch, OrderId, OrderStatus, Phase, ReservationId, SaleId, UnixMillis};
use gateway::identity::Identity;
use gateway::{Captcha, Config, Dependencies, Digits, Listeners};
use serde_json::{Value, json};
use service_kit::health::Health;
use service_kit::telemetry::Metrics;
use service_kit::{Secret, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bus::Bus;
use super::http::{Answer, Client};
use super::queue::Queue;
use super::stock::Stock;
use super::upstream::Behind;
use super::{Hand, NOW, until};

pub const SALE: &str = "sale-1";
/// See [`App::second_sale`].
pub const SECOND_SALE: &str = "sale-2";
pub const SLUG: &str = "0123456789abcdef0123456789abcdef";
pub const BUY: &str = "/api/v1/buy/0123456789abcdef0123456789abcdef";
pub const JWT_SECRET: &str = "a secret of the tests";
pub const ADMIN_TOKEN: &str = "the operators' token";
pub const TICKET_KEYS: &str = "k1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// How an app differs from the usual one: a sale of 10 units, 2 a buyer, open now for an hour, and no
/// rate limits.
pub struct Options {
    pub stock: u32,
    pub opens_in_ms: i64,
    pub settings: Vec<(&'static str, &'static str)>,
    pub captcha: Arc<dyn Captcha>,
}

impl Default for Options {
    fn default() -> Self {
        Self { stock: 10, opens_in_ms: 0, settings: Vec::new(), captcha: Arc::new(Digits) }
    }
}

pub struct App {
    pub public: Client,
    pub admin: Client,
    pub address: std::net::SocketAddr,
    pub clock: Arc<Hand>,
    pub stock: Arc<Stock>,
    pub queue: Arc<Queue>,
    pub bus: Arc<Bus>,
    pub behind: Arc<Behind>,
    pub health: Health,
    pub identity: Identity,
    captcha: Arc<dyn Captcha>,
    stopping: CancellationToken,
}

/// What gateways share.
struct Shared {
    stock: Arc<Stock>,
    queue: Arc<Queue>,
    behind: Arc<Behind>,
    captcha: Arc<dyn Captcha>,
    stock_clock: Arc<Hand>,
}

/// A clock that is off.
struct Off(Arc<Hand>, i64);

impl Clock for Off {
    fn now(&self) -> UnixMillis {
        self.0.now().plus(self.1)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl App {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let clock = Arc::new(Hand::default());
        let stopping = CancellationToken::new();
        let (queue, behind) = (Arc::<Queue>::default(), Arc::<Behind>::default());
        let stock = Arc::new(Stock::new(clock.clone()));
        let health = Health::default();
        behind.sales.lock().push(sale(options.opens_in_ms, options.stock));
        fill(&stock, 1, options.opens_in_ms, options.stock).await;
        let captcha = options.captcha;
        let shared = Shared { stock, queue, behind, captcha, stock_clock: clock.clone() };
        Self::on(shared, clock, health, stopping, &options.settings).await
    }

    /// Another gateway on the same stock store and services, with a bus of its own, and a clock that is off
    /// by so much.
    pub async fn beside(&self, off_ms: i64) -> Self {
        let shared = Shared {
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            behind: self.behind.clone(),
            captcha: self.captcha.clone(),
            stock_clock: self.clock.clone(),
        };
        let clock = Arc::new(Off(self.clock.clone(), off_ms));
        Self::on(shared, clock, Health::default(), CancellationToken::new(), &[]).await
    }

    async fn on(
        shared: Shared,
        clock: Arc<dyn Clock>,
        health: Health,
        stopping: CancellationToken,
        changes: &[(&str, &str)],
    ) -> Self {
        let Shared { stock, queue, behind, captcha, stock_clock } = shared;
        let bus = Arc::<Bus>::default();
        let upstream = behind.serve(stopping.clone()).await;
        let deps = Dependencies {
            stock: stock.clone(),
            queue: queue.clone(),
            bus: bus.clone(),
            dead_letters: queue.clone(),
            inventory: upstream.clone(),
            order: upstream.clone(),
            notify: Some(upstream),
            captcha: captcha.clone(),
            clock,
            health: health.clone(),
            metrics: Metrics::install(),
        };
        let listeners = Listeners {
            public: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            admin: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let address = listeners.public.local_addr().unwrap();
        let base = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (public, admin) = (Client::new(&base(&listeners.public)), Client::new(&base(&listeners.admin)));
        let config = Config::from_settings(&settings(changes)).unwrap();
        tokio::spawn(gateway::serve(config, deps, listeners, stopping.clone()));
        let identity = Identity::new(&Secret::new(JWT_SECRET));
        let clock = stock_clock;
        let app = Self {
            public,
            admin,
            address,
            clock,
            stock,
            queue,
            bus,
            behind,
            health,
            identity,
            captcha,
            stopping,
        };
        until("readiness", async || (app.admin.get("/readyz", None).await.status == 200).then_some(())).await;
        app
    }

    /// Puts another sale of so many units beside the first, and returns its buy path.
    pub async fn second_sale(&self, stock: u32) -> String {
        let mut another = sale(0, stock);
        (another.sale.id, another.slug) = (SECOND_SALE.parse().unwrap(), "f".repeat(32));
        let rebuild = Rebuild { sale: another.sale.id.clone(), epoch: Epoch(1), token: 1 };
        assert!(self.stock.rebuild_begin(&rebuild).await.unwrap());
        assert!(self.stock.rebuild_finish(&rebuild, &config(0), stock, 1).await.unwrap());
        self.behind.sales.lock().push(another);
        self.admin_patch(&format!("/admin/v1/sales/{SECOND_SALE}"), "{}").await.ok(200);
        format!("/api/v1/buy/{}", "f".repeat(32))
    }

    /// A token of this buyer, good for three hours.
    pub fn token(&self, buyer: &str) -> String {
        self.identity.mint(&buyer.parse().unwrap(), self.clock.now(), 3 * 3600)
    }

    pub async fn ticket_answer(&self, buyer: &str) -> Answer {
        self.public.post(&format!("{BUY}/tickets"), Some(&self.token(buyer)), &Value::Null).await
    }

    /// A ticket and its order id.
    pub async fn ticket(&self, buyer: &str) -> (String, OrderId) {
        let ticket = self.ticket_answer(buyer).await.ok(200).json();
        (ticket["ticket"].as_str().unwrap().into(), ticket["order_id"].as_str().unwrap().parse().unwrap())
    }

    pub async fn order(&self, buyer: &str, ticket: &str, quantity: i64) -> Answer {
        let body = json!({ "ticket": ticket, "quantity": quantity });
        self.public.post(&format!("{BUY}/orders"), Some(&self.token(buyer)), &body).await
    }

    /// A ticket, then an order of one unit with it.
    pub async fn buy(&self, buyer: &str) -> (String, OrderId) {
        let (ticket, order) = self.ticket(buyer).await;
        self.order(buyer, &ticket, 1).await.ok(202);
        (ticket, order)
    }

    /// What the gate shows, now.
    pub async fn gate_is(&self, state: &str) {
        let gate = self.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200).json();
        assert_eq!(gate["state"], state);
    }

    /// A change that the operators' listener passes on.
    pub async fn admin_patch(&self, path: &str, body: &str) -> Answer {
        let mut headers = super::http::authorized(Some(ADMIN_TOKEN));
        headers.insert("content-type", axum::http::HeaderValue::from_static("application/json"));
        self.admin.send(axum::http::Method::PATCH, path, headers, body.as_bytes()).await
    }

    pub fn broadcast(&self, epoch: u64, n: u64, news: SaleNews) {
        self.broadcast_of(SALE, Change { epoch, n }, news);
    }

    pub fn broadcast_of(&self, sale: &str, change: Change, news: SaleNews) {
        let told = SaleBroadcast { sale: sale.parse().unwrap(), change, news };
        self.bus.broadcasts.send(told).expect("the gateway listens");
    }

    /// The order becomes a row in the ledger, and its reservation settled.
    pub async fn settle(&self, order: OrderId, buyer: &str, status: OrderStatus) {
        self.row(order, buyer, status);
        self.stock.settle(&sale_id(), &[ReservationId::first(order)]).await.unwrap();
    }

    pub fn row(&self, order: OrderId, buyer: &str, status: OrderStatus) {
        let shown = Order {
            order_id: order,
            sale: sale_id(),
            quantity: 1,
            amount_cents: 1999,
            currency: "EUR".into(),
            status,
            created_at: NOW,
            pay_by: Some(NOW + 900_000),
        };
        let buyer: BuyerId = buyer.parse().unwrap();
        self.behind.rows.lock().insert(order, OrderRow { order: shown, buyer });
    }

    pub async fn configure(&self, version: u64, phase: Phase) {
        let config = StockConfig { version, phase, ..config(0) };
        self.stock.configure(&sale_id(), &config).await.unwrap();
    }

    pub fn published(&self) -> usize {
        self.queue.published.lock().len()
    }

    pub fn reservations(&self) -> usize {
        self.stock.new_reservations.load(Ordering::SeqCst)
    }
}

pub fn sale_id() -> SaleId {
    SALE.parse().unwrap()
}

fn config(opens_in_ms: i64) -> StockConfig {
    StockConfig {
        version: 1,
        opens_at: UnixMillis(NOW + opens_in_ms),
        ends_at: UnixMillis(NOW + 3_600_000),
        phase: Phase::Active,
        per_user_limit: 2,
    }
}

pub fn sale(opens_in_ms: i64, stock: u32) -> CatalogueSale {
    CatalogueSale {
        sale: Sale {
            id: sale_id(),
            title: "One of ten".into(),
            price_cents: 1999,
            currency: "EUR".into(),
            stock,
            per_user_limit: 2,
            opens_at: NOW + opens_in_ms,
            ends_at: NOW + 3_600_000,
            pay_within_s: 900,
        },
        slug: SLUG.into(),
        phase: Phase::Active,
        version: 1,
        created_at: NOW,
        rules: SaleRules::default(),
    }
}

/// Writes the sale's stock state afresh.
pub async fn fill(stock: &Stock, epoch: u64, opens_in_ms: i64, total: u32) {
    let rebuild = Rebuild { sale: sale_id(), epoch: Epoch(epoch), token: epoch };
    assert!(stock.rebuild_begin(&rebuild).await.unwrap());
    assert!(stock.rebuild_finish(&rebuild, &config(opens_in_ms), total, 1).await.unwrap());
}

fn settings(changes: &[(&str, &str)]) -> Settings {
    let usual = [
        ("SECKILL_JWT_SECRET", JWT_SECRET),
        ("SECKILL_ADMIN_TOKEN", ADMIN_TOKEN),
        ("SECKILL_TICKET_KEYS", TICKET_KEYS),
        ("SECKILL_BUYER_LIMIT", "off"),
        ("SECKILL_BROWSE_LIMIT", "off"),
        ("SECKILL_SALE_LIMIT", "off"),
        ("SECKILL_ADDRESS_LIMIT", "off"),
        ("SECKILL_PUBLISH_WAIT_MS", "400"),
    ];
    let all = usual.iter().chain(changes).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Settings::from_vars(all).unwrap()
}
