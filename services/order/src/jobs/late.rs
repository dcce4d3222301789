//! The late-payment job: money came for an order that had expired. Units are reserved for it again, or
//! the money goes back.

use std::sync::Arc;

use async_trait::async_trait;
use contract::internal::{LateOutcome, LateReservation};

use super::{Job, backoff};
use crate::late_stock::LateStock;
use crate::order_store::{LateCommit, LateWork, OrderStore, StoreError};

/// Late payments of one round.
const ROUND_PAYMENTS: u32 = 32;
/// Waiting time before the second attempt, in milliseconds; doubled each time.
const RETRY_MS: i64 = 250;
/// The longest such wait, in milliseconds.
const RETRY_MS_MAX: i64 = 15_000;
/// How long a buyer's money may wait for an answer about units, in milliseconds; then it goes back.
const WAITING_MS_MAX: i64 = 600_000;

pub(super) struct LatePayments {
    pub(super) store: Arc<dyn OrderStore>,
    pub(super) stock: Arc<dyn LateStock>,
}

impl LatePayments {
    async fn settle(&self, work: &LateWork) -> Result<(), StoreError> {
        let order = &work.order;
        let request = LateReservation {
            order_id: order.id,
            sale: order.sale.clone(),
            buyer: order.buyer.clone(),
            quantity: order.quantity,
        };
        let again = match self.stock.reserve(&request).await {
            Ok(LateOutcome::Reserved { epoch }) => {
                self.store.commit_late(&work.reference, epoch).await? == LateCommit::OtherEpoch
            }
            Ok(LateOutcome::Refused) => {
                self.store.refuse_late(&work.reference).await?;
                false
            }
            Ok(LateOutcome::Rebuilding) => true,
            Err(error) => {
                tracing::warn!(order = %order.id, %error, "a late payment waits");
                true
            }
        };
        if again && work.waiting_ms >= WAITING_MS_MAX {
            // If a reservation was made after all, its fence releases it.
            self.store.refuse_late(&work.reference).await?;
        } else if again {
            self.store.defer_late(&work.reference, backoff(work.attempts, RETRY_MS, RETRY_MS_MAX)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Job for LatePayments {
    const NAME: &'static str = "late payments";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let work = self.store.late_work(ROUND_PAYMENTS).await?;
        for late in &work {
            self.settle(late).await?;
        }
        Ok(work.len() >= ROUND_PAYMENTS as usize)
    }
}
