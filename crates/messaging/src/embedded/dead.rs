//! The dead letters.

use async_trait::async_trait;
use contract::api::{DeadLetter, QueueInfo};

use super::broker::EmbeddedBroker;
use crate::topology::Cause;
use crate::{DeadLetters, QueueError};

/// Dead letters listed at once.
const LIST_MAX: usize = 1_000;

#[async_trait]
impl DeadLetters for EmbeddedBroker {
    async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.shared.reader.letters(limit.min(LIST_MAX), |number| self.shared.name(number)).await
    }

    async fn replay(&self, id: &str) -> Result<(), QueueError> {
        let letter = id.parse().map_err(|_| QueueError::Unknown(format!("dead letter {id}")))?;
        self.put_back(letter).await
    }

    async fn stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        let letters = self.shared.letters.lock();
        let depth = |cause| letters.get(&cause).copied().unwrap_or(0);
        Ok(Cause::ALL
            .into_iter()
            .map(|cause| QueueInfo { name: cause.queue(), depth: depth(cause), ..QueueInfo::default() })
            .collect())
    }

    async fn other_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        let lanes = usize::from(self.routes.lanes());
        Ok((lanes..self.shared.queues.len()).map(|place| self.shared.info(place)).collect())
    }
}
