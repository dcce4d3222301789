//! Creating and raising allocations.

use async_trait::async_trait;
use contract::internal::PutAllocation;
use domain::SaleId;
use sqlx::sqlite::SqliteConnection;

use super::{ledger_tx::LedgerTx, rows, writer::Write};
use crate::order_store::{AllocationRecord, StoreError, rules};

pub(super) struct Put {
    pub(super) sale: SaleId,
    pub(super) put: PutAllocation,
}

#[async_trait]
impl Write for Put {
    type Out = AllocationRecord;

    async fn run(&self, tx: &mut LedgerTx) -> Result<AllocationRecord, StoreError> {
        let put = &self.put;
        // A total only ever rises: what was promised to buyers is not taken back.
        sqlx::query(
            "insert into allocations
                 (sale, total, total_version, epoch, price_cents, currency, per_user_limit, pay_within_s)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             on conflict (sale) do update set total = max(total, excluded.total),
                 total_version = excluded.total_version
               where total_version < excluded.total_version",
        )
        .bind(self.sale.as_str())
        .bind(put.total)
        .bind(i64::try_from(put.total_version).unwrap_or(i64::MAX))
        .bind(rules::FIRST_EPOCH)
        .bind(put.price_cents)
        .bind(&put.currency)
        .bind(put.per_user_limit)
        .bind(put.pay_within_s)
        .execute(tx.conn())
        .await?;
        tx.terms_changed(&self.sale).await
    }
}

/// The sale's allocation, if it has one.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    sale: &SaleId,
) -> Result<Option<AllocationRecord>, StoreError> {
    let row = sqlx::query("select * from allocations where sale = ?1")
        .bind(sale.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(rows::allocation).transpose()
}
