//! The job for payments of which nobody has told the end: webhooks get lost, also those of orders that were cancelled, or
//! expired while the provider could not say. Money that was captured for them is found here, and goes back.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream};

use super::{Job, backoff};
use crate::asking::{Answer, ask};
use crate::order_store::{OrderStore, StoreError, Unheard, UnheardFate};
use crate::payment::PaymentProvider;

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

pub(super) struct UnheardPayments {
    pub(super) store: Arc<dyn OrderStore>,
    pub(super) provider: Arc<dyn PaymentProvider>,
}

impl UnheardPayments {
    async fn ask(&self, payment: Unheard) -> Result<(), StoreError> {
        let Unheard { reference, order, asks } = payment;
        let answer = ask(&*self.provider, &reference, order).await;
        if let Some(Answer::Captured(capture)) = &answer {
            let outcome = self.store.record_capture(capture).await?;
            tracing::warn!(reference, ?outcome, "a capture that no webhook told was found");
            return Ok(());
        }
        let failed = answer == Some(Answer::Failed);
        let fate = if failed { UnheardFate::Failed } else { fate_of_open(asks) };
        // One that the provider still calls open was left by its buyer, and is nobody's concern.
        if fate == UnheardFate::GiveUp && answer.is_none() {
            tracing::error!(
                reference,
                "the provider never told what became of a payment; it is asked no more"
            );
        }
        self.store.decide_unheard(&reference, fate).await
    }
}

/// What becomes of a payment that may yet be paid, when the provider was asked about it `asks` times before.
fn fate_of_open(asks: u32) -> UnheardFate {
    if asks < ASKS_MAX {
        UnheardFate::AskIn(backoff(asks, ASK_AGAIN_MS, ASK_AGAIN_MS_MAX))
    } else {
        UnheardFate::GiveUp
    }
}

#[async_trait]
impl Job for UnheardPayments {
    const NAME: &'static str = "unheard payments";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let due = self.store.unheard(ROUND_PAYMENTS).await?;
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
    use super::{ASKS_MAX, UnheardFate, fate_of_open};

    #[test]
    fn the_provider_is_asked_less_and_less_often_and_not_for_ever() {
        assert_eq!(fate_of_open(0), UnheardFate::AskIn(10_000));
        assert_eq!(fate_of_open(1), UnheardFate::AskIn(20_000));
        assert_eq!(fate_of_open(ASKS_MAX - 1), UnheardFate::AskIn(6 * 3_600_000));
        assert_eq!(fate_of_open(ASKS_MAX), UnheardFate::GiveUp);
    }
}
