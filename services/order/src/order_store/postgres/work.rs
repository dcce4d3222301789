//! The two durable to-do lists that others carry out: the outbox, and refunds at the provider.

use async_trait::async_trait;
use contract::events::{Event, EventKind, OrderFact};
use domain::{Epoch, OrderId, ReservationId};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use std::collections::HashMap;
use uuid::Uuid;

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::{Write, reads, rows};
use crate::order_store::errors::corrupt;
use crate::order_store::{Backlog, OrderRecord, OutboxRow, RefundWork, StoreError};

/// How long whoever committed an event has it to tell, in milliseconds. Then another replica may take it:
/// an event is told late by so much when its replica died, and twice when it was only slow.
pub(super) const LEASE_MS: i64 = 4_000;
/// An event with less than this left of its lease is held anew before it is told, in milliseconds.
const LEASE_LEFT_MS_MIN: i64 = 2_000;

const _: () = assert!(LEASE_LEFT_MS_MIN < LEASE_MS);

/// The oldest of the events that `holder` is to tell: its own, and those whose holder let them lie. No
/// position is kept, so an event that commits after a younger one is found all the same.
pub(super) async fn outbox(
    conn: &mut PgConnection,
    holder: Uuid,
    limit: u32,
) -> Result<Vec<OutboxRow>, StoreError> {
    let found = sqlx::query(
        "with clock as materialized (select seckill_now() as now),
         taken as (
             update outbox set holder = $1, held_until = (select now from clock) + $3
             where seq = any(array(
                 select seq from outbox
                 where held_until <= (select now from clock)
                    or (holder = $1 and held_until <= (select now from clock) + $4)
                 order by seq limit $2
                 for update skip locked))
             returning seq, epoch, at, late, kind, sale, orders, facts)
         select * from (
             select * from taken
             union all
             (select seq, epoch, at, late, kind, sale, orders, facts from outbox
              where holder = $1 and held_until > (select now from clock) + $4
              order by seq limit $2)) mine
         order by seq limit $2",
    )
    .bind(holder)
    .bind(i64::from(limit))
    .bind(LEASE_MS)
    .bind(LEASE_LEFT_MS_MIN)
    .fetch_all(&mut *conn)
    .await?;
    let mut ids: Vec<Vec<OrderId>> = Vec::with_capacity(found.len());
    for row in &found {
        ids.push(row.try_get::<Vec<Uuid>, _>("orders")?.into_iter().map(rows::id_of).collect());
    }
    let orders = reads::orders(conn, &ids.concat()).await?;
    found.iter().zip(&ids).map(|(row, ids)| outbox_row(row, ids, &orders)).collect()
}

fn outbox_row(
    row: &PgRow,
    ids: &[OrderId],
    orders: &HashMap<OrderId, OrderRecord>,
) -> Result<OutboxRow, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    let (kind, late): (&str, bool) = (row.try_get("kind")?, row.try_get("late")?);
    let fact = |order: &OrderRecord| order.fact(ReservationId { order: order.id, late });
    let mut facts: Vec<OrderFact> = ids.iter().filter_map(|id| orders.get(id)).map(fact).collect();
    if facts.len() < ids.len() {
        tracing::error!(seq, "an event names orders that have no row");
    }
    if let Some(more) = row.try_get::<Option<&str>, _>("facts")? {
        facts.extend(serde_json::from_str::<Vec<_>>(more).map_err(|e| corrupt("event", e))?);
    }
    let event = Event {
        id: format!("ledger-{seq}"),
        kind: EventKind::ALL
            .into_iter()
            .find(|k| k.routing_key() == kind)
            .ok_or_else(|| corrupt("event kind", kind))?,
        sale: rows::text(row, "sale")?,
        epoch: Epoch(rows::number(row, "epoch")?),
        at: rows::millis(row, "at")?,
        orders: facts,
    };
    Ok(OutboxRow { seq, event })
}

/// Forgets events that were told. What a crash of the server brings back is told again, so nobody waits
/// for the disk.
pub(super) async fn told(conn: &mut PgConnection, seqs: Vec<i64>) -> Result<(), StoreError> {
    use sqlx::Connection;
    let mut tx = conn.begin_with("begin; set local synchronous_commit = off").await?;
    sqlx::query("delete from outbox where seq = any($1)").bind(seqs).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends the leases that `holder` has on these events.
pub(super) async fn let_go(conn: &mut PgConnection, holder: Uuid, seqs: Vec<i64>) -> Result<(), StoreError> {
    use sqlx::Connection;
    let mut tx = conn.begin_with("begin; set local synchronous_commit = off").await?;
    sqlx::query("update outbox set held_until = 0 where seq = any($1) and holder = $2")
        .bind(seqs)
        .bind(holder)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// That the attempts are 0 or more is always so: see `payments_late` in [`super::late`]. The index is `refunds_requested`.
pub(super) const REFUNDS: &str =
    "select r.reference, coalesce(p.charge, r.reference) as charge, r.amount_cents,
         r.currency, r.attempts
     from refunds r left join payments p on p.reference = r.reference
     where r.status = 'requested' and r.next_at <= (select seckill_now()) and r.attempts >= 0
     order by r.next_at limit $1";

/// Refunds whose next attempt is due.
pub(super) async fn refunds(conn: &mut PgConnection, limit: u32) -> Result<Vec<RefundWork>, StoreError> {
    let found = sqlx::query(REFUNDS).bind(i64::from(limit)).fetch_all(conn).await?;
    let work = |row: &PgRow| {
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

/// The indexes are `refunds_requested` and `payments_late`, by the same always true predicates.
pub(super) const BACKLOG: &str = "select
         greatest(0, least(2147483647, coalesce((select seckill_now() - min(at) from outbox), 0))) as outbox_oldest_ms,
         (select count(*) from refunds where status = 'requested' and attempts >= 0) as refunds,
         (select count(*) from payments where outcome = 'late' and late_attempts >= 0) as late_payments";

/// What is still to be done, counted.
pub(super) async fn backlog(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    let row = sqlx::query(BACKLOG).fetch_one(conn).await?;
    Ok(Backlog {
        outbox_oldest_ms: rows::number(&row, "outbox_oldest_ms")?,
        refunds: rows::number(&row, "refunds")?,
        late_payments: rows::number(&row, "late_payments")?,
    })
}

pub(super) struct RefundDone(pub(super) String);

#[async_trait]
impl Write for RefundDone {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        sqlx::query("update refunds set status = 'done' where reference = $1 and status = 'requested'")
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

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        sqlx::query(
            "update refunds set attempts = attempts + 1, next_at = seckill_now() + $2
             where reference = $1 and status = 'requested'",
        )
        .bind(&self.reference)
        .bind(self.delay_ms)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}
