//! The job for payments of which nobody has told the end: webhooks get lost, also those of orders that were cancelled, or
//! expired while the provider could not say. Money that was captured for them is found here, and goes back.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream};

use super::{Job, ask, backoff};
use crate::order_store::{Capture, OrderStore, Provenance, StoreError, Unheard, UnheardFate};
use crate::payment::{ChargeStatus, PaymentProvider};

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
        let again = if asks < ASKS_MAX {
            UnheardFate::AskIn(backoff(asks, ASK_AGAIN_MS, ASK_AGAIN_MS_MAX))
        } else {
            tracing::error!(
                reference,
                "the provider never told what became of a payment; it is asked no more"
            );
            UnheardFate::GiveUp
        };
        let fate = match ask(&*self.provider, &reference).await {
            Some(ChargeStatus::Captured { amount_cents, currency }) => {
                let (provenance, order) = (Provenance::Asked, order.to_string());
                let capture = Capture { provenance, reference, order, amount_cents, currency };
                let outcome = self.store.record_capture(&capture).await?;
                tracing::warn!(
                    reference = capture.reference,
                    ?outcome,
                    "a capture that no webhook told was found"
                );
                return Ok(());
            }
            Some(ChargeStatus::Failed) => UnheardFate::Failed,
            // It may yet be paid.
            Some(ChargeStatus::Open) | None => again,
        };
        self.store.decide_unheard(&reference, fate).await
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
