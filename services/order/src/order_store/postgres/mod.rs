//! The ledger in Postgres, for any number of replicas of the order service at once: what is right is
//! decided by row locks and conditional updates alone.

mod allocations;
mod audit;
mod batch;
mod closing;
mod errors;
mod fences;
mod insert;
mod late;
mod ledger_tx;
mod moves;
mod payments;
mod reads;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;
mod transitions;
mod unreported;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::api::Finding;
use contract::internal::PutAllocation;
use contract::lane::LaneMessage;
use domain::{BuyerId, Epoch, OrderId, SaleId};
use service_kit::postgres::{self, Work, call};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;

use self::errors::Fault;
use self::ledger_tx::LedgerTx;
use super::{
    AllocationRecord, Backlog, BatchOutcome, Cancelled, Capture, CaptureOutcome, LateCommit, LateWork,
    OrderHistory, OrderRecord, OrderStore, OutboxRow, OverduePayment, PaymentBegun, PaymentFailure,
    RefundWork, Refunded, SnapshotLines, StoreError, UnreportedFate, UnreportedPayment,
};

/// How often a transaction that lost to a concurrent one is tried.
const ATTEMPTS_MAX: u32 = 4;
/// The ledger's own list of migrations: other services may keep theirs in the same database.
const MIGRATIONS_TABLE: &str = "_order_migrations";

/// The Postgres adapter.
pub struct PostgresStore {
    pool: PgPool,
    /// Names this store in the outbox.
    holder: Uuid,
    grew: Notify,
}

/// One change of the ledger: a transaction. It may run more than once; only the run that commits counts.
#[async_trait]
trait Write: Send + Sync + 'static {
    /// What it answers.
    type Out: Send + 'static;
    /// The sales whose allocations are locked from the beginning.
    fn sales(&self) -> BTreeSet<SaleId> {
        BTreeSet::new()
    }
    /// Makes the change inside the transaction.
    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<Self::Out, Fault>;
}

impl PostgresStore {
    /// Opens the database with at most `connections`, and brings its tables up to date.
    ///
    /// # Errors
    /// When the database cannot be reached or migrated.
    pub async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let mut migrator = sqlx::migrate!("migrations/postgres");
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        let unavailable = |e: postgres::OpenError| StoreError::Unavailable(e.to_string());
        let pool = postgres::open(url, connections, "order", &migrator).await.map_err(unavailable)?;
        // The server draws it: no two stores of a database may have the same.
        let holder = sqlx::query_scalar("select gen_random_uuid()").fetch_one(&pool).await?;
        Ok(Self { pool, holder, grew: Notify::new() })
    }

    async fn write<W: Write>(&self, write: W) -> Result<W::Out, StoreError> {
        let write = Arc::new(write);
        let mut attempt = 1;
        loop {
            let (write, holder) = (write.clone(), self.holder);
            let done = call(&self.pool, move |conn| {
                Box::pin(async move {
                    let sales = write.sales();
                    let fault = match LedgerTx::begin(&mut *conn, holder, &sales, attempt > 1).await {
                        Ok(mut tx) => {
                            let out = write.run(&mut tx).await?;
                            return Ok((out, tx.commit().await?));
                        }
                        Err(fault) => fault,
                    };
                    // A lock that is not given fails a transaction that has begun, and of which the client
                    // knows nothing. If this fails too, the connection is lost anyway.
                    let _ = conn.execute("rollback").await;
                    Err(fault)
                })
            });
            match done.await {
                Ok((out, told)) => {
                    if told {
                        self.grew.notify_one();
                    }
                    return Ok(out);
                }
                Err(Fault::Contended(error)) if attempt < ATTEMPTS_MAX => {
                    tracing::debug!(%error, attempt, "a transaction met what it did not expect; trying again");
                    attempt += 1;
                }
                Err(fault) => return Err(fault.into_error()),
            }
        }
    }

    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, StoreError>,
    {
        call(&self.pool, read).await
    }
}

#[async_trait]
impl OrderStore for PostgresStore {
    async fn commit_batch(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError> {
        self.write(batch::CommitBatch(messages.to_vec())).await
    }

    async fn put_allocation(
        &self,
        sale: &SaleId,
        put: &PutAllocation,
    ) -> Result<AllocationRecord, StoreError> {
        self.write(allocations::Put { sale: sale.clone(), put: put.clone() }).await
    }

    async fn allocation(&self, sale: &SaleId) -> Result<Option<AllocationRecord>, StoreError> {
        let sale = sale.clone();
        self.read(|conn| Box::pin(async move { allocations::find(conn, &sale).await })).await
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Option<SnapshotLines>, StoreError> {
        snapshot::open(&self.pool, sale.clone()).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        self.read(move |conn| Box::pin(reads::order(conn, id))).await
    }

    async fn orders_of(
        &self,
        buyer: &BuyerId,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        let buyer = buyer.clone();
        self.read(move |conn| Box::pin(async move { reads::orders_of(conn, &buyer, after, limit).await }))
            .await
    }

    async fn order_history(&self, id: OrderId) -> Result<Option<OrderHistory>, StoreError> {
        self.read(move |conn| {
            Box::pin(async move {
                // One moment for the order and its money: a refund in between would look like one of a paid order.
                let mut tx = conn.begin_with("begin isolation level repeatable read read only").await?;
                let history = reads::history(&mut tx, id).await?;
                tx.commit().await?;
                Ok(history)
            })
        })
        .await
    }

    async fn cancel(&self, id: OrderId, buyer: &BuyerId) -> Result<Cancelled, StoreError> {
        self.write(transitions::Cancel { id, buyer: buyer.clone() }).await
    }

    async fn begin_payment(&self, id: OrderId, buyer: &BuyerId) -> Result<PaymentBegun, StoreError> {
        self.write(payments::BeginPayment { id, buyer: buyer.clone() }).await
    }

    async fn record_capture(&self, capture: &Capture) -> Result<CaptureOutcome, StoreError> {
        self.write(payments::RecordCapture(capture.clone())).await
    }

    async fn record_failure(&self, failure: &PaymentFailure) -> Result<(), StoreError> {
        self.write(payments::RecordFailure(failure.clone())).await
    }

    async fn refund_order(&self, id: OrderId) -> Result<Refunded, StoreError> {
        self.write(transitions::Refund(id)).await
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<OrderId>, StoreError> {
        self.read(move |conn| Box::pin(reads::overdue(conn, limit))).await
    }

    async fn overdue_payments(&self, limit: u32) -> Result<Vec<OverduePayment>, StoreError> {
        self.read(move |conn| Box::pin(reads::overdue_payments(conn, limit))).await
    }

    async fn expire(&self, ids: &[OrderId]) -> Result<u64, StoreError> {
        self.write(transitions::Expire(ids.to_vec())).await
    }

    async fn unreported(&self, limit: u32) -> Result<Vec<UnreportedPayment>, StoreError> {
        self.read(move |conn| Box::pin(unreported::due(conn, limit))).await
    }

    async fn decide_unreported(&self, reference: &str, fate: UnreportedFate) -> Result<(), StoreError> {
        self.write(unreported::Decide { reference: reference.into(), fate }).await
    }

    async fn late_work(&self, limit: u32) -> Result<Vec<LateWork>, StoreError> {
        self.read(move |conn| Box::pin(late::work(conn, limit))).await
    }

    async fn commit_late(&self, reference: &str, epoch: Epoch) -> Result<LateCommit, StoreError> {
        self.write(late::CommitLate { reference: reference.into(), epoch }).await
    }

    async fn refuse_late(&self, reference: &str) -> Result<(), StoreError> {
        self.write(late::RefuseLate(reference.into())).await
    }

    async fn defer_late(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError> {
        self.write(late::DeferLate { reference: reference.into(), delay_ms }).await
    }

    async fn refund_work(&self, limit: u32) -> Result<Vec<RefundWork>, StoreError> {
        self.read(move |conn| Box::pin(work::refunds(conn, limit))).await
    }

    async fn refund_done(&self, reference: &str) -> Result<(), StoreError> {
        self.write(work::RefundDone(reference.into())).await
    }

    async fn defer_refund(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError> {
        self.write(work::DeferRefund { reference: reference.into(), delay_ms }).await
    }

    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let holder = self.holder;
        self.read(move |conn| Box::pin(work::outbox(conn, holder, limit))).await
    }

    async fn outbox_told(&self, seqs: &[i64]) -> Result<(), StoreError> {
        let seqs = seqs.to_vec();
        self.read(move |conn| Box::pin(work::told(conn, seqs))).await
    }

    async fn outbox_let_go(&self, seqs: &[i64]) -> Result<(), StoreError> {
        let (holder, seqs) = (self.holder, seqs.to_vec());
        self.read(move |conn| Box::pin(work::let_go(conn, holder, seqs))).await
    }

    async fn outbox_grew(&self) {
        self.grew.notified().await;
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|conn| Box::pin(work::backlog(conn))).await
    }

    async fn audit(&self) -> Result<Vec<Finding>, StoreError> {
        let within = Duration::from_millis(contract::internal::AUDIT_MS_MAX);
        postgres::call_within(&self.pool, within, |conn| Box::pin(audit::findings(conn))).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|conn| {
            Box::pin(async move {
                let reads_only =
                    "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean";
                match sqlx::query_scalar(reads_only).fetch_one(conn).await? {
                    true => Err(StoreError::Unavailable("the server only reads".into())),
                    false => Ok(()),
                }
            })
        })
        .await
    }
}
