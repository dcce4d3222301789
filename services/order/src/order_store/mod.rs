//! The ledger's store: what every engine must do. [`open`] picks the engine by the URL's scheme.

#[cfg(test)]
mod contract_suite;
mod errors;
mod postgres;
mod records;
mod rules;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use contract::api::Finding;
use contract::internal::{PutAllocation, SnapshotLine};
use contract::lane::LaneMessage;
use domain::{BuyerId, Clock, Epoch, OrderId, SaleId};
use futures_util::stream::BoxStream;
use service_kit::{DatabaseUrl, UnknownScheme};

pub use postgres::PostgresStore;
pub use records::{
    AllocationRecord, Backlog, BatchOutcome, Cancelled, Capture, CaptureOutcome, Charge, LateCommit,
    LateWork, OrderHistory, OrderRecord, OutboxRow, OverduePayment, PaymentBegun, PaymentFailure, Provenance,
    RefundWork, Refunded, UnreportedFate, UnreportedPayment,
};
pub use sqlite::{SqliteOptions, SqliteStore};

/// Why the store did not do what it was asked to. In every case nothing of it was done, except that
/// the outcome of a call cut short by [`StoreError::Unavailable`] is unknown: every call is idempotent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The engine cannot be reached or cannot write now. The same call may succeed later.
    #[error("the order store is unavailable: {0}")]
    Unavailable(String),
    /// The engine refuses this very call, and would again.
    #[error("the order store refuses: {0}")]
    Refused(String),
    /// The sale has no allocation.
    #[error("sale {0} has no allocation")]
    UnknownSale(SaleId),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no engine this build has.
    #[error("SECKILL_DATABASE_URL: {0}")]
    Scheme(#[from] UnknownScheme),
    /// The engine is there but does not open.
    #[error("SECKILL_DATABASE_URL: {0}")]
    Engine(#[from] StoreError),
}

/// The lines of a snapshot, read in one transaction.
pub type SnapshotLines = BoxStream<'static, Result<SnapshotLine, StoreError>>;

/// The ledger. Every method is one transaction; every change of an order is one conditional update
/// of its row, in the transaction that moves the allocation and writes the outbox.
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Commits lane messages in lane order: orders are taken or rejected by row, fences close ids
    /// that never came, barriers raise the epoch. A known id changes nothing.
    async fn commit_batch(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError>;

    /// Creates the sale's allocation at epoch 1, or raises its total if the version is newer.
    async fn put_allocation(
        &self,
        sale: &SaleId,
        put: &PutAllocation,
    ) -> Result<AllocationRecord, StoreError>;
    /// The sale's allocation and counts.
    async fn allocation(&self, sale: &SaleId) -> Result<Option<AllocationRecord>, StoreError>;
    /// The sale's allocation and live orders at one moment.
    async fn snapshot(&self, sale: &SaleId) -> Result<Option<SnapshotLines>, StoreError>;

    /// One order.
    async fn order(&self, id: OrderId) -> Result<Option<OrderRecord>, StoreError>;
    /// A buyer's orders, newest first, those older than `after` only.
    async fn orders_of(
        &self,
        buyer: &BuyerId,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError>;
    /// One order with its payments and refunds.
    async fn order_history(&self, id: OrderId) -> Result<Option<OrderHistory>, StoreError>;

    /// Cancels the buyer's order if it can still be paid.
    async fn cancel(&self, id: OrderId, buyer: &BuyerId) -> Result<Cancelled, StoreError>;
    /// Starts a payment of the buyer's order, or finds the one under way. There is never more than one.
    async fn begin_payment(&self, id: OrderId, buyer: &BuyerId) -> Result<PaymentBegun, StoreError>;
    /// Money was captured: it pays its order, waits for units as a late payment, or is paid back.
    async fn record_capture(&self, capture: &Capture) -> Result<CaptureOutcome, StoreError>;
    /// A payment failed: its order stays payable by another.
    async fn record_failure(&self, failure: &PaymentFailure) -> Result<(), StoreError>;
    /// Pays back a paid order and gives its units back.
    async fn refund_order(&self, id: OrderId) -> Result<Refunded, StoreError>;

    /// Unpaid orders whose time is over, and that no payment is under way for: the longest overdue first.
    async fn overdue(&self, limit: u32) -> Result<Vec<OrderId>, StoreError>;
    /// The other unpaid orders whose time is over, each with the payment under way: the longest overdue first.
    async fn overdue_payments(&self, limit: u32) -> Result<Vec<OverduePayment>, StoreError>;
    /// Expires those that are still unpaid and overdue; answers how many.
    async fn expire(&self, ids: &[OrderId]) -> Result<u64, StoreError>;

    /// Payments that the provider is to be asked about, because their order is past paying and nobody told their end.
    async fn unreported(&self, limit: u32) -> Result<Vec<UnreportedPayment>, StoreError>;
    /// What came of asking about a payment; nothing if its end has become known meanwhile.
    async fn decide_unreported(&self, reference: &str, fate: UnreportedFate) -> Result<(), StoreError>;

    /// Late payments whose next attempt is due.
    async fn late_work(&self, limit: u32) -> Result<Vec<LateWork>, StoreError>;
    /// Units were reserved for a late payment in stock state `epoch`: claims them in the ledger.
    async fn commit_late(&self, reference: &str, epoch: Epoch) -> Result<LateCommit, StoreError>;
    /// There are no units for a late payment: pays it back.
    async fn refuse_late(&self, reference: &str) -> Result<(), StoreError>;
    /// Try a late payment again in `delay_ms`.
    async fn defer_late(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError>;

    /// Refunds the provider has not confirmed and whose next attempt is due.
    async fn refund_work(&self, limit: u32) -> Result<Vec<RefundWork>, StoreError>;
    /// The provider confirmed a refund.
    async fn refund_done(&self, reference: &str) -> Result<(), StoreError>;
    /// Try a refund again in `delay_ms`.
    async fn defer_refund(&self, reference: &str, delay_ms: i64) -> Result<(), StoreError>;

    /// What is still to be told, oldest first.
    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError>;
    /// These rows were told, safely.
    async fn outbox_told(&self, seqs: &[i64]) -> Result<(), StoreError>;
    /// These rows could not be told from here: another replica, if there is one, may take them at once.
    async fn outbox_let_go(&self, seqs: &[i64]) -> Result<(), StoreError>;
    /// Waits until something may have been added to the outbox by this process.
    async fn outbox_grew(&self);

    /// What is still to be done.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
    /// What does not hold, recomputed from the rows.
    async fn audit(&self) -> Result<Vec<Finding>, StoreError>;
    /// Whether the store answers, and takes writes.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Connections to a database server, where nobody says how many.
const CONNECTIONS_DEFAULT: u32 = 16;

/// Opens the store the URL names.
///
/// # Errors
/// An unknown scheme, or an engine that does not open. There is no fallback.
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn OrderStore>, OpenError> {
    open_pooled(url, CONNECTIONS_DEFAULT, clock).await
}

/// Opens the store the URL names, with at most `connections` to its server, if it has one. `clock` is the
/// ledger's where the engine has none; a database server has its own, the same for all replicas.
///
/// # Errors
/// An unknown scheme, or an engine that does not open. There is no fallback.
pub async fn open_pooled(
    url: &str,
    connections: u32,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn OrderStore>, OpenError> {
    match DatabaseUrl::of(url)? {
        DatabaseUrl::Postgres(url) => Ok(Arc::new(PostgresStore::open(url, connections).await?)),
        DatabaseUrl::Sqlite(path) => {
            Ok(Arc::new(SqliteStore::open(path, SqliteOptions::default(), clock).await?))
        }
    }
}
