//! The refund job: has the provider pay back what the ledger decided to pay back. Nothing is ever
//! given up: it is somebody's money.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Job, REFUND_WAIT_MS_MAX, backoff};
use crate::order_store::{OrderStore, StoreError};
use crate::payment::{PaymentProvider, ProviderError};

/// Refunds of one round.
const ROUND_REFUNDS: u32 = 64;
/// Waiting time after the first failure, in milliseconds; doubled each time.
const RETRY_MS: i64 = 1_000;
/// The longest such wait, in milliseconds.
const RETRY_MS_MAX: i64 = 300_000;
/// Failures of one refund after which operators should look.
const ALARM_ATTEMPTS: u32 = 8;

pub(super) struct Refunds {
    pub(super) store: Arc<dyn OrderStore>,
    pub(super) provider: Arc<dyn PaymentProvider>,
}

#[async_trait]
impl Job for Refunds {
    const NAME: &'static str = "refunds";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let work = self.store.refund_work(ROUND_REFUNDS).await?;
        let full = work.len() >= ROUND_REFUNDS as usize;
        for refund in work {
            let bound = Duration::from_millis(REFUND_WAIT_MS_MAX);
            let paid_back = self.provider.refund(&refund.charge, refund.amount_cents, &refund.currency);
            let too_late = |_| Err(ProviderError("it took too long".into()));
            match tokio::time::timeout(bound, paid_back).await.unwrap_or_else(too_late) {
                Ok(()) => self.store.refund_done(&refund.reference).await?,
                Err(error) => {
                    if refund.attempts >= ALARM_ATTEMPTS {
                        tracing::error!(reference = refund.reference, %error, "a refund keeps failing");
                    }
                    let delay = backoff(refund.attempts, RETRY_MS, RETRY_MS_MAX);
                    self.store.defer_refund(&refund.reference, delay).await?;
                }
            }
        }
        Ok(full)
    }
}
