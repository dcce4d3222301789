//! Committing one batch, whatever is in it. What can never be committed is found by halving the batch,
//! and named; a store that is away is waited for, and condemns nothing; what is too much for it at once is
//! committed in pieces.

use async_trait::async_trait;
use contract::lane::LaneMessage;
use messaging::Delivery;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::order_store::{BatchOutcome, OrderStore, StoreError};

/// The one call of an [`OrderStore`] that a lane makes, so that a test can stand in for the store.
#[async_trait]
pub(super) trait Ledger: Send + Sync {
    async fn commit(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError>;
}

#[async_trait]
impl Ledger for dyn OrderStore {
    async fn commit(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError> {
        self.commit_batch(messages).await
    }
}

/// Commits the batch and answers the tags of what is poison. `None` if `shutdown` came before all of it was done: then
/// the batch must not be acknowledged. It comes again, and what of it was committed is known by its ids.
pub(super) async fn commit<L: Ledger + ?Sized>(
    ledger: &L,
    batch: &[Delivery],
    pace: &mut Pace,
    shutdown: &CancellationToken,
) -> Option<Vec<u64>> {
    let mut poison = Vec::new();
    let (tags, messages) = readable(batch, &mut poison);
    // Stretches still to do; the earliest one on top, for lane order matters.
    let mut left = vec![(0_usize, messages.len())];
    while let Some((from, end)) = left.pop() {
        let to = end.min(from.saturating_add(pace.messages()));
        if to < end {
            left.push((to, end));
        }
        if from == to {
            continue;
        }
        let began = Instant::now();
        match ledger.commit(&messages[from..to]).await {
            Ok(outcome) => {
                pace.committed(to - from, began.elapsed());
                count(&outcome);
                // In pieces a batch may take longer than a process has left that is told to stop.
                if shutdown.is_cancelled() && !left.is_empty() {
                    return None;
                }
            }
            Err(error) if error.is_outage() => {
                tracing::warn!(%error, messages = to - from, "the order store is away, or too slow for a batch");
                metrics::counter!("seckill_order_store_outages_total").increment(1);
                left.push((from, to));
                pace.failed(to - from);
                pace.wait(shutdown).await?;
            }
            Err(error) if to - from == 1 => {
                let id = messages[from].id();
                tracing::error!(%error, id, "a lane message cannot be committed: to the dead letters");
                poison.push(tags[from]);
            }
            Err(_) => {
                let middle = from + (to - from) / 2;
                left.push((middle, to));
                left.push((from, middle));
            }
        }
    }
    Some(poison)
}

/// The messages that can be read, with their tags; the tags of the others go to `poison`.
fn readable(batch: &[Delivery], poison: &mut Vec<u64>) -> (Vec<u64>, Vec<LaneMessage>) {
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
    (tags, messages)
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
