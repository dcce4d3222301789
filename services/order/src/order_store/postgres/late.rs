//! Late payments: the money came after the order had expired. Units are reserved again, under the
//! order's late id; the claim here is made once, whatever its answer.

use std::collections::HashSet;

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{Claim, Decision, Epoch, OrderStatus, decide};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::rows::{self, order_columns};
use super::{Write, batch, payments, reads};
use crate::order_store::{LateCommit, LateWork, OrderRecord, StoreError};

pub(super) struct CommitLate {
    pub(super) reference: String,
    pub(super) epoch: Epoch,
}

#[async_trait]
impl Write for CommitLate {
    type Out = LateCommit;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<LateCommit, Fault> {
        let Some(order) = waiting_order(tx, &self.reference).await? else {
            return Ok(LateCommit::Settled);
        };
        // Whoever else worked on this payment held its order until just now.
        if !still_waits(tx, &self.reference).await? {
            return Ok(LateCommit::Settled);
        }
        tx.lock(&order.sale).await?;
        let guard = tx.held(&order.sale)?.guard;
        if self.epoch != guard.epoch {
            // The reservation went down with its stock state; it can be made again in the new one.
            return Ok(LateCommit::OtherEpoch);
        }
        if order.status != OrderStatus::Expired {
            payments::pay_back(tx, &self.reference, "second_capture").await?;
            return Ok(LateCommit::Refused);
        }
        let live = batch::live_units(tx.conn(), &order.sale, &order.buyer).await?;
        let claim = Claim {
            order: order.id,
            buyer: order.buyer.clone(),
            quantity: order.quantity,
            epoch: self.epoch,
        };
        let fits = decide(&guard, &[claim], &HashSet::new(), &live) == [Decision::Take];
        let ours = claim_once(tx, &order, self.epoch, fits).await?;
        if fits && ours && pay(tx, &order).await? {
            payments::set_outcome(tx, &self.reference, "applied").await?;
            return Ok(LateCommit::Paid);
        }
        payments::pay_back(tx, &self.reference, "no_units").await?;
        // The order stays expired; what was reserved for it goes back.
        tx.tell(EventKind::OrderExpired, &OrderRecord { late: true, ..order.clone() });
        Ok(LateCommit::Refused)
    }
}

/// Inserts the order's claim; false if the ledger has answered it before.
async fn claim_once(
    tx: &mut LedgerTx<'_>,
    order: &OrderRecord,
    epoch: Epoch,
    fits: bool,
) -> Result<bool, Fault> {
    let done = sqlx::query(
        "insert into late_claims (order_id, outcome, epoch) values ($1, $2, $3)
         on conflict (order_id) do nothing",
    )
    .bind(rows::key(order.id))
    .bind(if fits { "taken" } else { "rejected" })
    .bind(rows::signed(epoch.0))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn pay(tx: &mut LedgerTx<'_>, order: &OrderRecord) -> Result<bool, Fault> {
    let won = sqlx::query(concat!(
        "update orders set status = 'paid', late = true
         where id = $1
           and status = 'expired'
         returning ",
        order_columns!()
    ))
    .bind(rows::key(order.id))
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = won else { return Ok(false) };
    let order = rows::order(&row)?;
    tx.moved(&order, Some(OrderStatus::Expired), OrderStatus::Paid);
    tx.tell(EventKind::OrderPaid, &order);
    Ok(true)
}

/// The order of a payment that waits for units; its row is locked.
async fn waiting_order(tx: &mut LedgerTx<'_>, reference: &str) -> Result<Option<OrderRecord>, Fault> {
    let row = sqlx::query(concat!(
        "select ",
        order_columns!(),
        " from orders
         where id = (select order_id from payments
                     where reference = $1
                       and outcome = 'late')
         for update"
    ))
    .bind(reference)
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(rows::order).transpose()?)
}

/// Whether the payment still waits; its row is locked.
async fn still_waits(tx: &mut LedgerTx<'_>, reference: &str) -> Result<bool, Fault> {
    let row = sqlx::query("select 1 from payments where reference = $1 and outcome = 'late' for update")
        .bind(reference)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}

pub(super) struct RefuseLate(pub(super) String);

#[async_trait]
impl Write for RefuseLate {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        if still_waits(tx, &self.0).await? {
            payments::pay_back(tx, &self.0, "no_units").await?;
        }
        Ok(())
    }
}

pub(super) struct DeferLate {
    pub(super) reference: String,
    pub(super) delay_ms: i64,
}

#[async_trait]
impl Write for DeferLate {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        sqlx::query(
            "update payments set late_attempts = late_attempts + 1, late_next_at = seckill_now() + $2
             where reference = $1 and outcome = 'late'",
        )
        .bind(&self.reference)
        .bind(self.delay_ms)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

/// That the attempts are 0 or more is always so: it repeats the predicate of the partial index `payments_late`, which only
/// then may be used (migration 0005).
pub(super) const DUE: &str = "select reference, order_id, late_attempts,
         (select seckill_now()) - late_since as waiting_ms
     from payments
     where outcome = 'late' and late_next_at <= (select seckill_now()) and late_attempts >= 0
     order by late_next_at limit $1";

/// Late payments whose next attempt is due.
pub(super) async fn work(conn: &mut PgConnection, limit: u32) -> Result<Vec<LateWork>, StoreError> {
    let due = sqlx::query(DUE).bind(i64::from(limit)).fetch_all(&mut *conn).await?;
    let ids = due.iter().map(|row| rows::order_id(row, "order_id")).collect::<Result<Vec<_>, _>>()?;
    let orders = reads::orders(conn, &ids).await?;
    let work = |(row, id): (&PgRow, _)| {
        let Some(order) = orders.get(&id) else { return Ok(None) };
        let late = LateWork {
            reference: row.try_get("reference")?,
            order: order.clone(),
            attempts: rows::number(row, "late_attempts")?,
            waiting_ms: row.try_get("waiting_ms")?,
        };
        Ok(Some(late))
    };
    due.iter().zip(ids).filter_map(|due| work(due).transpose()).collect()
}
