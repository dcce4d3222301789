//! A lane's consumer: takes a batch, commits it, and only then acknowledges it.

mod commit;
mod pace;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use messaging::{Consumer, OrderQueue, QueueError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use crate::order_store::OrderStore;

/// Waiting time after the queue failed, in milliseconds.
const RECONNECT_MS: u64 = 250;
/// Least time between the beginnings of two batches, unless the last one was full, in milliseconds. A batch
/// costs the database, the broker and every subscriber something of its own: in a storm it is worth having
/// more orders in it, and nobody notices the moment.
const BATCH_EVERY_MS: u64 = 20;

/// The consumer of a lane.
pub(crate) struct LaneConsumer {
    pub(crate) queue: Arc<dyn OrderQueue>,
    pub(crate) store: Arc<dyn OrderStore>,
    pub(crate) batch_max: usize,
}

impl LaneConsumer {
    /// Consumes the lane until `shutdown`, over losses of the queue.
    pub(crate) async fn run(self, lane: u16, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let active = tokio::select! {
                active = self.queue.consume(lane) => active,
                () = shutdown.cancelled() => return,
            };
            let ended = match active {
                Ok(consumer) => self.drain(consumer, &shutdown).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!(lane, %error, "the lane is lost; consuming it anew");
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_millis(RECONNECT_MS)) => {}
                }
            }
        }
    }

    /// Commits batch after batch. What is not acknowledged when this ends is delivered again.
    async fn drain(
        &self,
        mut consumer: Box<dyn Consumer>,
        shutdown: &CancellationToken,
    ) -> Result<(), QueueError> {
        let (mut turn, mut pace) = (Instant::now(), Pace::up_to(self.batch_max));
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                batch = async {
                    sleep_until(turn).await;
                    consumer.next_batch(self.batch_max).await
                } => batch?,
            };
            if batch.len() < self.batch_max {
                turn = Instant::now() + Duration::from_millis(BATCH_EVERY_MS);
            }
            let Some(last) = batch.last().map(|delivery| delivery.tag) else { continue };
            let committed = commit::commit(&*self.store, &batch, &mut pace, shutdown).await;
            let Some(poison) = committed else { break };
            for tag in poison {
                consumer.reject(tag).await?;
            }
            consumer.ack_through(last).await?;
        }
        consumer.close().await
    }
}
