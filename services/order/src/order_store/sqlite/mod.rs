//! The ledger in SQLite: write-ahead log, synced on every commit, one writer, a few readers.

mod allocations;
mod audit;
mod batch;
mod fences;
mod late;
mod ledger_tx;
mod payments;
mod reads;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;
mod transitions;
mod unreported;
mod work;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::api::Finding;
use contract::internal::PutAllocation;
use contract::lane::LaneMessage;
use domain::{BuyerId, Clock, Epoch, OrderId, SaleId};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::Notify;

use self::writer::Writer;
use super::{
    AllocationRecord, Backlog, BatchOutcome, Cancelled, Capture, CaptureOutcome, LateCommit, LateWork,
    OrderHistory, OrderRecord, OrderStore, OutboxRow, OverduePayment, PaymentBegun, PaymentFailure,
    RefundWork, Refunded, SnapshotLines, StoreError, UnreportedFate, UnreportedPayment,
};

/// Connections that read at most.
const READERS_MAX: u32 = 4;
/// Page cache of the writer, in KiB. Buyers come in no order, so every order touches its own page of
/// their index: the index of half a million orders should fit.
const WRITER_CACHE_KIB: u32 = 24 * 1024;
/// Pages in the write-ahead log before it is folded into the database (4 KiB each). A page that many
/// commits touched is then folded once.
const LOG_PAGES_MAX: u32 = 16 * 1024;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: u32 = 512;
/// Rows the engine's thread may be ahead of whoever reads them: a batch's worth, so that the two do not
/// wake each other row by row.
const ROWS_AHEAD_MAX: usize = 512;
/// How long to wait for another process's write lock, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
/// How long to wait for a reader, in milliseconds.
const READER_WAIT_MS_MAX: u64 = 5_000;
/// The ledger's own list of migrations: other services may keep theirs in the same file.
const MIGRATIONS_TABLE: &str = "_order_migrations";

/// What tests change about the engine.
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Whether a commit waits for the disk. Without it a power cut loses orders.
    pub sync: bool,
    /// How long to wait for another process's write lock.
    pub busy: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { sync: true, busy: Duration::from_millis(BUSY_MS_MAX) }
    }
}

/// The SQLite adapter.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    grew: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the file, creating it and its folder if need be, and brings its tables up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or migrated.
    pub async fn open(
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|e| StoreError::Unavailable(format!("{}: {e}", folder.display())))?;
        }
        let synchronous = if options.sync { SqliteSynchronous::Full } else { SqliteSynchronous::Off };
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .row_buffer_size(ROWS_AHEAD_MAX)
            .pragma("wal_autocheckpoint", LOG_PAGES_MAX.to_string())
            .busy_timeout(options.busy);
        let pool = |connect: SqliteConnectOptions, cache_kib: u32, connections| {
            parts::sqlite_pool()
                .max_connections(connections)
                .acquire_timeout(Duration::from_millis(READER_WAIT_MS_MAX))
                .connect_with(connect.pragma("cache_size", format!("-{cache_kib}")))
        };
        // A batch's statement keeps what it would need to undo itself; in a file, that costs a write per
        // touched page. The readers' sorts, which can be large, stay in files.
        let writer = pool(connect.clone().pragma("temp_store", "memory"), WRITER_CACHE_KIB, 1).await?;
        migrate(&writer).await?;
        let readers = pool(connect, READER_CACHE_KIB, READERS_MAX).await?;
        let grew = Arc::new(Notify::new());
        let writer = Writer::start(writer, clock.clone(), grew.clone());
        Ok(Self { writer, readers, clock, grew })
    }

    fn now(&self) -> i64 {
        self.clock.now().0
    }
}

async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator.run(pool).await.map_err(|e| StoreError::Unavailable(format!("migrations: {e}")))
}

#[async_trait]
impl OrderStore for SqliteStore {
    async fn commit_batch(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError> {
        self.writer.run(batch::CommitBatch(messages.to_vec())).await
    }

    async fn put_allocation(
        &self,
        sale: &SaleId,
        put: &PutAllocation,
    ) -> Result<AllocationRecord, StoreError> {
        self.writer.run(allocations::Put { sale: sale.clone(), put: put.clone() }).await
    }

    async fn allocation(&self, sale: &SaleId) -> Result<Option<AllocationRecord>, StoreError> {
        allocations::find(&mut *self.readers.acquire().await?, sale).await
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Option<SnapshotLines>, StoreError> {
        snapshot::open(&self.readers, sale.clone()).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        reads::order(&mut *self.readers.acquire().await?, id).await
    }

    async fn orders_of(
        &self,
        buyer: &BuyerId,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        reads::orders_of(&mut *self.readers.acquire().await?, buyer, after, limit).await
    }

    async fn order_history(&self, id: OrderId) -> Result<Option<OrderHistory>, StoreError> {
        reads::history(&mut *self.readers.begin().await?, id).await
    }

    async fn cancel(&self, id: OrderId, buyer: &BuyerId) -> Result<Cancelled, StoreError> {
        self.writer.run(transitions::Cancel { id, buyer: buyer.clone() }).await
    }

    async fn begin_payment(&self, id: OrderId, buyer: &BuyerId) -> Result<PaymentBegun, StoreError> {
        self.writer.run(payments::BeginPayment { id, buyer: buyer.clone() }).await
    }

    async fn record_capture(&self, capture: &Capture) -> Result<CaptureOutcome, StoreError> {
        self.writer.run(payments::RecordCapture(capture.clone())).await
    }

    async fn record_failure(&self, failure: &PaymentFailure) -> Result<(), StoreError> {
        self.writer.run(payments::RecordFailure(failure.clone())).await
    }

    async fn refund_order(&self, id: OrderId) -> Result<Refunded, StoreError> {
        self.writer.run(transitions::Refund(id)).await
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<OrderId>, StoreError> {
        reads::overdue(&mut *self.readers.acquire().await?, self.now(), limit).await
    }

    async fn overdue_payments(&self, limit: u32) -> Result<Vec<OverduePayment>, StoreError> {
        reads::overdue_payments(&mut *self.readers.acquire().await?, self.now(), limit).await
    }

    async fn expire(&self, ids: &[OrderId]) -> Result<u64, StoreError> {
        self.writer.run(transitions::Expire(ids.to_vec())).await
    }

    async fn unreported(&self, limit: u32) -> Result<Vec<UnreportedPayment>, StoreError> {
        unreported::due(&mut *self.readers.acquire().await?, self.now(), limit).await
    }

    async fn decide_unreported(&self, reference: &str, fate: UnreportedFate) -> Result<(), StoreError> {
        self.writer.run(unreported::Decide { reference: reference.into(), fate }).await
    }

    async fn late_work(&self, limit: u32) -> Result<Vec<LateWork>, StoreError> {
        late::work(&mut *self.readers.begin().await?, self.now(), limit).await
    }

    async fn commit_late(&self, reference: &str, epoch: Epoch) -> Result<LateCommit, StoreError> {
        self.writer.run(late::CommitLate { reference: reference.into(), epoch }).await
    }

    async fn refuse_late(&self, reference: &str) -> Result<(), StoreError> {
        self.writer.run(late::RefuseLate(reference.into())).await
    }

    async fn defer_late(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError> {
        self.writer.run(late::DeferLate { reference: reference.into(), delay_ms }).await
    }

    async fn refund_work(&self, limit: u32) -> Result<Vec<RefundWork>, StoreError> {
        work::refunds(&mut *self.readers.acquire().await?, self.now(), limit).await
    }

    async fn refund_done(&self, reference: &str) -> Result<(), StoreError> {
        self.writer.run(work::RefundDone(reference.into())).await
    }

    async fn defer_refund(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError> {
        self.writer.run(work::DeferRefund { reference: reference.into(), delay_ms }).await
    }

    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        work::outbox(&mut *self.readers.acquire().await?, limit).await
    }

    async fn outbox_told(&self, seqs: &[i64]) -> Result<(), StoreError> {
        self.writer.run(work::Told(seqs.to_vec())).await
    }

    /// There is no other: the file has one process.
    async fn outbox_let_go(&self, _seqs: &[i64]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn outbox_grew(&self) {
        self.grew.notified().await;
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        work::backlog(&mut *self.readers.acquire().await?, self.now()).await
    }

    async fn audit(&self) -> Result<Vec<Finding>, StoreError> {
        audit::findings(&mut *self.readers.begin().await?).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.readers).await?;
        Ok(())
    }
}
