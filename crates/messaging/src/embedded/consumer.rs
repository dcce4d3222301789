//! A consumer of one queue.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::group::Operation;
use super::queue::{Held, Look, Message, Queue};
use super::shared::Shared;
use crate::{Consumer, Delivery, QueueError};

/// Deliveries a consumer may hold without acknowledging them.
const HELD_MAX: usize = 100_000;

/// What a consumer works with.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) shared: Arc<Shared>,
    pub(super) operations: mpsc::Sender<Operation>,
    pub(super) place: usize,
}

impl Access {
    fn queue(&self) -> &Queue {
        &self.shared.queues[self.place]
    }

    /// Takes the next messages if any are ready.
    async fn take(&self, max: usize) -> Result<Option<Vec<Message>>, QueueError> {
        let queue = self.queue();
        loop {
            let turn = queue.turn.lock().await;
            match queue.look(max, self.shared.clock.now()) {
                Look::Closed => {
                    queue.changed.notify_one();
                    return Err(QueueError::Closed);
                }
                Look::Nothing => return Ok(None),
                Look::Taken(messages) => return Ok(Some(messages)),
                // Nothing is taken before the reading is done: a consumer that is cancelled here
                // leaves the queue as it was.
                Look::Reread(seqs) => {
                    let found = self.shared.reader.these(queue, &seqs).await?;
                    let taken = queue.take_returned(&seqs, found);
                    if !taken.is_empty() {
                        return Ok(Some(taken));
                    }
                }
                Look::Load(after, through) => {
                    let (messages, come_to) = self.shared.reader.page(queue, after, through).await?;
                    queue.loaded(messages, come_to);
                }
                Look::Condemned => {
                    drop(turn);
                    self.sweep().await?;
                }
            }
        }
    }

    async fn sweep(&self) -> Result<(), QueueError> {
        let (done, swept) = oneshot::channel();
        self.send(Operation::Sweep { place: self.place, done }).await?;
        swept.await.map_err(|_| QueueError::Closed)?
    }

    async fn send(&self, operation: Operation) -> Result<(), QueueError> {
        self.operations.send(operation).await.map_err(|_| QueueError::Closed)
    }
}

/// Counts a consumer of a queue for as long as it is there, waiting for its turn included.
struct Attached(Access);

impl Attached {
    fn new(access: Access) -> Self {
        access.queue().attach(true);
        Self(access)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.queue().attach(false);
    }
}

/// Messages that their consumer is done with.
#[derive(Default)]
struct Finished {
    /// Row ids, as ranges.
    rows: Vec<(i64, i64)>,
    count: u64,
}

impl Finished {
    fn add(&mut self, row: i64) {
        match self.rows.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => self.rows.push((row, row)),
        }
        self.count += 1;
    }

    /// Tells the queue, and the writer, who deletes them with its next group.
    fn acknowledge(self, queue: &Queue, slot: mpsc::Permit<'_, Operation>) {
        if self.count > 0 {
            queue.acknowledged(self.count);
            slot.send(Operation::Acknowledge(self.rows));
        }
    }
}

/// A consumer. Dropping it gives its messages back first, and its place to the next one then.
pub(super) struct QueueConsumer {
    held: VecDeque<Held>,
    last_tag: u64,
    attached: Attached,
    _place: OwnedSemaphorePermit,
}

impl QueueConsumer {
    /// Waits for a place among the queue's active consumers.
    pub(super) async fn attach(access: Access) -> Result<Self, QueueError> {
        let attached = Attached::new(access);
        let places = Arc::clone(&attached.0.queue().active);
        let place = places.acquire_owned().await.map_err(|_| QueueError::Closed)?;
        Ok(Self { held: VecDeque::new(), last_tag: 0, attached, _place: place })
    }

    fn hold(&mut self, message: Message) -> Delivery {
        self.last_tag += 1;
        let (tag, redelivered) = (self.last_tag, message.tries);
        self.held.push_back(Held { tag, seq: message.seq, at: message.at, tries: redelivered });
        Delivery { tag, redelivered, body: message.body }
    }

    fn held_at(&self, tag: u64) -> Result<usize, QueueError> {
        self.held
            .binary_search_by_key(&tag, |h| h.tag)
            .map_err(|_| QueueError::Unknown(format!("delivery {tag}")))
    }
}

#[async_trait]
impl Consumer for QueueConsumer {
    async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let room = HELD_MAX.saturating_sub(self.held.len());
        if room == 0 {
            return Err(QueueError::Refused(format!("{HELD_MAX} deliveries wait for acknowledgement")));
        }
        let messages = loop {
            if let Some(messages) = self.attached.0.take(max.clamp(1, room)).await? {
                break messages;
            }
            self.attached.0.queue().changed.notified().await;
        };
        Ok(messages.into_iter().map(|message| self.hold(message)).collect())
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), QueueError> {
        let access = &self.attached.0;
        // The slot comes first: nothing is forgotten here that the writer will not hear of.
        let slot = access.operations.reserve().await.map_err(|_| QueueError::Closed)?;
        let (queue, mut finished) = (access.queue(), Finished::default());
        while let Some(held) = self.held.pop_front_if(|held| held.tag <= tag) {
            finished.add(queue.row(held.seq));
        }
        finished.acknowledge(queue, slot);
        Ok(())
    }

    async fn ack_each(&mut self, tags: &[u64]) -> Result<(), QueueError> {
        let tags: BTreeSet<u64> = tags.iter().copied().collect();
        for tag in &tags {
            self.held_at(*tag)?;
        }
        let access = &self.attached.0;
        // First, as above.
        let slot = access.operations.reserve().await.map_err(|_| QueueError::Closed)?;
        let (queue, mut finished) = (access.queue(), Finished::default());
        self.held.retain(|held| {
            let is_done = tags.contains(&held.tag);
            if is_done {
                finished.add(queue.row(held.seq));
            }
            !is_done
        });
        finished.acknowledge(queue, slot);
        Ok(())
    }

    async fn reject(&mut self, tag: u64) -> Result<(), QueueError> {
        let at = self.held_at(tag)?;
        let access = &self.attached.0;
        let row = access.queue().row(self.held[at].seq);
        let (done, dead_lettered) = oneshot::channel();
        access.send(Operation::Reject { row, done }).await?;
        dead_lettered.await.map_err(|_| QueueError::Closed)??;
        access.queue().acknowledged(1);
        self.held.remove(at);
        Ok(())
    }

    async fn requeue(&mut self, tag: u64) -> Result<(), QueueError> {
        let at = self.held_at(tag)?;
        let held = self.held.remove(at);
        self.attached.0.queue().give_back(held);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), QueueError> {
        Ok(())
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        let held = self.held.drain(..);
        self.attached.0.queue().give_back(held);
    }
}
