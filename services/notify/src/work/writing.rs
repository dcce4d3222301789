//! Writing notices for the events of orders.

use std::sync::Arc;
use std::time::Duration;

use contract::events::{Event, Notice};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use messaging::{EventBus, PublishError, QueueError, Subscription};
use service_kit::Backoff;
use service_kit::health::Health;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{RETRY_MS, RETRY_MS_MAX, last_tag, next, pause_after, readable};
use crate::compose;

/// Events taken at once.
const EVENTS_MAX: usize = 8;
/// Notices published at once.
const PUBLISHING_MAX: usize = 256;
/// Notices written in a second at most. Nobody waits for an e-mail by the millisecond, but everybody waits
/// for the order behind it: in a storm the backlog stays in the queue as events of hundreds of orders.
const NOTICES_PER_S_MAX: u32 = 500;
/// The part of readiness that says whether events come in.
const EVENTS: &str = "the events of orders";
/// The part of readiness that says whether notices go out.
const NOTICES: &str = "the queues of notices";

/// Writes notices for the events of the bus until `shutdown`.
pub(crate) async fn write_notices(bus: Arc<dyn EventBus>, health: &Health, shutdown: CancellationToken) {
    health.needs(EVENTS);
    while !shutdown.is_cancelled() {
        let round = round(&bus, health, &shutdown).await;
        if let Err(error) = &round {
            health.down(EVENTS, error.to_string());
        }
        pause_after(round, "writing notices", &shutdown).await;
    }
}

/// Writes for batch after batch. What is not acknowledged when this ends is delivered again.
async fn round(
    bus: &Arc<dyn EventBus>,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<(), QueueError> {
    let mut consumer = bus.consume(Subscription::Notify).await?;
    health.up(EVENTS);
    'batches: while let Some(batch) = next(&mut *consumer, EVENTS_MAX, shutdown).await? {
        let last = last_tag(&batch);
        let (_, events) = readable::<Event>(&mut *consumer, batch).await?;
        for event in &events {
            let notices = compose::notices(event);
            let turn =
                Duration::from_secs(1) * u32::try_from(notices.len()).unwrap_or(u32::MAX) / NOTICES_PER_S_MAX;
            // Both, so that the pace counts from the start and shutting down does not wait for it.
            let pace = shutdown.run_until_cancelled(sleep(turn));
            let (published, _) = tokio::join!(publish_patiently(bus, notices, health, shutdown), pace);
            if !published {
                break 'batches;
            }
        }
        // Acknowledged only now: a crash before this writes the same notices, ids included, again.
        consumer.ack_through(last).await?;
    }
    consumer.close().await
}

/// Publishes them all, however long the broker takes none; false if it did not until the stop.
async fn publish_patiently(
    bus: &Arc<dyn EventBus>,
    mut notices: Vec<Notice>,
    health: &Health,
    shutdown: &CancellationToken,
) -> bool {
    let mut backoff = Backoff::new(RETRY_MS, RETRY_MS_MAX);
    loop {
        match publish(bus, notices).await {
            Ok(()) => {
                health.up(NOTICES);
                return true;
            }
            Err((left, error)) => {
                tracing::warn!(%error, left = left.len(), "notices cannot be published; holding their event");
                health.down(NOTICES, error.to_string());
                notices = left;
            }
        }
        if !backoff.wait(shutdown).await {
            return false;
        }
    }
}

/// Publishes them side by side, a bounded number at a time. After the first that fails no more are begun: those that
/// are not known to be safe come back, with the reason.
async fn publish(bus: &Arc<dyn EventBus>, notices: Vec<Notice>) -> Result<(), (Vec<Notice>, PublishError)> {
    let (mut waiting, mut under_way) = (notices.into_iter(), FuturesUnordered::new());
    let (mut left, mut failed) = (Vec::new(), None);
    loop {
        while failed.is_none() && under_way.len() < PUBLISHING_MAX {
            let Some(notice) = waiting.next() else { break };
            let bus = bus.clone();
            under_way.push(async move {
                let error = bus.publish_notice(&notice).await.err();
                error.map(|error| (notice, error))
            });
        }
        match under_way.next().await {
            Some(Some((notice, error))) => {
                left.push(notice);
                failed = Some(error);
            }
            Some(None) => {}
            None => break,
        }
    }
    left.extend(waiting);
    failed.map_or(Ok(()), |error| Err((left, error)))
}
