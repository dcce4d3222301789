//! The two kinds of work: writing notices for events, and delivering notices.
//!
//! **What a batch needs and cannot have now is waited for with the batch in hand.** A consumer that goes gives back all
//! that it was sent, and each of those messages counts as delivered once more: a few minutes of taking and giving back
//! would reach the delivery limit, and bury notices with which nothing is wrong. A consumer is given up when the queue
//! itself fails, and at the stop.

mod delivering;
#[cfg(test)]
mod tests;
mod writing;

use std::time::Duration;

use messaging::{Consumer, Delivery, QueueError};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use delivering::deliver;
pub(crate) use writing::write_notices;

/// Waiting time after the queue failed, in milliseconds.
const RECONNECT_MS: u64 = 500;
/// Waiting time before a batch is tried again, in milliseconds; doubled each time.
const RETRY_MS: u64 = 50;
/// The longest such wait, in milliseconds.
const RETRY_MS_MAX: u64 = 1_000;

async fn pause_after(round: Result<(), QueueError>, what: &str, shutdown: &CancellationToken) {
    if let Err(error) = round {
        tracing::warn!(%error, "{what} failed; consuming anew");
        shutdown.run_until_cancelled(sleep(Duration::from_millis(RECONNECT_MS))).await;
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

/// The batch's messages and, beside them, their tags; what cannot be read goes to the dead letters.
async fn readable<T: DeserializeOwned>(
    consumer: &mut dyn Consumer,
    batch: Vec<Delivery>,
) -> Result<(Vec<u64>, Vec<T>), QueueError> {
    let (mut tags, mut messages) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for delivery in batch {
        match serde_json::from_slice(&delivery.body) {
            Ok(message) => {
                tags.push(delivery.tag);
                messages.push(message);
            }
            Err(error) => {
                tracing::error!(%error, "a message that cannot be read goes to the dead letters");
                consumer.reject(delivery.tag).await?;
            }
        }
    }
    Ok((tags, messages))
}
