//! Committing one batch, whatever is in it. What can never be committed is found by halving the batch,
//! and named; a store that is away is waited for, and condemns nothing.

use std::time::Duration;

use contract::lane::LaneMessage;
use messaging::Delivery;
use tokio_util::sync::CancellationToken;

use crate::order_store::{BatchOutcome, OrderStore, StoreError};

/// Waiting time before a batch is tried again during an outage, in milliseconds; doubled each time.
const OUTAGE_RETRY_MS: u64 = 50;
/// The longest such wait, in milliseconds.
const OUTAGE_RETRY_MS_MAX: u64 = 1_000;

/// Commits the batch and answers the tags of what is poison. `None` if the store was away until
/// `shutdown`: then the batch must not be acknowledged.
pub(super) async fn commit(
    store: &dyn OrderStore,
    batch: &[Delivery],
    shutdown: &CancellationToken,
) -> Option<Vec<u64>> {
    let mut poison = Vec::new();
    let (mut tags, mut messages) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for delivery in batch {
        match serde_json::from_slice::<LaneMessage>(&delivery.body) {
            Ok(message) => {
                tags.push(delivery.tag);
                messages.push(message);
            }
            Err(error) => {
                tracing::error!(%error, "a lane message cannot be read: to the dead letters");
                poison.push(delivery.tag);
            }
        }
    }
    // Halves still to do; the earlier one on top, for lane order matters.
    let mut halves = vec![(0, messages.len())];
    while let Some((from, to)) = halves.pop() {
        if from == to {
            continue;
        }
        match patiently(store, &messages[from..to], shutdown).await? {
            Ok(outcome) => count(&outcome),
            Err(error) if to - from == 1 => {
                let id = messages[from].id();
                tracing::error!(%error, id, "a lane message cannot be committed: to the dead letters");
                poison.push(tags[from]);
            }
            Err(_) => {
                let middle = from + (to - from) / 2;
                halves.push((middle, to));
                halves.push((from, middle));
            }
        }
    }
    Some(poison)
}

/// Tries until the store answers; `None` if it did not until `shutdown`.
async fn patiently(
    store: &dyn OrderStore,
    messages: &[LaneMessage],
    shutdown: &CancellationToken,
) -> Option<Result<BatchOutcome, StoreError>> {
    let mut wait = OUTAGE_RETRY_MS;
    loop {
        match store.commit_batch(messages).await {
            Err(error) if error.is_outage() => {
                tracing::warn!(%error, "the order store is away; holding the batch");
                metrics::counter!("seckill_order_store_outages_total").increment(1);
            }
            answer => return Some(answer),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
        }
        wait = (wait * 2).min(OUTAGE_RETRY_MS_MAX);
    }
}

fn count(outcome: &BatchOutcome) {
    for (what, n) in [
        ("taken", outcome.taken),
        ("rejected", outcome.rejected),
        ("duplicate", outcome.duplicates),
        ("fence", outcome.fences),
        ("barrier", outcome.barriers),
    ] {
        if n > 0 {
            metrics::counter!("seckill_lane_messages_total", "outcome" => what).increment(n);
        }
    }
}
