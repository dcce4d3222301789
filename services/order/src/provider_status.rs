//! Asking the payment provider what became of a payment: webhooks get lost.

use std::time::Duration;

use domain::OrderId;

use crate::order_store::{Capture, Provenance};
use crate::payment::{ChargeStatus, PaymentProvider};

/// How long the payment provider may take to answer, in milliseconds.
const ANSWER_WAIT_MS_MAX: u64 = 2_000;

/// What the provider says of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It may yet be paid.
    Open,
    /// Its money was captured: the ledger has to know.
    Captured(Capture),
    /// It came to nothing.
    Failed,
}

/// What the provider says of a payment that was started for `order`; `None` if it does not answer in time.
pub(crate) async fn ask(provider: &dyn PaymentProvider, reference: &str, order: OrderId) -> Option<Answer> {
    let bound = Duration::from_millis(ANSWER_WAIT_MS_MAX);
    match tokio::time::timeout(bound, provider.status(reference)).await {
        Ok(Ok(ChargeStatus::Open)) => Some(Answer::Open),
        Ok(Ok(ChargeStatus::Failed)) => Some(Answer::Failed),
        Ok(Ok(ChargeStatus::Captured { amount_cents, currency })) => {
            let (provenance, order) = (Provenance::Asked, order.to_string());
            let reference = reference.to_owned();
            Some(Answer::Captured(Capture { provenance, reference, order, amount_cents, currency }))
        }
        Ok(Err(error)) => {
            tracing::debug!(reference, %error, "the provider does not say what became of a payment");
            None
        }
        Err(_) => None,
    }
}
