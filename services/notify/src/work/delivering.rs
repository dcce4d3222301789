//! Delivering notices. What can never be delivered is found by halving the batch, and named; a mailbox that is away is
//! waited for, and condemns nothing.

use std::sync::Arc;

use contract::events::{Channel, Notice};
use messaging::{EventBus, QueueError, Subscription};
use service_kit::Backoff;
use service_kit::health::Health;
use tokio_util::sync::CancellationToken;

use super::{RETRY_MS, RETRY_MS_MAX, last_tag, next, pause_after, readable};
use crate::mailbox::{Mailbox, MailboxError};

/// Notices delivered in one transaction at most.
const DELIVER_MAX: usize = 500;

/// Delivers one channel's notices until `shutdown`.
pub(crate) async fn deliver(
    channel: Channel,
    bus: Arc<dyn EventBus>,
    mailbox: Arc<dyn Mailbox>,
    health: &Health,
    shutdown: CancellationToken,
) {
    let delivering = Delivering { channel, mailbox: &*mailbox, health, shutdown: &shutdown };
    while !shutdown.is_cancelled() {
        let round = delivering.round(&*bus).await;
        pause_after(round, "delivering notices", &shutdown).await;
    }
}

/// The part of readiness that a channel's deliveries tell of. Each has its own: what one of them says of the mailbox,
/// another would take back.
fn part(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "the mailbox for e-mails",
        Channel::Sms => "the mailbox for text messages",
        Channel::Shipping => "the mailbox for shipping",
    }
}

/// What deliveries work with.
struct Delivering<'a> {
    channel: Channel,
    mailbox: &'a dyn Mailbox,
    health: &'a Health,
    shutdown: &'a CancellationToken,
}

impl Delivering<'_> {
    /// Delivers batch after batch. What is not acknowledged when this ends is delivered again.
    async fn round(&self, bus: &dyn EventBus) -> Result<(), QueueError> {
        let mut consumer = bus.consume(Subscription::Notices(self.channel)).await?;
        while let Some(batch) = next(&mut *consumer, DELIVER_MAX, self.shutdown).await? {
            let last = last_tag(&batch);
            let (tags, notices) = readable(&mut *consumer, batch).await?;
            let Some(refused) = self.all(&notices).await else { break };
            for place in refused {
                consumer.reject(tags[place]).await?;
            }
            consumer.ack_through(last).await?;
        }
        consumer.close().await
    }

    /// Delivers them all, and answers the places of those that the mailbox refuses. `None` if it was away until the
    /// stop: then nothing may be acknowledged.
    async fn all(&self, notices: &[Notice]) -> Option<Vec<usize>> {
        let mut refused = Vec::new();
        let mut halves = vec![(0, notices.len())];
        while let Some((from, to)) = halves.pop() {
            if from == to {
                continue;
            }
            match self.patiently(&notices[from..to]).await? {
                Ok(()) => {}
                Err(error) if to - from == 1 => {
                    let id = &notices[from].id;
                    tracing::error!(%error, id, "a notice cannot be delivered: to the dead letters");
                    refused.push(from);
                }
                Err(_) => {
                    let middle = from + (to - from) / 2;
                    halves.push((middle, to));
                    halves.push((from, middle));
                }
            }
        }
        Some(refused)
    }

    /// Tries until the mailbox answers; `None` if it did not until the stop.
    async fn patiently(&self, notices: &[Notice]) -> Option<Result<(), MailboxError>> {
        let mut backoff = Backoff::new(RETRY_MS, RETRY_MS_MAX);
        loop {
            match self.mailbox.deliver(notices).await {
                Err(error) if error.is_outage() => {
                    tracing::warn!(%error, "the mailbox is away; holding the batch");
                    self.health.down(part(self.channel), error.to_string());
                }
                answer => {
                    self.health.up(part(self.channel));
                    return Some(answer);
                }
            }
            if !backoff.wait(self.shutdown).await {
                return None;
            }
        }
    }
}
