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

/// Why the provider does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoAnswer {
    /// It refused, or could not be reached.
    Error,
    /// Nothing came in time.
    Silence,
}

/// What the provider says of a payment that was started for `order`.
///
/// # Errors
/// When it does not say, within 2 s at most.
pub(crate) async fn ask(
    provider: &dyn PaymentProvider,
    reference: &str,
    order: OrderId,
) -> Result<Answer, NoAnswer> {
    let bound = Duration::from_millis(ANSWER_WAIT_MS_MAX);
    match tokio::time::timeout(bound, provider.status(reference)).await {
        Ok(Ok(ChargeStatus::Open)) => Ok(Answer::Open),
        Ok(Ok(ChargeStatus::Failed)) => Ok(Answer::Failed),
        Ok(Ok(ChargeStatus::Captured { amount_cents, currency })) => {
            let (provenance, order) = (Provenance::Asked, order.to_string());
            let reference = reference.to_owned();
            Ok(Answer::Captured(Capture { provenance, reference, order, amount_cents, currency }))
        }
        Ok(Err(error)) => {
            tracing::debug!(reference, %error, "the provider does not say what became of a payment");
            Err(NoAnswer::Error)
        }
        Err(_) => Err(NoAnswer::Silence),
    }
}
