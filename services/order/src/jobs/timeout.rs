//! The timeout job: expires what is not paid in time. Webhooks get lost, so an order with a payment
//! under way is expired only after the provider was asked.

use std::sync::Arc;

use async_trait::async_trait;
use domain::OrderId;
use futures_util::StreamExt;
use futures_util::stream;

use super::Job;
use crate::asking::{Answer, ask};
use crate::order_store::{OrderStore, Overdue, StoreError};
use crate::payment::PaymentProvider;

/// Orders of one round.
const ROUND_ORDERS: u32 = 500;
/// Orders of one round at most, while many wait for an unreachable provider.
const ROUND_ORDERS_MAX: u32 = 8_000;
/// Questions to the provider at once.
const QUESTIONS_MAX: usize = 16;
/// How long an order with a payment under way is kept for an unreachable provider, in milliseconds.
/// After that its units sell again; a capture that shows up later is a late payment.
const PROVIDER_GRACE_MS: i64 = 60_000;

/// What is to be done with an overdue order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Expire(OrderId),
    Paid,
    Wait,
}

pub(super) struct Timeout {
    store: Arc<dyn OrderStore>,
    provider: Arc<dyn PaymentProvider>,
    round_orders: u32,
}

impl Timeout {
    pub(super) fn new(store: Arc<dyn OrderStore>, provider: Arc<dyn PaymentProvider>) -> Self {
        Self { store, provider, round_orders: ROUND_ORDERS }
    }

    async fn expire(&self, ids: Vec<OrderId>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let expired = self.store.expire(&ids).await?;
        metrics::counter!("seckill_orders_expired_total").increment(expired);
        Ok(())
    }

    /// Asks the provider about overdue orders with a payment under way, and expires those that are not paid; how many
    /// have to wait for its answer.
    async fn ask_about(&self, overdue: Vec<Overdue>) -> Result<usize, StoreError> {
        let questions: Vec<_> = overdue.into_iter().map(|o| self.judge(o)).collect();
        let mut verdicts = stream::iter(questions).buffer_unordered(QUESTIONS_MAX);
        let (mut to_expire, mut waiting) = (Vec::new(), 0);
        while let Some(verdict) = verdicts.next().await {
            match verdict {
                Ok(Verdict::Expire(id)) => to_expire.push(id),
                Ok(Verdict::Paid) => {}
                Ok(Verdict::Wait) => waiting += 1,
                // It is no reason to keep the others.
                Err(error) => {
                    tracing::warn!(%error, "an overdue order waits for the ledger");
                    waiting += 1;
                }
            }
            if to_expire.len() >= QUESTIONS_MAX {
                self.expire(std::mem::take(&mut to_expire)).await?;
            }
        }
        self.expire(to_expire).await?;
        Ok(waiting)
    }

    async fn judge(&self, overdue: Overdue) -> Result<Verdict, StoreError> {
        let expire = Ok(Verdict::Expire(overdue.id));
        let Some(reference) = overdue.reference else { return expire };
        match ask(&*self.provider, &reference, overdue.id).await {
            Some(Answer::Captured(capture)) => {
                self.store.record_capture(&capture).await?;
                Ok(Verdict::Paid)
            }
            Some(Answer::Open | Answer::Failed) => expire,
            None if overdue.overdue_ms < PROVIDER_GRACE_MS => Ok(Verdict::Wait),
            None => expire,
        }
    }
}

#[async_trait]
impl Job for Timeout {
    const NAME: &'static str = "timeout";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let overdue = self.store.overdue(self.round_orders).await?;
        let full = overdue.len() >= self.round_orders as usize;
        let found = overdue.len();
        // Most have no payment under way, and wait for no provider: one that is slow must not keep their units.
        let (asked, unasked): (Vec<_>, Vec<_>) = overdue.into_iter().partition(|o| o.reference.is_some());
        self.expire(unasked.into_iter().map(|o| o.id).collect()).await?;
        let waiting = self.ask_about(asked).await?;
        // Those that wait are the longest overdue: look past them, or nobody else expires.
        self.round_orders =
            if full && waiting > 0 { (self.round_orders * 2).min(ROUND_ORDERS_MAX) } else { ROUND_ORDERS };
        Ok(full && waiting < found)
    }
}
