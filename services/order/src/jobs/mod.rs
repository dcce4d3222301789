//! What is done again and again beside the lanes. Every job works off a durable list in bounded
//! rounds; any number of replicas may run it, for each step is conditional in the ledger.

mod late;
mod overdue_payments;
mod refunds;
mod timeout;
mod unreported_payments;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::OrderId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::order_store::{OrderStore, StoreError};
use crate::{Config, Dependencies};

/// Between two rounds of the refund and late-payment jobs, in milliseconds.
const MONEY_EVERY_MS: u64 = 250;
/// Between two rounds of the job that asks about payments nobody told the end of, in milliseconds.
const UNREPORTED_EVERY_MS: u64 = 1_000;
/// How long the payment provider may take to pay back, in milliseconds.
const REFUND_WAIT_MS_MAX: u64 = 10_000;

/// A job's round.
#[async_trait]
trait Job: Send {
    /// Its name in logs.
    const NAME: &'static str;
    /// Does what is due, up to a bound; true if there may be more.
    async fn round(&mut self) -> Result<bool, StoreError>;
}

/// Starts all jobs.
pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    config: &Config,
    deps: &Dependencies,
    shutdown: &CancellationToken,
) {
    let money_every = Duration::from_millis(MONEY_EVERY_MS);
    let (store, provider) = (&deps.store, &deps.provider);
    let timeout = timeout::Timeout { store: store.clone() };
    tasks.spawn(run(timeout, config.expire_every, shutdown.clone()));
    let overdue = overdue_payments::OverduePayments::new(store.clone(), provider.clone());
    tasks.spawn(run(overdue, config.expire_every, shutdown.clone()));
    let refunds = refunds::Refunds { store: store.clone(), provider: provider.clone() };
    tasks.spawn(run(refunds, money_every, shutdown.clone()));
    let unreported =
        unreported_payments::UnreportedPayments { store: store.clone(), provider: provider.clone() };
    tasks.spawn(run(unreported, Duration::from_millis(UNREPORTED_EVERY_MS), shutdown.clone()));
    let late = late::LatePayments { store: store.clone(), stock: Arc::clone(&deps.late_stock) };
    tasks.spawn(run(late, money_every, shutdown.clone()));
}

async fn run<J: Job>(mut job: J, every: Duration, shutdown: CancellationToken) {
    loop {
        // Cut short by a stop: every step is one transaction, and comes again.
        let round = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            round = job.round() => round,
        };
        let more = match round {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(job = J::NAME, %error, "a round failed; it comes again");
                false
            }
        };
        if more && !shutdown.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Expires those of the orders that are still unpaid.
async fn expire(store: &dyn OrderStore, ids: &[OrderId]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let expired = store.expire(ids).await?;
    metrics::counter!("seckill_orders_expired_total").increment(expired);
    Ok(())
}

/// Doubles with every attempt, within `first..=most`, in milliseconds.
fn backoff(attempts: u32, first: i64, most: i64) -> i64 {
    first.saturating_mul(1_i64.checked_shl(attempts).filter(|n| *n > 0).unwrap_or(i64::MAX)).min(most)
}

#[cfg(test)]
mod tests {
    use super::backoff;

    #[test]
    fn a_backoff_doubles_up_to_its_bound_and_never_wraps() {
        assert_eq!([0, 1, 2, 3].map(|n| backoff(n, 500, 3_000)), [500, 1_000, 2_000, 3_000]);
        for attempts in [30, 62, 63, 64, u32::MAX] {
            assert_eq!(backoff(attempts, 500, 3_000), 3_000);
        }
    }
}
