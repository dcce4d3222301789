//! Events that wait for their sale's stock, and those of other sales behind them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::events::{Event, EventKind};
use domain::{Epoch, SaleId};
use futures_util::future::join_all;
use messaging::{Consumer, DeadLetters, Delivery, EventBus, QueueError, Subscription};
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use stock::{Rebuild, StockStore};
use tokio::time::{Instant, sleep};

use super::{Stage, live, told};
use crate::events::{self, HELD_MAX};
use crate::sale_store::tests::sale;

/// Deliveries that these tests' consumer is sent ahead of its acknowledgements.
const PREFETCH: usize = 8;
/// Orders of the sale whose stock is there, each with an event of its own: many more than the prefetch.
const ORDERS: u8 = 40;
/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// An embedded consumer that is sent no more ahead than RabbitMQ's.
struct Sparing {
    inner: Box<dyn Consumer>,
    held: BTreeSet<u64>,
    /// Set when more was asked for than the prefetch has room for.
    has_dried_up: Arc<AtomicBool>,
    /// Without them, as in the control.
    has_single_acknowledgements: bool,
}

#[async_trait]
impl Consumer for Sparing {
    async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let room = PREFETCH - self.held.len();
        if room == 0 {
            self.has_dried_up.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        let batch = self.inner.next_batch(max.min(room)).await?;
        self.held.extend(batch.iter().map(|delivery| delivery.tag));
        Ok(batch)
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), QueueError> {
        self.held = self.held.split_off(&(tag + 1));
        self.inner.ack_through(tag).await
    }

    async fn ack_each(&mut self, tags: &[u64]) -> Result<(), QueueError> {
        if !self.has_single_acknowledgements {
            return Ok(());
        }
        self.held.retain(|tag| !tags.contains(tag));
        self.inner.ack_each(tags).await
    }

    async fn reject(&mut self, tag: u64) -> Result<(), QueueError> {
        self.held.remove(&tag);
        self.inner.reject(tag).await
    }

    async fn requeue(&mut self, tag: u64) -> Result<(), QueueError> {
        self.held.remove(&tag);
        self.inner.requeue(tag).await
    }

    async fn close(self: Box<Self>) -> Result<(), QueueError> {
        self.inner.close().await
    }
}

pub(super) async fn until(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !state().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

impl Stage {
    /// The lamp's stock is lost; that of a chair is there, with nothing but settled orders.
    async fn with_a_lost_lamp() -> (Self, SaleId) {
        let (stage, chair) = (Self::open().await, sale("chair"));
        stage.stock.lose_everything();
        let rebuild = Rebuild { sale: chair.id.clone(), epoch: Epoch(1), token: 1 };
        assert_eq!(stage.stock.rebuild_begin(&rebuild).await, Ok(true));
        let orders: Vec<_> = (0..ORDERS).map(|n| live(n, &format!("b{n}"))).collect();
        assert_eq!(stage.stock.rebuild_load(&rebuild, &orders).await, Ok(true));
        let config = chair.stock_config();
        assert_eq!(stage.stock.rebuild_finish(&rebuild, &config, ORDERS.into(), 1).await, Ok(true));
        (stage, chair.id)
    }

    /// The n-th order of a sale has expired: its unit is to be given back.
    async fn expire(&self, sale: &SaleId, n: u8) {
        let event = told(self, EventKind::OrderExpired, 1, n, &format!("b{n}"));
        let event = Event { sale: sale.clone(), id: format!("{sale}-{n}"), ..event };
        EventBus::publish(&*self.broker, &event).await.unwrap();
    }

    async fn consume(&self, has_single_acknowledgements: bool) -> Arc<AtomicBool> {
        let inner = EventBus::consume(&*self.broker, Subscription::Inventory).await.unwrap();
        let has_dried_up = Arc::new(AtomicBool::new(false));
        let consumer = Sparing {
            inner,
            held: BTreeSet::new(),
            has_dried_up: has_dried_up.clone(),
            has_single_acknowledgements,
        };
        let (inventory, shutdown) = (self.inventory.clone(), self.shutdown.clone());
        tokio::spawn(async move { events::consume(&inventory, Box::new(consumer), &shutdown).await });
        has_dried_up
    }

    pub(super) async fn free(&self, sale: &SaleId) -> u32 {
        self.stock.snapshot(sale).await.unwrap().free
    }

    /// Events in the queue, and events that are held.
    async fn waiting(&self) -> (u64, u64) {
        let queues = self.broker.other_stats().await.unwrap();
        let events = queues.iter().find(|queue| queue.name == "seckill.inventory").unwrap();
        (events.depth, events.in_flight)
    }

    /// Events that are not acknowledged, wherever they are.
    async fn unfinished(&self) -> u64 {
        let (ready, held) = self.waiting().await;
        ready + held
    }

    /// The lamp is written afresh, as after a rebuild.
    async fn find_the_lamp(&self) {
        let row = self.inventory.sales.get(&self.sale).await.unwrap();
        self.inventory.write_stock(&row, Epoch(1)).await.unwrap();
    }
}

#[tokio::test]
async fn one_sale_that_waits_does_not_stop_the_others() {
    let (stage, chair) = Stage::with_a_lost_lamp().await;
    let lamp = stage.sale.clone();
    stage.expire(&lamp, 1).await;
    for n in 0..ORDERS {
        stage.expire(&chair, n).await;
    }
    stage.consume(true).await;
    until("every unit of the chair is back", async || stage.free(&chair).await == u32::from(ORDERS)).await;
    until("only the lamp's event is left", async || stage.unfinished().await == 1).await;
    stage.find_the_lamp().await;
    until("nothing is left", async || stage.unfinished().await == 0).await;
}

/// The control: with nothing but acknowledgements for all before them, one event that waits stops everything.
#[tokio::test]
async fn without_single_acknowledgements_one_sale_that_waits_stops_the_others() {
    let (stage, chair) = Stage::with_a_lost_lamp().await;
    let lamp = stage.sale.clone();
    stage.expire(&lamp, 1).await;
    for n in 0..ORDERS {
        stage.expire(&chair, n).await;
    }
    let has_dried_up = stage.consume(false).await;
    until("no more comes", async || has_dried_up.load(Ordering::SeqCst)).await;
    assert_eq!(stage.free(&chair).await as usize, PREFETCH - 1, "what came before that");
    assert_eq!(stage.unfinished().await, u64::from(ORDERS) + 1);
}

/// Beyond the bound events wait in the queue instead, and come when there is room.
#[tokio::test]
async fn no_more_events_are_held_than_the_bound() {
    const BEYOND: usize = 10;
    let (stage, _) = Stage::with_a_lost_lamp().await;
    let lamp = stage.sale.clone();
    for _ in 0..(HELD_MAX / BEYOND + 1) {
        join_all((0..BEYOND).map(|_| stage.expire(&lamp, 1))).await;
    }
    let consumer = EventBus::consume(&*stage.broker, Subscription::Inventory).await.unwrap();
    let (inventory, shutdown) = (stage.inventory.clone(), stage.shutdown.clone());
    tokio::spawn(async move { events::consume(&inventory, consumer, &shutdown).await });
    let full = (BEYOND as u64, HELD_MAX as u64);
    until("as many are held as may be", async || stage.waiting().await == full).await;
    stage.find_the_lamp().await;
    until("nothing is left", async || stage.unfinished().await == 0).await;
}

/// Everything that the gauge of sales waited for was ever set to.
#[derive(Default)]
struct Told(Mutex<Vec<f64>>);

impl GaugeFn for Told {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.lock().push(value);
    }
}

struct Listening(Arc<Told>);

impl Recorder for Listening {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match key.name() {
            "seckill_inventory_sales_waited_for" => Gauge::from_arc(self.0.clone()),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Also while events of other sales come and go, of which none waits.
#[tokio::test]
async fn the_gauge_tells_of_every_sale_that_waits_until_it_does_no_more() {
    let heard = Arc::new(Told::default());
    let recorder = Listening(heard.clone());
    // For this thread, on which everything here runs.
    let _listening = metrics::set_default_local_recorder(&recorder);
    let last = || heard.0.lock().last().copied();
    let (stage, chair) = Stage::with_a_lost_lamp().await;
    let lamp = stage.sale.clone();
    stage.consume(true).await;
    stage.expire(&lamp, 1).await;
    stage.expire(&lamp, 2).await;
    until("the lamp is waited for", async || last() == Some(1.0)).await;
    let before = heard.0.lock().len();
    for n in 0..ORDERS {
        stage.expire(&chair, n).await;
    }
    until("only the lamp's events are left", async || stage.unfinished().await == 2).await;
    let meanwhile = heard.0.lock()[before..].to_vec();
    assert!(!meanwhile.is_empty() && meanwhile.iter().all(|sales| *sales == 1.0), "{meanwhile:?}");
    stage.find_the_lamp().await;
    until("no sale is waited for", async || last() == Some(0.0)).await;
}
