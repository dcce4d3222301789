//! Payments of which nobody has told the end.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{ledger_tx::LedgerTx, rows, writer::Write};
use crate::order_store::{StoreError, UnreportedFate, UnreportedPayment};

/// Those that are to be asked about at `now`, the longest due first.
pub(super) async fn due(
    conn: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<UnreportedPayment>, StoreError> {
    let found = sqlx::query(
        "select p.reference, p.order_id, p.asks from payments p join orders o on o.id = p.order_id
         where p.status = 'started' and p.ask_at <= ?1 and o.status <> 'pending_payment'
         order by p.ask_at limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let unreported = |row: &SqliteRow| {
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

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        let now = tx.now;
        let (status, ask_at) = match self.fate {
            UnreportedFate::Failed => ("failed", None),
            UnreportedFate::AskIn(delay_ms) => ("started", Some(now.plus(delay_ms).0)),
            UnreportedFate::GiveUp => ("started", None),
        };
        sqlx::query(
            "update payments set status = ?2, ask_at = ?3, asks = asks + 1
             where reference = ?1 and status = 'started'",
        )
        .bind(&self.reference)
        .bind(status)
        .bind(ask_at)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}
