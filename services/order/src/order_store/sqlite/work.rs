//! The two durable to-do lists that others carry out: the outbox, and refunds at the provider.

use async_trait::async_trait;
use contract::events::{Event, EventKind};
use domain::{Epoch, UnixMillis};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{ledger_tx::LedgerTx, rows, writer::Write};
use crate::order_store::errors::corrupt;
use crate::order_store::{Backlog, OutboxRow, RefundWork, StoreError};

/// The oldest outbox rows.
pub(super) async fn outbox(conn: &mut SqliteConnection, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
    let found = sqlx::query("select * from outbox order by seq limit ?1").bind(limit).fetch_all(conn).await?;
    found.iter().map(outbox_row).collect()
}

fn outbox_row(row: &SqliteRow) -> Result<OutboxRow, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    let (kind, orders): (&str, &str) = (row.try_get("kind")?, row.try_get("orders")?);
    let event = Event {
        id: format!("ledger-{seq}"),
        kind: EventKind::ALL
            .into_iter()
            .find(|k| k.routing_key() == kind)
            .ok_or_else(|| corrupt("event kind", kind))?,
        sale: rows::text(row, "sale")?,
        epoch: Epoch(rows::number(row, "epoch")?),
        at: UnixMillis(row.try_get("at")?),
        orders: serde_json::from_str(orders).map_err(|e| corrupt("event", e))?,
    };
    Ok(OutboxRow { seq, event })
}

pub(super) struct Told(pub(super) Vec<i64>);

#[async_trait]
impl Write for Told {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        let seqs = serde_json::to_string(&self.0).map_err(|e| StoreError::Refused(e.to_string()))?;
        sqlx::query("delete from outbox where seq in (select value from json_each(?1))")
            .bind(seqs)
            .execute(tx.conn())
            .await?;
        Ok(())
    }
}

/// Refunds whose next attempt is due at `now`.
pub(super) async fn refunds(
    conn: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<RefundWork>, StoreError> {
    let found = sqlx::query(
        "select r.reference, coalesce(p.charge, r.reference) as charge, r.amount_cents, r.currency, r.attempts
         from refunds r left join payments p on p.reference = r.reference
         where r.status = 'requested' and r.next_at <= ?1 order by r.next_at limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let work = |row: &SqliteRow| {
        Ok(RefundWork {
            reference: row.try_get("reference")?,
            charge: row.try_get("charge")?,
            amount_cents: row.try_get("amount_cents")?,
            currency: row.try_get("currency")?,
            attempts: rows::number(row, "attempts")?,
        })
    };
    found.iter().map(work).collect()
}

pub(super) struct RefundDone(pub(super) String);

#[async_trait]
impl Write for RefundDone {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        sqlx::query("update refunds set status = 'done' where reference = ?1 and status = 'requested'")
            .bind(&self.0)
            .execute(tx.conn())
            .await?;
        Ok(())
    }
}

pub(super) struct DeferRefund {
    pub(super) reference: String,
    pub(super) delay_ms: i64,
}

#[async_trait]
impl Write for DeferRefund {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        let at = tx.now.plus(self.delay_ms);
        sqlx::query(
            "update refunds set attempts = attempts + 1, next_at = ?2
             where reference = ?1 and status = 'requested'",
        )
        .bind(&self.reference)
        .bind(at.0)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

/// What is still to be done at `now`, counted.
pub(super) async fn backlog(conn: &mut SqliteConnection, now: i64) -> Result<Backlog, StoreError> {
    let row = sqlx::query(
        "select
             max(0, min(2147483647, coalesce(?1 - (select min(at) from outbox), 0))) as outbox_oldest_ms,
             (select count(*) from refunds where status = 'requested') as refunds,
             (select count(*) from payments where outcome = 'late') as late_payments",
    )
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(Backlog {
        outbox_oldest_ms: rows::number(&row, "outbox_oldest_ms")?,
        refunds: rows::number(&row, "refunds")?,
        late_payments: rows::number(&row, "late_payments")?,
    })
}
