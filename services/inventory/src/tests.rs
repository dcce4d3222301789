//! Inventory's parts at work on a real stock store and a real queue, with a ledger played by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};
use contract::api::{NewSale, OrderCounts};
use contract::events::{Event, EventKind, OrderFact, SaleNews};
use contract::internal::{
    AllocationView, LateOutcome, LateReservation, LiveOrder, OutboxView, PutAllocation, STOCK_LOOK_MS_MAX,
    SnapshotLine,
};
use domain::{Clock, Epoch, OrderId, ReservationId, SaleId, UnixMillis};
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use messaging::OrderQueue;
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::http::{HttpClient, ServerLimits, serve};
use stock::{MemoryStock, Peek, ReserveOutcome, ReserveRequest, StockError, StockStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::events::Waits;
use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::recover::{ENDED_REBUILDS_MAX, Fault, REBUILDS_MAX};
use crate::routes;
use crate::sale_store;

mod away;
mod fences;
mod held;
mod ledger;
mod silence;
mod turns;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

/// How long a rebuild may take.
const REBUILD_MAX: Duration = Duration::from_secs(20);
/// How long a broadcast may be on its way.
const BROADCAST_MAX: Duration = Duration::from_secs(20);

struct Stands;

impl Clock for Stands {
    fn now(&self) -> UnixMillis {
        NOW
    }
}

/// What the played ledger holds of the one sale.
#[derive(Default)]
struct Played {
    allocation: Mutex<Option<AllocationView>>,
    live: Mutex<Vec<LiveOrder>>,
    /// Whether it takes no total just now.
    is_away: AtomicBool,
    /// Whether its snapshots end behind their head.
    breaks_off: AtomicBool,
    /// How old its oldest untold event is.
    untold_ms: AtomicU32,
    /// Whether its epoch rises right after it has answered what it is at.
    rises: AtomicBool,
}

impl Played {
    async fn serve(self: &Arc<Self>, shutdown: CancellationToken) -> HttpClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/internal/v1/allocations/{sale}", put(take).get(show))
            .route("/internal/v1/allocations/{sale}/snapshot", get(snapshot))
            .route("/internal/v1/outbox", get(outbox))
            .with_state(self.clone());
        tokio::spawn(serve(listener, router, ServerLimits::default(), shutdown));
        HttpClient::new(&base, None)
    }

    fn at_epoch(&self, epoch: u64) {
        self.allocation.lock().as_mut().unwrap().epoch = Epoch(epoch);
    }
}

async fn take(
    State(played): State<Arc<Played>>,
    axum::extract::Path(sale): axum::extract::Path<String>,
    Json(put): Json<PutAllocation>,
) -> Result<Json<AllocationView>, StatusCode> {
    if played.is_away.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut allocation = played.allocation.lock();
    let made = || AllocationView {
        sale: sale.parse().unwrap(),
        total: put.total,
        total_version: put.total_version,
        epoch: Epoch(1),
        counts: OrderCounts::default(),
    };
    let allocation = allocation.get_or_insert_with(made);
    if put.total_version > allocation.total_version {
        allocation.total = allocation.total.max(put.total);
        allocation.total_version = put.total_version;
    }
    let answer = allocation.clone();
    if played.rises.swap(false, Ordering::SeqCst) {
        allocation.epoch.0 += 1;
    }
    Ok(Json(answer))
}

async fn show(State(played): State<Arc<Played>>) -> Json<AllocationView> {
    Json(played.allocation.lock().clone().unwrap())
}

async fn snapshot(State(played): State<Arc<Played>>) -> String {
    let AllocationView { epoch, total, total_version, .. } = played.allocation.lock().clone().unwrap();
    let live = played.live.lock().clone();
    let taken = live.iter().map(|order| order.quantity).sum();
    let lines = [
        SnapshotLine::Head { epoch, total, total_version, taken },
        SnapshotLine::Live(live),
        SnapshotLine::End,
    ];
    let sent = if played.breaks_off.load(Ordering::SeqCst) { 1 } else { lines.len() };
    lines[..sent].iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

async fn outbox(State(played): State<Arc<Played>>) -> Result<Json<OutboxView>, StatusCode> {
    if played.is_away.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    Ok(Json(OutboxView { oldest_ms: played.untold_ms.load(Ordering::SeqCst) }))
}

struct Stage {
    inventory: Arc<Inventory>,
    stock: Arc<MemoryStock>,
    broker: Arc<EmbeddedBroker>,
    ledger: Arc<Played>,
    sale: SaleId,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Stage {
    /// A sale of five units, one a buyer, that sells.
    async fn open() -> Self {
        let (folder, clock, shutdown) =
            (tempfile::tempdir().unwrap(), Arc::new(Stands), CancellationToken::new());
        let file = format!("sqlite:{}", folder.path().join("sales.db").display());
        let options = EmbeddedOptions { lanes: 1, ..EmbeddedOptions::default() };
        let queue = folder.path().join("queue.db");
        let broker = EmbeddedBroker::open(&queue, options, clock.clone()).await.unwrap();
        let (stock, ledger) = (Arc::new(MemoryStock::new(clock.clone())), Arc::<Played>::default());
        let inventory = Arc::new(Inventory {
            sales: sale_store::open(&file, clock.clone()).await.unwrap(),
            stock: stock.clone(),
            queue: broker.clone(),
            bus: broker.clone(),
            ledger: Ledger::new(ledger.serve(shutdown.clone()).await),
            clock,
            fence_age: Duration::from_secs(60),
            rebuilding: Mutex::default(),
            rebuild_slots: tokio::sync::Semaphore::new(REBUILDS_MAX),
            ended_rebuild_slots: tokio::sync::Semaphore::new(ENDED_REBUILDS_MAX),
        });
        let sale = "lamp".parse().unwrap();
        let stage = Self { inventory, stock, broker, ledger, sale, shutdown, _folder: folder };
        assert_eq!(stage.create().await, StatusCode::CREATED);
        stage
    }

    async fn ask<B: Serialize>(&self, method: Method, path: &str, body: &B) -> (StatusCode, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("idempotency-key", "once")
            .body(axum::body::Body::from(serde_json::to_vec(body).unwrap()))
            .unwrap();
        let router = routes::router(routes::App { inventory: self.inventory.clone() });
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    /// Creates the sale, always under the same key.
    async fn create(&self) -> StatusCode {
        let sale = NewSale {
            id: Some(self.sale.clone()),
            title: "Lamp".into(),
            price_cents: 100,
            currency: "EUR".into(),
            stock: 5,
            per_user_limit: 1,
            opens_at: NOW.0 - 1_000,
            ends_at: NOW.0 + 3_600_000,
            pay_within_s: 60,
            rules: None,
        };
        self.ask(Method::POST, "/internal/v1/admin/sales", &sale).await.0
    }

    async fn call<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> T {
        serde_json::from_slice(&self.ask(Method::POST, path, body).await.1).unwrap()
    }

    /// Rebuilds the sale. It would try for ever.
    async fn recover(&self, fault: Fault) {
        let done = tokio::time::timeout(REBUILD_MAX, self.inventory.recover(&self.sale, fault)).await;
        done.expect("the rebuild comes to an end");
    }

    async fn epoch(&self) -> Result<u64, StockError> {
        self.stock.view(&self.sale).await.map(|view| view.epoch.0)
    }

    async fn reserve(&self, n: u8, buyer: &str) -> ReserveOutcome {
        let request = ReserveRequest {
            sale: self.sale.clone(),
            id: first(n),
            buyer: buyer.parse().unwrap(),
            quantity: 1,
            epoch: self.stock.view(&self.sale).await.unwrap().epoch,
            expires_at: NOW.plus(60_000),
        };
        self.stock.reserve(&request).await.unwrap()
    }

    /// Messages in the sale's lane.
    async fn in_lane(&self) -> u64 {
        self.broker.lane_stats().await.unwrap()[0].depth
    }

    /// The order service: takes what is in the lane, and raises the epoch where it meets a barrier.
    fn play_consumer(&self, epoch: u64) {
        let (broker, ledger) = (self.broker.clone(), self.ledger.clone());
        tokio::spawn(async move {
            let mut consumer = broker.consume(0).await.unwrap();
            let batch = consumer.next_batch(1).await.unwrap();
            ledger.at_epoch(epoch);
            consumer.ack_through(batch[0].tag).await.unwrap();
        });
    }
}

fn id(n: u8) -> OrderId {
    OrderId::mint(NOW, [n; 10])
}

fn first(n: u8) -> ReservationId {
    ReservationId::first(id(n))
}

fn live(n: u8, buyer: &str) -> LiveOrder {
    LiveOrder { reservation: first(n), buyer: buyer.parse().unwrap(), quantity: 1 }
}

fn told(stage: &Stage, kind: EventKind, epoch: u64, n: u8, buyer: &str) -> Event {
    let fact = OrderFact {
        order: id(n),
        reservation: first(n),
        buyer: buyer.parse().unwrap(),
        quantity: 1,
        amount_cents: 100,
        currency: "EUR".into(),
        pay_by: NOW,
    };
    let (sale, epoch) = (stage.sale.clone(), Epoch(epoch));
    Event { id: "e".into(), kind, sale, epoch, at: NOW, orders: vec![fact] }
}

#[tokio::test]
async fn a_sale_that_another_replica_has_rebuilt_meanwhile_is_left_as_it_is() {
    let stage = Stage::open().await;
    stage.recover(Fault::Lost).await;
    assert_eq!((stage.epoch().await, stage.in_lane().await), (Ok(1), 0), "no barrier, no new epoch");
}

#[tokio::test]
async fn a_state_that_is_wrong_is_written_afresh_behind_a_barrier() {
    let stage = Stage::open().await;
    stage.ledger.live.lock().push(live(1, "ann"));
    stage.play_consumer(2);
    stage.recover(Fault::Behind(Epoch(1))).await;
    assert_eq!(stage.epoch().await, Ok(2));
    let counts = stage.stock.snapshot(&stage.sale).await.unwrap();
    assert_eq!((counts.free, counts.settled), (4, 1));
}

#[tokio::test]
async fn a_state_is_out_of_force_before_its_barrier_is_sent() {
    let stage = Stage::open().await;
    let began = Instant::now();
    stage.inventory.recover_soon(&stage.sale, Fault::Behind(Epoch(1)), &stage.shutdown);
    let mut consumer = stage.broker.consume(0).await.unwrap();
    assert_eq!(consumer.next_batch(1).await.unwrap().len(), 1, "the barrier");
    // Gateways answer 202 by what they saw of the state so long ago: nothing else may be behind the barrier.
    assert!(began.elapsed() >= Duration::from_millis(STOCK_LOOK_MS_MAX));
    assert_eq!(stage.epoch().await, Err(StockError::UnknownSale(stage.sale.clone())));
}

#[tokio::test]
async fn stores_that_agree_again_by_themselves_are_not_rebuilt() {
    let stage = Stage::open().await;
    assert_eq!(stage.reserve(1, "ann").await, ReserveOutcome::Reserved);
    stage.inventory.apply(&told(&stage, EventKind::OrderPlaced, 1, 1, "ann")).await.unwrap();
    stage.inventory.apply(&told(&stage, EventKind::OrderCancelled, 1, 1, "ann")).await.unwrap();
    stage.recover(Fault::Disagrees(Epoch(1))).await;
    assert_eq!((stage.epoch().await, stage.in_lane().await), (Ok(1), 0), "the release was merely late");
    // The control: one that never comes.
    stage.ledger.allocation.lock().as_mut().unwrap().counts.taken = 1;
    stage.ledger.live.lock().push(live(2, "bob"));
    stage.play_consumer(2);
    stage.recover(Fault::Disagrees(Epoch(1))).await;
    assert_eq!(stage.epoch().await, Ok(2));
}

#[tokio::test]
async fn an_event_that_the_ledger_cannot_tell_is_not_lost() {
    let stage = Stage::open().await;
    assert!(stage.inventory.has_heard_all().await);
    stage.ledger.untold_ms.store(60_000, Ordering::SeqCst);
    assert!(!stage.inventory.has_heard_all().await, "the order service does not reach the broker, say");
    stage.ledger.untold_ms.store(100, Ordering::SeqCst);
    assert!(stage.inventory.has_heard_all().await, "others are told all the time");
    stage.ledger.is_away.store(true, Ordering::SeqCst);
    assert!(!stage.inventory.has_heard_all().await, "nobody knows");
}

#[tokio::test]
async fn a_release_waits_for_the_state_that_is_being_written() {
    let stage = Stage::open().await;
    assert_eq!(stage.reserve(1, "ann").await, ReserveOutcome::Reserved);
    stage.inventory.apply(&told(&stage, EventKind::OrderPlaced, 1, 1, "ann")).await.unwrap();
    // The barrier was reached and the ledger was read, with ann's order in it; then it expired.
    stage.ledger.live.lock().push(live(1, "ann"));
    let expired = told(&stage, EventKind::OrderExpired, 2, 1, "ann");
    let waits = stage.inventory.apply(&expired).await;
    assert!(matches!(waits, Err(Waits::Rebuild { in_force: 1, of: 2 })), "{waits:?}");
    stage.play_consumer(2);
    stage.recover(Fault::Behind(Epoch(1))).await;
    assert!(matches!(stage.stock.peek(&stage.sale, first(1)).await, Ok(Peek::Settled(_))));
    stage.inventory.apply(&expired).await.unwrap();
    assert_eq!(stage.stock.snapshot(&stage.sale).await.unwrap().free, 5, "the unit is back");
}

#[tokio::test]
async fn a_release_from_zero_is_told_to_everybody_and_no_other_is() {
    let stage = Stage::open().await;
    for n in 1..=5 {
        assert_eq!(stage.reserve(n, &format!("b{n}")).await, ReserveOutcome::Reserved);
    }
    let mut broadcasts = stage.inventory.bus.broadcasts().await.unwrap();
    let mut heard = async || {
        let next = tokio::time::timeout(BROADCAST_MAX, broadcasts.next()).await;
        next.expect("somebody tells it").unwrap().expect("none was missed")
    };
    let cancelled = |n| told(&stage, EventKind::OrderCancelled, 1, n, &format!("b{n}"));
    stage.inventory.apply(&cancelled(1)).await.unwrap();
    let (back, view) = (heard().await, stage.stock.view(&stage.sale).await.unwrap());
    assert_eq!((back.sale, back.change, back.news), (stage.sale.clone(), view.change, SaleNews::Available));
    // The control: gateways know that there are some.
    stage.inventory.apply(&cancelled(2)).await.unwrap();
    stage.inventory.broadcast(&stage.sale, view.change, SaleNews::Ended).await;
    assert_eq!(heard().await.news, SaleNews::Ended, "nothing was told before it");
}

#[tokio::test]
async fn a_creation_that_is_repeated_writes_no_stock_again() {
    let stage = Stage::open().await;
    stage.stock.lose_everything();
    assert_eq!(stage.create().await, StatusCode::CREATED, "the same answer as before");
    assert_eq!(
        stage.epoch().await,
        Err(StockError::UnknownSale(stage.sale.clone())),
        "and no stock without a barrier"
    );
}

#[tokio::test]
async fn a_late_payment_finds_the_unit_that_its_own_order_held() {
    let stage = Stage::open().await;
    assert_eq!(stage.reserve(1, "ann").await, ReserveOutcome::Reserved);
    stage.inventory.apply(&told(&stage, EventKind::OrderPlaced, 1, 1, "ann")).await.unwrap();
    // Expired in the ledger; the event that says so is still on its way. Ann may hold one unit.
    let wanted = LateReservation {
        order_id: id(1),
        sale: stage.sale.clone(),
        buyer: "ann".parse().unwrap(),
        quantity: 1,
    };
    let outcome: LateOutcome = stage.call("/internal/v1/late-reservations", &wanted).await;
    assert_eq!(outcome, LateOutcome::Reserved { epoch: Epoch(1) });
    stage.inventory.apply(&told(&stage, EventKind::OrderExpired, 1, 1, "ann")).await.unwrap();
    let counts = stage.stock.snapshot(&stage.sale).await.unwrap();
    assert_eq!((counts.free, counts.reserved, counts.settled), (4, 1, 0), "one unit, held once");
}
