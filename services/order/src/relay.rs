//! The outbox relay: publishes what the ledger committed, and marks it after the confirm. A row may
//! be published twice, never lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use messaging::EventBus;
use service_kit::Backoff;
use tokio_util::sync::CancellationToken;

use crate::order_store::{OrderStore, OutboxRow, StoreError};

/// Rows published together; each may name hundreds of orders.
const ROWS_MAX: u32 = 16;
/// How often the outbox is looked at unasked, for rows of other replicas, in milliseconds.
const LOOK_EVERY_MS: u64 = 500;
/// Waiting time after a failure, in milliseconds; doubled each time.
const RETRY_MS: u64 = 50;
/// The longest such wait, in milliseconds.
const RETRY_MS_MAX: u64 = 2_000;

/// Relays until `shutdown`. What is left stays in the outbox.
pub(crate) async fn run(store: Arc<dyn OrderStore>, bus: Arc<dyn EventBus>, shutdown: CancellationToken) {
    let mut backoff = Backoff::new(RETRY_MS, RETRY_MS_MAX);
    while !shutdown.is_cancelled() {
        let why = match round(&*store, &*bus).await {
            Ok(Round::More) => {
                backoff.reset();
                continue;
            }
            Ok(Round::Empty) => {
                backoff.reset();
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = store.outbox_grew() => continue,
                    () = tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)) => continue,
                }
            }
            Ok(Round::Refused(why)) => why,
            Err(error) => error.to_string(),
        };
        tracing::warn!(why, "events wait in the outbox");
        backoff.wait(&shutdown).await;
    }
}

enum Round {
    More,
    Empty,
    Refused(String),
}

async fn round(store: &dyn OrderStore, bus: &dyn EventBus) -> Result<Round, StoreError> {
    let rows = store.outbox(ROWS_MAX).await?;
    if rows.is_empty() {
        return Ok(Round::Empty);
    }
    let mut refused = None;
    let confirms = join_all(rows.iter().map(|row| bus.publish(&row.event))).await;
    let told = |(row, confirm): (&OutboxRow, Result<(), messaging::PublishError>)| match confirm {
        Ok(()) => Some(row.seq),
        Err(error) => {
            refused = Some(error.to_string());
            None
        }
    };
    let told: Vec<i64> = rows.iter().zip(confirms).filter_map(told).collect();
    if told.is_empty() {
        // This process may be the only one that the broker does not hear.
        store.outbox_let_go(&rows.iter().map(|row| row.seq).collect::<Vec<_>>()).await?;
    } else {
        store.outbox_told(&told).await?;
    }
    metrics::counter!("seckill_outbox_published_total").increment(told.len() as u64);
    Ok(refused.map_or(Round::More, Round::Refused))
}
