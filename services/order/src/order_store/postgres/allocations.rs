//! Creating and raising allocations.

use async_trait::async_trait;
use contract::internal::PutAllocation;
use domain::SaleId;
use sqlx::postgres::PgConnection;

use super::Write;
use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::rows::{self, allocation_columns};
use crate::order_store::{AllocationRecord, StoreError, rules};

pub(super) struct Put {
    pub(super) sale: SaleId,
    pub(super) put: PutAllocation,
}

#[async_trait]
impl Write for Put {
    type Out = AllocationRecord;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<AllocationRecord, Fault> {
        let put = &self.put;
        // A total only ever rises: what was promised to buyers is not taken back.
        sqlx::query(
            "insert into allocations as a
                 (sale, total, total_version, epoch, price_cents, currency, per_user_limit, pay_within_s)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (sale) do update set total = greatest(a.total, excluded.total),
                 total_version = excluded.total_version
               where a.total_version < excluded.total_version",
        )
        .bind(self.sale.as_str())
        .bind(i64::from(put.total))
        .bind(rows::signed(put.total_version))
        .bind(rules::FIRST_EPOCH)
        .bind(put.price_cents)
        .bind(&put.currency)
        .bind(i64::from(put.per_user_limit))
        .bind(i64::from(put.pay_within_s))
        .execute(tx.conn())
        .await?;
        let found = find(tx.conn(), &self.sale).await?;
        Ok(found.ok_or_else(|| StoreError::UnknownSale(self.sale.clone()))?)
    }
}

/// The sale's allocation, if it has one.
pub(super) async fn find(
    conn: &mut PgConnection,
    sale: &SaleId,
) -> Result<Option<AllocationRecord>, StoreError> {
    let row = sqlx::query(concat!("select ", allocation_columns!(), " from allocations where sale = $1"))
        .bind(sale.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(rows::allocation).transpose()
}
