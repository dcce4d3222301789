//! The timeout job: expires what is not paid in time. Webhooks get lost, so an order with a payment
//! under way is expired only after the provider was asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::OrderId;
use futures_util::StreamExt;
use futures_util::stream;

use super::Job;
use crate::order_store::{Capture, OrderStore, Overdue, Provenance, StoreError};
use crate::payment::{ChargeStatus, PaymentProvider};

/// Orders of one round.
const ROUND_ORDERS: u32 = 500;
/// Orders of one round at most, while many wait for an unreachable provider.
const ROUND_ORDERS_MAX: u32 = 8_000;
/// Questions to the provider at once.
const QUESTIONS_MAX: usize = 16;
/// How long the provider may take to answer one, in milliseconds.
const ANSWER_WAIT_MS_MAX: u64 = 2_000;
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

    async fn judge(&self, overdue: Overdue) -> Result<Verdict, StoreError> {
        let expire = Ok(Verdict::Expire(overdue.id));
        let Some(reference) = overdue.reference else { return expire };
        let bound = Duration::from_millis(ANSWER_WAIT_MS_MAX);
        let status = tokio::time::timeout(bound, self.provider.status(&reference)).await;
        match status {
            Ok(Ok(ChargeStatus::Captured { amount_cents, currency })) => {
                let order = overdue.id.to_string();
                let provenance = Provenance::AskedAtDeadline;
                let capture = Capture { provenance, reference, order, amount_cents, currency };
                self.store.record_capture(&capture).await?;
                Ok(Verdict::Paid)
            }
            Ok(Ok(ChargeStatus::Open | ChargeStatus::Failed)) => expire,
            Ok(Err(_)) | Err(_) if overdue.overdue_ms < PROVIDER_GRACE_MS => Ok(Verdict::Wait),
            Ok(Err(_)) | Err(_) => expire,
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
        let job = &*self;
        let verdicts: Vec<_> =
            stream::iter(overdue).map(|o| job.judge(o)).buffer_unordered(QUESTIONS_MAX).collect().await;
        let mut to_expire = Vec::with_capacity(found);
        let mut waiting = 0;
        for verdict in verdicts {
            match verdict? {
                Verdict::Expire(id) => to_expire.push(id),
                Verdict::Paid => {}
                Verdict::Wait => waiting += 1,
            }
        }
        if !to_expire.is_empty() {
            let expired = self.store.expire(&to_expire).await?;
            metrics::counter!("seckill_orders_expired_total").increment(expired);
        }
        // Those that wait are the longest overdue: look past them, or nobody else expires.
        self.round_orders =
            if full && waiting > 0 { (self.round_orders * 2).min(ROUND_ORDERS_MAX) } else { ROUND_ORDERS };
        Ok(full && waiting < found)
    }
}
