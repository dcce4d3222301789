//! The job for overdue orders with a payment under way. Webhooks get lost, so the provider is asked before such an order
//! expires; only where it has kept silent for a minute, the order expires all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::OrderId;
use futures_util::StreamExt;
use futures_util::stream;

use super::{Job, expire};
use crate::order_store::{OrderStore, OverduePayment, StoreError};
use crate::payment::PaymentProvider;
use crate::provider_status::{Answer, NoAnswer, ask};

/// Payments of one round.
const ROUND_PAYMENTS: u32 = 500;
/// Payments of one round at most, while many wait for an unreachable provider.
const ROUND_PAYMENTS_MAX: u32 = 8_000;
/// Questions to the provider at once.
const QUESTIONS_MAX: usize = 16;
/// After so many questions that came to nothing but their time limit the provider is left alone until the next round.
const UNANSWERED_MAX: usize = 4;
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

/// How the provider answers in a round.
#[derive(Default, Debug)]
struct Answers {
    given: AtomicUsize,
    missing: AtomicUsize,
}

impl Answers {
    /// An error is an answer here: it costs no waiting, and says nothing about other payments.
    fn count(&self, answer: &Result<Answer, NoAnswer>) {
        let counter = if *answer == Err(NoAnswer::Silence) { &self.missing } else { &self.given };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is of no use to ask again in this round.
    fn is_silent(&self) -> bool {
        self.given.load(Ordering::Relaxed) == 0 && self.missing.load(Ordering::Relaxed) >= UNANSWERED_MAX
    }
}

pub(super) struct OverduePayments {
    store: Arc<dyn OrderStore>,
    provider: Arc<dyn PaymentProvider>,
    round_payments: u32,
}

impl OverduePayments {
    pub(super) fn new(store: Arc<dyn OrderStore>, provider: Arc<dyn PaymentProvider>) -> Self {
        Self { store, provider, round_payments: ROUND_PAYMENTS }
    }

    /// Asks the provider about them, and expires those that are not paid; how many have to wait for its answer.
    async fn ask_about(&self, overdue: Vec<OverduePayment>) -> Result<usize, StoreError> {
        let answers = Answers::default();
        let questions: Vec<_> = overdue.into_iter().map(|payment| self.judge(payment, &answers)).collect();
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
                expire(&*self.store, &std::mem::take(&mut to_expire)).await?;
            }
        }
        expire(&*self.store, &to_expire).await?;
        Ok(waiting)
    }

    async fn judge(&self, payment: OverduePayment, answers: &Answers) -> Result<Verdict, StoreError> {
        let OverduePayment { order, overdue_ms, reference } = payment;
        let unanswered = if overdue_ms < PROVIDER_GRACE_MS { Verdict::Wait } else { Verdict::Expire(order) };
        if answers.is_silent() {
            return Ok(unanswered);
        }
        let answer = ask(&*self.provider, &reference, order).await;
        answers.count(&answer);
        match answer {
            Ok(Answer::Captured(capture)) => {
                self.store.record_capture(&capture).await?;
                Ok(Verdict::Paid)
            }
            Ok(Answer::Open | Answer::Failed) => Ok(Verdict::Expire(order)),
            Err(_) => Ok(unanswered),
        }
    }
}

#[async_trait]
impl Job for OverduePayments {
    const NAME: &'static str = "overdue payments";

    async fn round(&mut self) -> Result<bool, StoreError> {
        // Whatever comes of this round, the next one begins small again, unless it is found to be too small.
        let limit = std::mem::replace(&mut self.round_payments, ROUND_PAYMENTS);
        let overdue = self.store.overdue_payments(limit).await?;
        let found = overdue.len();
        let full = found >= limit as usize;
        let waiting = self.ask_about(overdue).await?;
        // Those that wait are the longest overdue: look past them, or nobody else is asked about.
        if full && waiting > 0 {
            self.round_payments = (limit * 2).min(ROUND_PAYMENTS_MAX);
        }
        Ok(full && waiting < found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent_after(answers: &[Result<Answer, NoAnswer>]) -> bool {
        let seen = Answers::default();
        answers.iter().for_each(|answer| seen.count(answer));
        seen.is_silent()
    }

    #[test]
    fn only_a_provider_that_lets_every_question_run_out_is_silent() {
        let mut silence = vec![Err(NoAnswer::Silence); UNANSWERED_MAX];
        assert!(silent_after(&silence) && !silent_after(&silence[1..]));
        silence.push(Ok(Answer::Open));
        assert!(!silent_after(&silence), "it hangs on some payments");
        assert!(!silent_after(&vec![Err(NoAnswer::Error); 99]), "it does not know some payments");
    }
}
