//! The one writer. SQLite has a single write lock and a sync per commit, so writes that wait
//! together share a transaction: whoever waits is answered after the sync that holds their change.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Clock;
use sqlx::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot};

use super::ledger_tx::LedgerTx;
use crate::order_store::StoreError;

/// Writes that share one transaction at most.
const WRITES_PER_COMMIT_MAX: usize = 64;
/// Writes that wait for their turn at most; more wait outside.
const WRITES_WAITING_MAX: usize = 256;

/// One change of the ledger. It may run more than once: only the run that commits counts.
#[async_trait]
pub(super) trait Write: Send + Sync + 'static {
    /// What it answers.
    type Out: Send + 'static;
    /// Makes the change inside the transaction.
    async fn run(&self, tx: &mut LedgerTx) -> Result<Self::Out, StoreError>;
}

/// A write whose answer's type is hidden.
#[async_trait]
trait Job: Send {
    async fn run(&mut self, tx: &mut LedgerTx) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Waiting<W: Write> {
    write: W,
    out: Option<W::Out>,
    to: oneshot::Sender<Result<W::Out, StoreError>>,
}

#[async_trait]
impl<W: Write> Job for Waiting<W> {
    async fn run(&mut self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        self.out = Some(self.write.run(tx).await?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let gone = || StoreError::Unavailable("the write never ran".into());
        let Self { out, to, .. } = *self;
        // Whoever asked may have gone away; the change stands all the same.
        drop(to.send(committed.and_then(|()| out.ok_or_else(gone))));
    }
}

/// A handle to the writer; the writer ends when the last handle is dropped.
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the writer. `grew` is notified after every commit that adds to the outbox.
    pub(super) fn start(pool: SqlitePool, clock: Arc<dyn Clock>, grew: Arc<Notify>) -> Self {
        let (jobs, waiting) = mpsc::channel(WRITES_WAITING_MAX);
        tokio::spawn(Turn { pool, clock, grew }.take_turns(waiting));
        Self { jobs }
    }

    /// Makes the change; done when it is synced.
    pub(super) async fn run<W: Write>(&self, write: W) -> Result<W::Out, StoreError> {
        let closed = |_| StoreError::Unavailable("the store is closed".into());
        let (to, answer) = oneshot::channel();
        let job = Box::new(Waiting { write, out: None, to });
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Unavailable("the store is closed".into()));
        }
        answer.await.map_err(closed)?
    }
}

struct Turn {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    grew: Arc<Notify>,
}

impl Turn {
    async fn take_turns(self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(WRITES_PER_COMMIT_MAX);
        while waiting.recv_many(&mut group, WRITES_PER_COMMIT_MAX).await > 0 {
            let outcome = self.commit(&mut group).await;
            match outcome {
                Err(StoreError::Refused(_) | StoreError::UnknownSale(_)) if group.len() > 1 => {
                    // One of them cannot be done; it must not take the others with it.
                    for job in group.drain(..) {
                        let mut alone = vec![job];
                        let outcome = self.commit(&mut alone).await;
                        answer(alone, &outcome);
                    }
                }
                outcome => answer(group.drain(..), &outcome),
            }
        }
    }

    async fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let tx = self.pool.begin_with("begin immediate").await?;
        let mut tx = LedgerTx::new(tx, self.clock.now());
        for job in group {
            job.run(&mut tx).await?;
        }
        if tx.commit().await? {
            self.grew.notify_one();
        }
        Ok(())
    }
}

fn answer(group: impl IntoIterator<Item = Box<dyn Job>>, outcome: &Result<(), StoreError>) {
    for job in group {
        job.answer(outcome.clone());
    }
}
