//! Payments of which nobody has told the end.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::{Write, rows};
use crate::order_store::{StoreError, UnreportedFate, UnreportedPayment};

/// That the questions are 0 or more is always so: see `payments_late` in [`super::late`]. The index is `payments_to_ask`.
pub(super) const DUE: &str =
    "select p.reference, p.order_id, p.asks from payments p join orders o on o.id = p.order_id
     where p.status = 'started' and p.ask_at <= (select seckill_now()) and p.asks >= 0
       and o.status <> 'pending_payment'
     order by p.ask_at limit $1";

/// Those that are to be asked about now, the longest due first.
pub(super) async fn due(conn: &mut PgConnection, limit: u32) -> Result<Vec<UnreportedPayment>, StoreError> {
    let found = sqlx::query(DUE).bind(i64::from(limit)).fetch_all(conn).await?;
    let unreported = |row: &PgRow| {
        Ok(UnreportedPayment {
            reference: row.try_get("reference")?,
            order: rows::order_id(row, "order_id")?,
            asks: rows::number(row, "asks")?,
        })
    };
    found.iter().map(unreported).collect()
}

pub(super) struct Decide {
    pub(super) reference: String,
    pub(super) fate: UnreportedFate,
}

#[async_trait]
impl Write for Decide {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        let (status, delay_ms) = match self.fate {
            UnreportedFate::Failed => ("failed", None),
            UnreportedFate::AskIn(delay_ms) => ("started", Some(delay_ms)),
            UnreportedFate::GiveUp => ("started", None),
        };
        sqlx::query(
            "update payments set status = $2, ask_at = seckill_now() + $3, asks = asks + 1
             where reference = $1 and status = 'started'",
        )
        .bind(&self.reference)
        .bind(status)
        .bind(delay_ms)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}
