//! The way into the dead letters, and the way back.

use std::sync::Arc;

use super::group::Done;
use super::queue::{Message, Queue};
use super::writer::Writer;
use crate::QueueError;
use crate::topology::{Cause, Overflow};

/// Messages dead-lettered in one transaction.
const DEAD_LETTERED_AT_ONCE_MAX: usize = 1_000;

impl Writer {
    /// Dead-letters delivered messages that their consumers rejected, and answers them.
    pub(super) async fn reject(&mut self, rejects: Vec<(i64, Done)>) {
        if rejects.is_empty() {
            return;
        }
        let rows: Vec<(i64, Cause)> = rejects.iter().map(|(row, _)| (*row, Cause::Rejected)).collect();
        let dead_lettered = self.dead_letter(&rows).await;
        for (_, done) in rejects {
            let _ = done.send(dead_lettered.clone());
        }
    }

    /// Dead-letters what of a queue may not be delivered any more: its returned messages wherever they are,
    /// the others from the head on.
    pub(super) async fn sweep(&mut self, place: usize) -> Result<(), QueueError> {
        let queue = Arc::clone(&self.shared.queues[place]);
        // Consumers take nothing meanwhile: what goes to the dead letters here must not be on its way to one.
        let turn = queue.turn.lock().await;
        loop {
            let condemned = queue.condemned(self.shared.clock.now(), DEAD_LETTERED_AT_ONCE_MAX);
            if !condemned.is_empty() {
                let rows: Vec<(i64, Cause)> =
                    condemned.iter().map(|(seq, cause)| (queue.row(*seq), *cause)).collect();
                self.dead_letter(&rows).await?;
                queue.dead_lettered(&condemned);
            } else if !self.load_head(&queue).await? {
                break;
            }
        }
        drop(turn);
        Ok(())
    }

    /// Reads the next page if memory does not hold the head; whether it did.
    async fn load_head(&self, queue: &Queue) -> Result<bool, QueueError> {
        let Some((after, through)) = queue.unloaded() else { return Ok(false) };
        let (messages, come_to) = self.shared.reader.page(queue, after, through).await?;
        queue.loaded(messages, come_to);
        Ok(true)
    }

    async fn dead_letter(&mut self, rows: &[(i64, Cause)]) -> Result<(), QueueError> {
        self.ready().await?;
        let now = self.shared.clock.now();
        let dead_lettered = self.store.dead_letter(rows, now, self.options.limits.dead_letters_max).await;
        self.outcome(dead_lettered).await?;
        self.count_letters().await
    }

    async fn count_letters(&mut self) -> Result<(), QueueError> {
        for cause in Cause::ALL {
            let counted = self.store.letters(cause).await;
            let count = self.outcome(counted).await?;
            self.shared.letters.lock().insert(cause, count);
        }
        Ok(())
    }

    /// Puts a dead letter back at the end of the queue it died in.
    pub(super) async fn replay(&mut self, letter: i64) -> Result<(), QueueError> {
        self.ready().await?;
        let found = self.store.died_in(letter).await;
        let number = self.outcome(found).await?;
        let place = number.and_then(|number| self.shared.place(number));
        let Some(place) = place else { return Err(QueueError::Unknown(format!("dead letter {letter}"))) };
        let queue = Arc::clone(&self.shared.queues[place]);
        let (last, ready) = queue.tail();
        if queue.rules.overflow == Overflow::Refuse && ready >= queue.rules.messages_max {
            return Err(QueueError::Refused(format!("{} is full", queue.name)));
        }
        let now = self.shared.clock.now();
        let seq = last + 1;
        let moved = self.store.replay(letter, queue.row(seq), now).await;
        let body = self.outcome(moved).await?;
        queue.committed(vec![Message { seq, at: now.0, tries: 0, body }]);
        self.count_letters().await
    }
}
