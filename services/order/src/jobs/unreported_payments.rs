//! The job for payments of which nobody has told the end: webhooks get lost, also those of orders that were cancelled, or
//! expired while the provider could not say. Money that was captured for them is found here, and goes back.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream};

use super::{Job, backoff};
use crate::order_store::{OrderStore, StoreError, UnreportedFate, UnreportedPayment};
use crate::payment::PaymentProvider;
use crate::provider_status::{Answer, ask};

/// Payments of one round.
const ROUND_PAYMENTS: u32 = 64;
/// Questions to the provider at once.
const QUESTIONS_MAX: usize = 8;
/// Waiting time before the second question, in milliseconds; doubled each time.
const ASK_AGAIN_MS: i64 = 10_000;
/// The longest such wait, in milliseconds.
const ASK_AGAIN_MS_MAX: i64 = 6 * 3_600_000;
/// Questions about one payment at most: about a week of them.
const ASKS_MAX: u32 = 40;

pub(super) struct UnreportedPayments {
    pub(super) store: Arc<dyn OrderStore>,
    pub(super) provider: Arc<dyn PaymentProvider>,
}

impl UnreportedPayments {
    async fn ask(&self, payment: UnreportedPayment) -> Result<(), StoreError> {
        let UnreportedPayment { reference, order, asks } = payment;
        let answer = ask(&*self.provider, &reference, order).await;
        if let Ok(Answer::Captured(capture)) = &answer {
            let outcome = self.store.record_capture(capture).await?;
            tracing::warn!(reference, ?outcome, "a capture that no webhook told was found");
            return Ok(());
        }
        let failed = answer == Ok(Answer::Failed);
        let fate = if failed { UnreportedFate::Failed } else { fate_of_open(asks) };
        // One that the provider still calls open was left by its buyer, and is nobody's concern.
        if fate == UnreportedFate::GiveUp && answer.is_err() {
            tracing::error!(
                reference,
                "the provider never told what became of a payment; it is asked no more"
            );
        }
        self.store.decide_unreported(&reference, fate).await
    }
}

/// What becomes of a payment that may yet be paid, when the provider was asked about it `asks` times before.
fn fate_of_open(asks: u32) -> UnreportedFate {
    if asks < ASKS_MAX {
        UnreportedFate::AskIn(backoff(asks, ASK_AGAIN_MS, ASK_AGAIN_MS_MAX))
    } else {
        UnreportedFate::GiveUp
    }
}

#[async_trait]
impl Job for UnreportedPayments {
    const NAME: &'static str = "unreported payments";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let due = self.store.unreported(ROUND_PAYMENTS).await?;
        let full = due.len() >= ROUND_PAYMENTS as usize;
        let job = &*self;
        stream::iter(due.into_iter().map(Ok))
            .try_for_each_concurrent(QUESTIONS_MAX, |payment| job.ask(payment))
            .await?;
        Ok(full)
    }
}

#[cfg(test)]
mod tests {
    use super::{ASKS_MAX, UnreportedFate, fate_of_open};

    #[test]
    fn the_provider_is_asked_less_and_less_often_and_not_for_ever() {
        assert_eq!(fate_of_open(0), UnreportedFate::AskIn(10_000));
        assert_eq!(fate_of_open(1), UnreportedFate::AskIn(20_000));
        assert_eq!(fate_of_open(ASKS_MAX - 1), UnreportedFate::AskIn(6 * 3_600_000));
        assert_eq!(fate_of_open(ASKS_MAX), UnreportedFate::GiveUp);
    }
}
