//! The dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use contract::api::{DeadLetter, QueueInfo};

use super::broker::RabbitBroker;
use super::letters::{Taken, Turn, cause_of};
use super::link::Live;
use super::publisher::Publisher;
use super::target::Target;
use crate::topology::{Cause, SUBSCRIPTIONS, subscription_queue};
use crate::{DeadLetters, PublishError, QueueError};

/// Dead letters looked at at once.
const LIST_MAX: usize = 1_000;

#[async_trait]
impl DeadLetters for RabbitBroker {
    async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let live = self.live()?;
        self.in_turn(async move { list(&live, limit.min(LIST_MAX)).await }).await
    }

    async fn replay(&self, id: &str) -> Result<(), QueueError> {
        let unknown = || QueueError::Unknown(format!("dead letter {id}"));
        let cause = cause_of(id).ok_or_else(unknown)?;
        let (live, publisher, wanted) = (self.live()?, self.publisher(), id.to_owned());
        let found = self.in_turn(async move { replay(&live, &publisher, cause, &wanted).await }).await?;
        found.then_some(()).ok_or_else(unknown)
    }

    async fn stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        self.stats.infos(Cause::ALL.map(Cause::queue)).await
    }

    async fn other_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        self.stats.infos(SUBSCRIPTIONS.map(subscription_queue)).await
    }
}

impl RabbitBroker {
    /// Does this while nobody else of this process looks at dead letters, and to its end, whether or
    /// not the caller waits for it: what was taken must be given back.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let working = tokio::spawn(async move {
            let done = work.await;
            drop(turn);
            done
        });
        working.await.map_err(|error| QueueError::Unreachable(error.to_string()))?
    }
}

async fn list(live: &Live, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let mut turn = Turn::take(live).await?;
    let looked = look(&mut turn, limit).await;
    let given_back = turn.give_back().await;
    turn.end().await;
    given_back?;
    looked
}

async fn look(turn: &mut Turn, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let mut letters = Vec::new();
    for cause in Cause::ALL {
        let wanted = letters.len() + limit;
        while letters.len() < wanted {
            let Some(taken) = turn.next(cause).await? else { break };
            letters.push(taken.letter);
        }
    }
    letters.sort_by_key(|letter| letter.died_at);
    letters.truncate(limit);
    Ok(letters)
}

/// Publishes the letter to where it died, and removes it once that is confirmed: a crash between leaves
/// it in both places, under one id. Whether it was found.
async fn replay(live: &Live, publisher: &Publisher, cause: Cause, id: &str) -> Result<bool, QueueError> {
    let mut turn = Turn::take(live).await?;
    let replayed = match find(&mut turn, cause, id).await {
        Ok(Some(taken)) => revive(&mut turn, publisher, taken).await.map(|()| true),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    let given_back = turn.give_back().await;
    turn.end().await;
    given_back?;
    replayed
}

async fn find(turn: &mut Turn, cause: Cause, id: &str) -> Result<Option<Taken>, QueueError> {
    for _ in 0..LIST_MAX {
        match turn.next(cause).await? {
            Some(taken) if taken.letter.id == id => return Ok(Some(taken)),
            Some(_) => {}
            None => break,
        }
    }
    Ok(None)
}

async fn revive(turn: &mut Turn, publisher: &Publisher, taken: Taken) -> Result<(), QueueError> {
    let queue = Target::Queue(taken.letter.queue.clone());
    let published = publisher.put(queue, taken.message_id, taken.letter.body.into_bytes()).await;
    published.map_err(|why| not_put_back(&taken.letter.queue, &why))?;
    turn.remove(taken.tag).await
}

/// Why a letter stays where it is.
fn not_put_back(queue: &str, why: &PublishError) -> QueueError {
    let told = format!("{queue}: {why}");
    match why {
        PublishError::Full | PublishError::Unroutable(_) => QueueError::Refused(told),
        PublishError::Unconfirmed(_) => QueueError::Unreachable(told),
    }
}
