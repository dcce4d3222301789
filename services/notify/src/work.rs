//! The two kinds of work: writing notices for events, and delivering notices.

use std::sync::Arc;
use std::time::Duration;

use contract::events::{Channel, Event, Notice};
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use messaging::{Consumer, Delivery, EventBus, PublishError, QueueError, Subscription};
use serde::de::DeserializeOwned;
use service_kit::health::Health;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::mailbox::Mailbox;

/// Events taken at once.
const EVENTS_MAX: usize = 8;
/// Notices delivered in one transaction at most.
const DELIVER_MAX: usize = 500;
/// Notices published at once.
const PUBLISHING_MAX: usize = 256;
/// Notices written in a second at most. Nobody waits for an e-mail by the millisecond, but everybody waits
/// for the order behind it: in a storm the backlog stays in the queue as events of hundreds of orders.
const NOTICES_PER_S_MAX: u32 = 500;
/// What readiness means here: events come in.
const EVENTS: &str = "the events of orders";
/// Waiting time after something failed.
const RETRY_MS: u64 = 500;

/// Why a round of work stopped; it is done again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Mailbox(#[from] crate::mailbox::MailboxError),
}

/// Writes notices for the events of the bus until `shutdown`.
pub(crate) async fn write_notices(bus: Arc<dyn EventBus>, health: &Health, shutdown: CancellationToken) {
    health.needs(EVENTS);
    while !shutdown.is_cancelled() {
        let round = write_round(&bus, health, &shutdown).await;
        if let Err(error) = &round {
            health.down(EVENTS, error.to_string());
        }
        pause_after(round, "writing notices", &shutdown).await;
    }
}

/// Delivers one channel's notices until `shutdown`.
pub(crate) async fn deliver(
    channel: Channel,
    bus: Arc<dyn EventBus>,
    mailbox: Arc<dyn Mailbox>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let round = deliver_round(channel, &bus, &mailbox, &shutdown).await;
        pause_after(round, "delivering notices", &shutdown).await;
    }
}

async fn write_round(
    bus: &Arc<dyn EventBus>,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<(), WorkError> {
    let mut consumer = bus.consume(Subscription::Notify).await?;
    health.up(EVENTS);
    while let Some(batch) = next(&mut *consumer, EVENTS_MAX, shutdown).await? {
        let last = last_tag(&batch);
        let events: Vec<Event> = readable(&mut *consumer, batch).await?;
        for event in &events {
            let notices = compose::notices(event);
            let turn =
                Duration::from_secs(1) * u32::try_from(notices.len()).unwrap_or(u32::MAX) / NOTICES_PER_S_MAX;
            // Both, so that the pace counts from the start and shutting down does not wait for it.
            let paced = async {
                tokio::select! { () = tokio::time::sleep(turn) => {}, () = shutdown.cancelled() => {} }
            };
            let (published, ()) = tokio::join!(publish_all(bus, notices), paced);
            published?;
        }
        // Acknowledged only now: a crash before this writes the same notices, ids included, again.
        consumer.ack_through(last).await?;
    }
    consumer.close().await?;
    Ok(())
}

/// Publishes them side by side, a bounded number at a time.
async fn publish_all(bus: &Arc<dyn EventBus>, notices: Vec<Notice>) -> Result<(), PublishError> {
    let mut under_way = FuturesUnordered::new();
    for notice in notices {
        if under_way.len() >= PUBLISHING_MAX {
            under_way.try_next().await?;
        }
        let bus = bus.clone();
        under_way.push(async move { bus.publish_notice(&notice).await });
    }
    while under_way.try_next().await?.is_some() {}
    Ok(())
}

async fn deliver_round(
    channel: Channel,
    bus: &Arc<dyn EventBus>,
    mailbox: &Arc<dyn Mailbox>,
    shutdown: &CancellationToken,
) -> Result<(), WorkError> {
    let mut consumer = bus.consume(Subscription::Notices(channel)).await?;
    while let Some(batch) = next(&mut *consumer, DELIVER_MAX, shutdown).await? {
        let last = last_tag(&batch);
        let notices: Vec<Notice> = readable(&mut *consumer, batch).await?;
        mailbox.deliver(&notices).await?;
        consumer.ack_through(last).await?;
    }
    consumer.close().await?;
    Ok(())
}

async fn pause_after(round: Result<(), WorkError>, what: &str, shutdown: &CancellationToken) {
    if let Err(error) = round {
        tracing::warn!(%error, "{what} failed; trying again");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// The next batch; `None` on shutdown.
async fn next(
    consumer: &mut dyn Consumer,
    max: usize,
    shutdown: &CancellationToken,
) -> Result<Option<Vec<Delivery>>, QueueError> {
    tokio::select! {
        batch = consumer.next_batch(max) => batch.map(Some),
        () = shutdown.cancelled() => Ok(None),
    }
}

fn last_tag(batch: &[Delivery]) -> u64 {
    batch.last().map_or(0, |delivery| delivery.tag)
}

/// The batch's messages; what cannot be read goes to the dead letters.
async fn readable<T: DeserializeOwned>(
    consumer: &mut dyn Consumer,
    batch: Vec<Delivery>,
) -> Result<Vec<T>, QueueError> {
    let mut messages = Vec::with_capacity(batch.len());
    for delivery in batch {
        match serde_json::from_slice(&delivery.body) {
            Ok(message) => messages.push(message),
            Err(error) => {
                tracing::error!(%error, "a message that cannot be read goes to the dead letters");
                consumer.reject(delivery.tag).await?;
            }
        }
    }
    Ok(messages)
}
