//! Handing a reserved order to the queue, within a bound.

use contract::lane::LaneMessage;
use messaging::{OrderQueue, PublishError};
use tokio::time::Instant;

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Safe in the queue.
    Confirmed,
    /// Certainly not in the queue.
    Refused,
    /// In the queue or not: nobody knows.
    Unknown,
}

/// Publishes the message and waits for the queue's confirm. When none comes in half of the time, the same message
/// goes out once more: the ledger knows its id. A confirm that is read later than `until` counts for nothing:
/// the message may stand behind its fence.
pub(super) async fn is_confirmed(queue: &dyn OrderQueue, message: &LaneMessage, until: Instant) -> bool {
    let started = Instant::now();
    let Some(wait) = until.checked_duration_since(started) else { return false };
    let mut fate = attempt(queue, message, started + wait / 2).await;
    if fate == Fate::Unknown {
        fate = attempt(queue, message, until).await
    }
    fate == Fate::Confirmed && Instant::now() <= until
}

async fn attempt(queue: &dyn OrderQueue, message: &LaneMessage, until: Instant) -> Fate {
    match tokio::time::timeout_at(until, queue.publish(message)).await {
        Ok(Ok(())) => Fate::Confirmed,
        Ok(Err(error @ (PublishError::Full | PublishError::Unroutable(_)))) => {
            tracing::debug!(%error, order = %message.id(), "the queue refused an order");
            count("refused");
            Fate::Refused
        }
        Ok(Err(PublishError::Unconfirmed(why))) => {
            tracing::debug!(%why, order = %message.id(), "no confirm for an order");
            count("unknown");
            Fate::Unknown
        }
        Err(_) => {
            count("unknown");
            Fate::Unknown
        }
    }
}

/// Counts what did not go well; the rest is in the histogram of publishes.
fn count(fate: &'static str) {
    metrics::counter!("gateway_publish_troubled_total", "fate" => fate).increment(1);
}
