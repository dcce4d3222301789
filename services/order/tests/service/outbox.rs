//! The outbox relay over a bus that fails: everything is told at least once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::events::{Event, Notice, SaleBroadcast};
use messaging::embedded::EmbeddedBroker;
use messaging::{Broadcasts, Consumer, EventBus, EventTap, PublishError, QueueError, Subscription};
use order::order_store::OrderStore;

use super::app::{App, Wishes, order, until};

/// Silence on the bus, with the outbox empty, after which an event counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Fails two publishes of three: some before the event got through, some after.
pub(crate) struct FlakyBus {
    inner: Arc<EmbeddedBroker>,
    calls: AtomicU32,
}

impl FlakyBus {
    pub(crate) fn over(inner: Arc<EmbeddedBroker>) -> Self {
        Self { inner, calls: AtomicU32::new(0) }
    }
}

#[async_trait]
impl EventBus for FlakyBus {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let lost = || Err(PublishError::Unconfirmed("the network swallowed it".into()));
        match self.calls.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => lost(),
            1 => EventBus::publish(&*self.inner, event).await.and_then(|()| lost()),
            _ => EventBus::publish(&*self.inner, event).await,
        }
    }

    async fn publish_notice(&self, notice: &Notice) -> Result<(), PublishError> {
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

#[tokio::test]
async fn a_bus_that_fails_delays_events_and_loses_none() {
    let app = App::start(Wishes { flaky_bus: true, ..Wishes::default() }).await;
    app.put_sale(100, 1).await;
    for n in 1..=30 {
        app.publish(&order(n, &format!("b{n}"), 1)).await;
    }
    until("the outbox is empty", || async {
        app.lane_depth().await == 0 && app.store.outbox(1).await.unwrap().is_empty()
    })
    .await;
    let mut heard = HashSet::new();
    let mut events = EventBus::consume(&*app.broker, Subscription::Inventory).await.unwrap();
    while heard.len() < 30 {
        let batch = tokio::time::timeout(LOST_AFTER, events.next_batch(100)).await;
        let batch = batch.unwrap_or_else(|_| panic!("only {} of 30 orders were told", heard.len())).unwrap();
        for delivery in batch {
            let event: Event = serde_json::from_slice(&delivery.body).unwrap();
            heard.extend(event.orders.into_iter().map(|fact| fact.order));
            events.ack_through(delivery.tag).await.unwrap();
        }
    }
    events.close().await.unwrap();
    app.end().await;
}
