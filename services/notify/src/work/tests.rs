//! Work while what it needs is away, on an embedded broker.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contract::events::{Channel, Event, EventKind, Notice, OrderFact, Priority, SaleBroadcast};
use domain::{BuyerId, Epoch, OrderId, ReservationId, UnixMillis};
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use messaging::topology::Limits;
use messaging::{
    Broadcasts, Consumer, DeadLetters, Delivery, EventBus, EventTap, PublishError, QueueError, Subscription,
};
use service_kit::SystemClock;
use service_kit::health::Health;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{deliver, write_notices};
use crate::mailbox::{Mailbox, MailboxError};

/// How often a message may be given back here.
const DELIVERY_LIMIT: u32 = 3;
/// Attempts in vain after which a message that was given back each time would be a dead letter.
const ATTEMPTS: u32 = DELIVERY_LIMIT + 2;
const MESSAGES: u32 = 20;
/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);
const EMAILS: Subscription = Subscription::Notices(Channel::Email);

async fn until(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !state().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A mailbox that can be taken away, and has something against one notice.
#[derive(Default)]
struct Moody {
    is_away: AtomicBool,
    refuses: Option<String>,
    in_vain: AtomicU32,
    delivered: Mutex<BTreeSet<String>>,
}

impl Moody {
    fn away() -> Arc<Self> {
        Arc::new(Self { is_away: AtomicBool::new(true), ..Self::default() })
    }

    fn delivered(&self) -> usize {
        self.delivered.lock().unwrap().len()
    }
}

#[async_trait]
impl Mailbox for Moody {
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError> {
        if self.is_away.load(Ordering::SeqCst) {
            self.in_vain.fetch_add(1, Ordering::SeqCst);
            return Err(MailboxError::Unavailable("taken away by the test".into()));
        }
        if notices.iter().any(|notice| Some(&notice.id) == self.refuses.as_ref()) {
            return Err(MailboxError::Refused("never this one".into()));
        }
        self.delivered.lock().unwrap().extend(notices.iter().map(|notice| notice.id.clone()));
        Ok(())
    }

    async fn of_buyer(&self, _: &BuyerId, _: u32) -> Result<Vec<Notice>, MailboxError> {
        Ok(Vec::new())
    }
}

/// The broker, which may be out of memory.
struct Bus {
    inner: Arc<EmbeddedBroker>,
    is_full: AtomicBool,
    in_vain: AtomicU32,
}

#[async_trait]
impl EventBus for Bus {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        EventBus::publish(&*self.inner, event).await
    }

    async fn publish_notice(&self, notice: &Notice) -> Result<(), PublishError> {
        if self.is_full.load(Ordering::SeqCst) {
            self.in_vain.fetch_add(1, Ordering::SeqCst);
            return Err(PublishError::Full);
        }
        self.inner.publish_notice(notice).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, QueueError> {
        EventBus::consume(&*self.inner, subscription).await
    }

    async fn broadcast(&self, news: &SaleBroadcast) -> Result<(), PublishError> {
        self.inner.broadcast(news).await
    }

    async fn broadcasts(&self) -> Result<Box<dyn Broadcasts>, QueueError> {
        self.inner.broadcasts().await
    }

    async fn tap(&self) -> Result<Box<dyn EventTap>, QueueError> {
        self.inner.tap().await
    }
}

struct Stage {
    broker: Arc<EmbeddedBroker>,
    bus: Arc<Bus>,
    health: Health,
    shutdown: CancellationToken,
    _folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Stage {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { delivery_limit: DELIVERY_LIMIT, ..Limits::default() };
        let options = EmbeddedOptions { limits, sweep_every_ms: 20, ..EmbeddedOptions::default() };
        let file = folder.path().join("queue.db");
        let broker = EmbeddedBroker::open(&file, options, Arc::new(SystemClock)).await.unwrap();
        let bus = Bus { inner: broker.clone(), is_full: AtomicBool::new(false), in_vain: AtomicU32::new(0) };
        let (health, shutdown) = (Health::default(), CancellationToken::new());
        Self { broker, bus: Arc::new(bus), health, shutdown, _folder: folder }
    }

    async fn with_notices() -> Self {
        let stage = Self::open().await;
        for n in 0..MESSAGES {
            stage.broker.publish_notice(&notice(n)).await.unwrap();
        }
        stage
    }

    async fn with_events() -> Self {
        let stage = Self::open().await;
        for n in 0..MESSAGES {
            EventBus::publish(&*stage.broker, &expired(n)).await.unwrap();
        }
        stage
    }

    fn deliver_to(&self, mailbox: &Arc<Moody>) -> JoinHandle<()> {
        let (bus, mailbox, health) = (self.bus.clone(), mailbox.clone(), self.health.clone());
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { deliver(Channel::Email, bus, mailbox, &health, shutdown).await })
    }

    fn write(&self) -> JoinHandle<()> {
        let (bus, health, shutdown) = (self.bus.clone(), self.health.clone(), self.shutdown.clone());
        tokio::spawn(async move { write_notices(bus, &health, shutdown).await })
    }

    /// Messages of a queue that are not acknowledged, wherever they are.
    async fn unfinished(&self, queue: &str) -> u64 {
        let queues = self.broker.other_stats().await.unwrap();
        let queue = queues.iter().find(|info| info.name == queue).unwrap();
        queue.depth + queue.in_flight
    }

    /// All messages of a subscription, as the next consumer gets them.
    async fn next_deliveries(&self, subscription: Subscription) -> Vec<Delivery> {
        let mut consumer = EventBus::consume(&*self.broker, subscription).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < MESSAGES as usize {
            let batch = timeout(PATIENCE, consumer.next_batch(1_000)).await;
            taken.extend(batch.expect("none of them is gone").unwrap());
        }
        taken
    }

    /// Why messages have died, each with its reason.
    async fn dead(&self) -> Vec<String> {
        self.broker.list(1_000).await.unwrap().into_iter().map(|letter| letter.reason).collect()
    }

    async fn stop(&self, work: JoinHandle<()>) {
        self.shutdown.cancel();
        work.await.unwrap();
    }
}

fn notice(n: u32) -> Notice {
    Notice {
        id: format!("notice-{n}"),
        channel: Channel::Email,
        priority: Priority::High,
        buyer: "ann".parse().unwrap(),
        order_id: OrderId::from_bytes([7; 16]),
        subject: "Your lamp".into(),
        body: "It is yours.".into(),
        created_at: UnixMillis(1),
    }
}

/// An event that calls for one e-mail.
fn expired(n: u32) -> Event {
    let order = OrderId::mint(UnixMillis(i64::from(n)), [3; 10]);
    let fact = OrderFact {
        order,
        reservation: ReservationId::first(order),
        buyer: "ann".parse().unwrap(),
        quantity: 1,
        amount_cents: 100,
        currency: "EUR".into(),
        pay_by: UnixMillis(99),
    };
    let (kind, sale) = (EventKind::OrderExpired, "lamp".parse().unwrap());
    Event { id: format!("event-{n}"), kind, sale, epoch: Epoch(1), at: UnixMillis(9), orders: vec![fact] }
}

#[tokio::test]
async fn a_mailbox_that_was_away_gets_every_notice_and_none_is_buried() {
    let (stage, mailbox) = (Stage::with_notices().await, Moody::away());
    let work = stage.deliver_to(&mailbox);
    until("many attempts", async || mailbox.in_vain.load(Ordering::SeqCst) >= ATTEMPTS).await;
    assert!(!stage.health.is_ready(), "operators see it");
    mailbox.is_away.store(false, Ordering::SeqCst);
    until("all are delivered", async || mailbox.delivered() == MESSAGES as usize).await;
    until("none is left", async || stage.unfinished("seckill.notices.email").await == 0).await;
    assert!(stage.health.is_ready());
    stage.stop(work).await;
    assert!(stage.dead().await.is_empty(), "{:?}", stage.dead().await);
}

#[tokio::test]
async fn an_outage_of_the_mailbox_counts_as_no_delivery() {
    let (stage, mailbox) = (Stage::with_notices().await, Moody::away());
    let work = stage.deliver_to(&mailbox);
    until("many attempts", async || mailbox.in_vain.load(Ordering::SeqCst) >= ATTEMPTS).await;
    stage.stop(work).await;
    let next = stage.next_deliveries(EMAILS).await;
    assert!(next.iter().all(|delivery| delivery.redelivered == 1), "the stop, and nothing else: {next:?}");
}

/// The control: whoever gives back what cannot be delivered now, and takes it again, has it buried.
#[tokio::test]
async fn giving_back_in_an_outage_buries_good_notices() {
    let stage = Stage::with_notices().await;
    for n in 0..=DELIVERY_LIMIT {
        let next = stage.next_deliveries(EMAILS).await;
        assert!(next.iter().all(|delivery| delivery.redelivered == n), "{next:?}");
    }
    until("all are buried", async || stage.dead().await.len() == MESSAGES as usize).await;
    assert!(stage.dead().await.iter().all(|reason| reason == "delivery_limit"));
}

#[tokio::test]
async fn a_notice_that_is_refused_is_found_and_named_and_the_others_are_delivered() {
    let stage = Stage::with_notices().await;
    let mailbox = Arc::new(Moody { refuses: Some("notice-7".into()), ..Moody::default() });
    let work = stage.deliver_to(&mailbox);
    until("none is left", async || stage.unfinished("seckill.notices.email").await == 0).await;
    stage.stop(work).await;
    assert_eq!(mailbox.delivered(), MESSAGES as usize - 1);
    let dead = stage.broker.list(10).await.unwrap();
    assert!(dead.len() == 1 && dead[0].reason == "rejected" && dead[0].body.contains("notice-7"), "{dead:?}");
    assert!(stage.health.is_ready(), "a mailbox that refuses is there");
}

#[tokio::test]
async fn a_broker_that_was_full_gets_every_notice_and_no_event_is_buried() {
    let stage = Stage::with_events().await;
    stage.bus.is_full.store(true, Ordering::SeqCst);
    let work = stage.write();
    until("many attempts", async || stage.bus.in_vain.load(Ordering::SeqCst) >= ATTEMPTS).await;
    assert!(!stage.health.is_ready(), "operators see it");
    stage.bus.is_full.store(false, Ordering::SeqCst);
    until("every event is done", async || stage.unfinished("seckill.notify").await == 0).await;
    assert_eq!(stage.unfinished("seckill.notices.email").await, u64::from(MESSAGES), "each notice once");
    assert!(stage.health.is_ready());
    stage.stop(work).await;
    assert!(stage.dead().await.is_empty(), "{:?}", stage.dead().await);
}

#[tokio::test]
async fn a_full_broker_counts_as_no_delivery() {
    let stage = Stage::with_events().await;
    stage.bus.is_full.store(true, Ordering::SeqCst);
    let work = stage.write();
    until("many attempts", async || stage.bus.in_vain.load(Ordering::SeqCst) >= ATTEMPTS).await;
    stage.stop(work).await;
    let next = stage.next_deliveries(Subscription::Notify).await;
    let most = next.iter().map(|delivery| delivery.redelivered).max();
    assert_eq!(most, Some(1), "the stop, and nothing else: {next:?}");
}
