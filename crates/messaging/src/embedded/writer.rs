//! The writer: the one task that changes the database. It takes whatever operations wait, commits them
//! together, and only then answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::group::{Batch, Confirm, Group, Operation, joined};
use super::index::json_object;
use super::options::EmbeddedOptions;
use super::ownership::Ownership;
use super::shared::Shared;
use super::store::{Flow, Store, unreachable_for};
use crate::{PublishError, QueueError};

/// The rest after a failed commit, in milliseconds: retrying faster would not free a full disk.
const FAILURE_PAUSE_MS: u64 = 20;
/// How long acknowledgements wait for a group to go with, in milliseconds.
const DEBT_MS_MAX: u64 = 20;
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
    /// Acknowledged, not deleted yet: ranges of row ids. They go with the next group that commits.
    owed: Vec<(i64, i64)>,
    /// When they have waited long enough for a group to go with.
    debt_due: Option<Instant>,
    /// Not before then, unless the last group was small.
    next_commit: Option<Instant>,
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
        Self {
            operations,
            shared,
            store,
            options,
            owed: Vec::new(),
            debt_due: None,
            next_commit: None,
            next_marks: Instant::now(),
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
                operation = self.operations.recv() => match operation {
                    Some(Operation::Acknowledge(rows)) => self.owe(rows),
                    Some(first) => asked_to_close |= self.take(first).await,
                    None => break,
                },
                () = sleep_until_some(self.debt_due) => {
                    self.commit(Batch::default()).await;
                }
                _ = sweep.tick() => self.tidy().await,
            }
        }
        self.commit(Batch::default()).await;
        if asked_to_close { self.finish().await } else { Ok(()) }
    }

    /// Acknowledgements alone do not hurry: what a crash forgets of them is delivered again, and known.
    fn owe(&mut self, mut rows: Vec<(i64, i64)>) {
        self.owed.append(&mut rows);
        let due = Instant::now() + Duration::from_millis(DEBT_MS_MAX);
        self.debt_due.get_or_insert(due);
    }

    /// Commits a group that begins with this operation; whether it asks to close.
    async fn take(&mut self, first: Operation) -> bool {
        if let Some(at) = self.next_commit {
            sleep_until(at).await;
        }
        let group = self.collect(first);
        let closes = group.closes;
        if closes {
            self.operations.close();
        }
        self.work(group).await;
        closes
    }

    fn collect(&mut self, first: Operation) -> Group {
        let earliest = Instant::now() + Duration::from_millis(self.options.commit_spacing_ms);
        let mut group = Group::default();
        group.add(first);
        while group.has_room() {
            match self.operations.try_recv() {
                Ok(operation) => group.add(operation),
                Err(_) => break,
            }
        }
        self.next_commit = group.is_crowd().then_some(earliest);
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
        let Batch { bodies, index, at, messages, confirms } = batch;
        let marks = self.unsaved_marks();
        self.debt_due = None;
        self.owed = joined(std::mem::take(&mut self.owed));
        if bodies.is_empty() && self.owed.is_empty() && marks.is_empty() {
            answer(confirms, &Ok(()));
            return;
        }
        let acknowledged = json_object(&self.owed);
        let flow = Flow { bodies, index: index.finish(), at, acknowledged, marks: json_object(&marks) };
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
        if !self.owed.is_empty() {
            self.owe(Vec::new());
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

async fn sleep_until_some(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn answer(confirms: Vec<Confirm>, written: &Result<(), QueueError>) {
    for confirm in confirms {
        let _ = confirm.send(written.clone().map_err(|e| PublishError::Unconfirmed(e.to_string())));
    }
}
