//! The refund job: has the provider pay back what the ledger decided to pay back. Nothing is ever
//! given up: it is somebody's money.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream};

use super::{Job, REFUND_WAIT_MS_MAX, backoff};
use crate::order_store::{OrderStore, RefundWork, StoreError};
use crate::payment::{PaymentProvider, ProviderError};

/// Refunds of one round.
const ROUND_REFUNDS: u32 = 64;
/// Refunds asked for at once: one that hangs must not keep the others.
const AT_ONCE_MAX: usize = 8;
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

impl Refunds {
    async fn pay_back(&self, refund: RefundWork) -> Result<(), StoreError> {
        let bound = Duration::from_millis(REFUND_WAIT_MS_MAX);
        let paid_back = self.provider.refund(&refund.charge, refund.amount_cents, &refund.currency);
        let too_late = |_| Err(ProviderError("it took too long".into()));
        let Err(error) = tokio::time::timeout(bound, paid_back).await.unwrap_or_else(too_late) else {
            return self.store.refund_done(&refund.reference).await;
        };
        if refund.attempts >= ALARM_ATTEMPTS {
            tracing::error!(reference = refund.reference, %error, "a refund keeps failing");
        }
        let delay = backoff(refund.attempts, RETRY_MS, RETRY_MS_MAX);
        self.store.defer_refund(&refund.reference, delay).await
    }
}

#[async_trait]
impl Job for Refunds {
    const NAME: &'static str = "refunds";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let work = self.store.refund_work(ROUND_REFUNDS).await?;
        let full = work.len() >= ROUND_REFUNDS as usize;
        let job = &*self;
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE_MAX, |refund| job.pay_back(refund))
            .await?;
        Ok(full)
    }
}
