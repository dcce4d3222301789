//! The writer: the one task that changes the database. It takes whatever operations wait, commits them
//! together, and only then answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::group::{Batch, Confirm, Group, Operation, joined};
use super::options::EmbeddedOptions;
use super::ownership::Ownership;
use super::shared::Shared;
use super::store::{Flow, Store, unreachable_for};
use crate::{PublishError, QueueError};

/// The rest after a failed commit, in milliseconds: a full disk is not emptied by hurry.
const FAILURE_PAUSE_MS: u64 = 20;
/// Least time between two writings of the delivery marks, in milliseconds.
const MARKS_EVERY_MS: u64 = 100;

/// Commits of groups, and the publishes they confirmed: their ratio is how well groups form.
const COMMITS: &str = "seckill_queue_commits_total";
const MESSAGES: &str = "seckill_queue_confirms_total";

/// The writing task's state.
pub(super) struct Writer {
    operations: mpsc::Receiver<Operation>,
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) options: EmbeddedOptions,
    /// Acknowledged, not deleted yet because a commit failed: row id ranges, joined.
    owed: Vec<(i64, i64)>,
    next_commit: Instant,
    next_marks: Instant,
    failing: bool,
    /// Goes last: the file is free when all else is done.
    _ownership: Ownership,
}

impl Writer {
    pub(super) fn new(
        operations: mpsc::Receiver<Operation>,
        shared: Arc<Shared>,
        store: Store,
        options: EmbeddedOptions,
        ownership: Ownership,
    ) -> Self {
        let now = Instant::now();
        Self {
            operations,
            shared,
            store,
            options,
            owed: Vec::new(),
            next_commit: now,
            next_marks: now,
            failing: false,
            _ownership: ownership,
        }
    }

    /// Works until the broker is closed, or nobody holds it any more.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        let mut sweep = interval(Duration::from_millis(self.options.sweep_every_ms.max(1)));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked_to_close = false;
        loop {
            tokio::select! {
                operation = self.operations.recv() => {
                    let Some(first) = operation else { break };
                    sleep_until(self.next_commit).await;
                    let group = self.collect(first);
                    if group.closes {
                        asked_to_close = true;
                        self.operations.close();
                    }
                    self.work(group).await;
                }
                _ = sweep.tick() => self.tidy().await,
            }
        }
        if asked_to_close { self.finish().await } else { Ok(()) }
    }

    fn collect(&mut self, first: Operation) -> Group {
        self.next_commit = Instant::now() + Duration::from_millis(self.options.commit_spacing_ms);
        let mut group = Group::default();
        group.add(first);
        while group.has_room() {
            match self.operations.try_recv() {
                Ok(operation) => group.add(operation),
                Err(_) => break,
            }
        }
        group
    }

    async fn work(&mut self, mut group: Group) {
        // Before the messages are numbered: a storage opened anew may hold more of them. A failure
        // shows again, and is answered, at the commit.
        let _ = self.ready().await;
        let batch = group.batch(&self.shared, self.shared.clock.now());
        self.owed.append(&mut group.acknowledged);
        self.commit(batch).await;
        self.reject(group.rejects).await;
        for (place, done) in group.sweeps {
            let _ = done.send(self.sweep(place).await);
        }
        for (letter, done) in group.replays {
            let _ = done.send(self.replay(letter).await);
        }
        let overflowing = (0..self.shared.queues.len()).filter(|at| self.shared.queues[*at].overflows());
        for place in overflowing.collect::<Vec<_>>() {
            // What fails here is tried again with the next group, or the next tidying.
            let _ = self.sweep(place).await;
        }
    }

    /// Commits the group's messages with all acknowledgements so far, then confirms.
    async fn commit(&mut self, batch: Batch) {
        let Batch { mut flow, messages, confirms } = batch;
        let marks = self.unsaved_marks();
        self.owed = joined(std::mem::take(&mut self.owed));
        flow.acknowledged.clone_from(&self.owed);
        flow.marks = marks_as_json(&marks);
        if flow.is_empty() {
            return answer(confirms, &Ok(()));
        }
        let written = self.write(flow).await;
        if written.is_ok() {
            metrics::counter!(COMMITS).increment(1);
            metrics::counter!(MESSAGES).increment(confirms.len() as u64);
            self.owed.clear();
            for (number, mark) in marks {
                self.shared.place(number).inspect(|at| self.shared.queues[*at].mark_saved(mark));
            }
            for (queue, messages) in self.shared.queues.iter().zip(messages) {
                if !messages.is_empty() {
                    queue.committed(messages);
                }
            }
        }
        answer(confirms, &written);
    }

    async fn write(&mut self, flow: Flow) -> Result<(), QueueError> {
        self.ready().await?;
        let written = self.store.commit(flow).await;
        self.outcome(written).await
    }

    /// Makes sure the storage is open. A storage opened anew may hold messages whose commit was in
    /// doubt: their publishers know, and the queue learns of them here.
    pub(super) async fn ready(&mut self) -> Result<(), QueueError> {
        let opened = self.store.open().await;
        if !self.outcome(opened).await? {
            return Ok(());
        }
        for queue in &self.shared.queues {
            let known = queue.tail().0;
            let (more, last) =
                self.store.beyond(queue.number, known).await.map_err(|e| unreachable_for(&e))?;
            queue.resync(last, more);
        }
        Ok(())
    }

    /// Tells a storage error as the ports do; logs when it begins and when it ends.
    pub(super) async fn outcome<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, QueueError> {
        match done {
            Ok(value) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the queue's storage works again");
                }
                Ok(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the queue's storage fails; nothing is confirmed until it works again");
                }
                sleep(Duration::from_millis(FAILURE_PAUSE_MS)).await;
                Err(unreachable_for(&error))
            }
        }
    }

    fn unsaved_marks(&mut self) -> Vec<(i64, i64)> {
        if Instant::now() < self.next_marks {
            return Vec::new();
        }
        self.next_marks = Instant::now() + Duration::from_millis(MARKS_EVERY_MS);
        self.shared.queues.iter().filter_map(|q| q.unsaved_mark().map(|mark| (q.number, mark))).collect()
    }

    /// What is done without being asked: old messages to the dead letters, marks and owed deletions.
    async fn tidy(&mut self) {
        for place in 0..self.shared.queues.len() {
            if self.sweep(place).await.is_err() {
                return;
            }
        }
        self.commit(Batch::default()).await;
    }

    async fn finish(mut self) -> Result<(), QueueError> {
        self.commit(Batch::default()).await;
        self.ready().await?;
        for queue in &self.shared.queues {
            if let Some(tries) = queue.settled_tries() {
                self.store.settle(queue.number, &tries).await.map_err(|e| unreachable_for(&e))?;
            }
        }
        self.shared.reader.close().await;
        self.store.close().await.map_err(|e| unreachable_for(&e))
    }
}

fn answer(confirms: Vec<Confirm>, written: &Result<(), QueueError>) {
    for confirm in confirms {
        let _ = confirm.send(written.clone().map_err(|e| PublishError::Unconfirmed(e.to_string())));
    }
}

fn marks_as_json(marks: &[(i64, i64)]) -> Option<String> {
    let object: serde_json::Map<_, _> =
        marks.iter().map(|(n, mark)| (n.to_string(), (*mark).into())).collect();
    (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
}
