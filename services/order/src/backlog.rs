//! What the ledger still has to do, as gauges: who is on call should not have to ask the database.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::order_store::{Backlog, OrderStore};

/// Between two counts, in milliseconds.
const COUNT_EVERY_MS: u64 = 5_000;

/// Counts until `shutdown`. While the ledger does not answer, the gauges keep what they showed: readiness tells of that.
pub(crate) async fn report(store: Arc<dyn OrderStore>, shutdown: CancellationToken) {
    loop {
        match store.backlog().await {
            Ok(backlog) => show(backlog),
            Err(error) => tracing::debug!(%error, "the backlog could not be counted"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(COUNT_EVERY_MS)) => {}
        }
    }
}

fn show(backlog: Backlog) {
    let Backlog { outbox_oldest_ms, refunds, late_payments } = backlog;
    metrics::gauge!("seckill_outbox_oldest_seconds").set(f64::from(outbox_oldest_ms) / 1_000.0);
    metrics::gauge!("seckill_refunds_due").set(f64::from(refunds));
    metrics::gauge!("seckill_late_payments_waiting").set(f64::from(late_payments));
}
