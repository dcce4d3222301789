//! Late payments: the money came after the order had expired. Units are reserved again, under the
//! order's late id; the claim here is made once, whatever its answer.

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{Claim, Decision, Epoch, OrderStatus, decide};
use sqlx::sqlite::SqliteConnection;
use std::collections::HashSet;

use super::{batch, ledger_tx::LedgerTx, payments, reads, rows, writer::Write};
use crate::order_store::{LateCommit, LateWork, OrderRecord, StoreError};

pub(super) struct CommitLate {
    pub(super) reference: String,
    pub(super) epoch: Epoch,
}

#[async_trait]
impl Write for CommitLate {
    type Out = LateCommit;

    async fn run(&self, tx: &mut LedgerTx) -> Result<LateCommit, StoreError> {
        let Some(order) = waiting_order(tx, &self.reference).await? else {
            return Ok(LateCommit::Settled);
        };
        let guard = tx.sale(&order.sale).await?.record.guard;
        if self.epoch != guard.epoch {
            // The reservation went down with its stock state; it can be made again in the new one.
            return Ok(LateCommit::OtherEpoch);
        }
        if order.status != OrderStatus::Expired {
            payments::pay_back(tx, &self.reference, "second_capture").await?;
            return Ok(LateCommit::Refused);
        }
        let live = batch::live_units(tx.conn(), &order.sale, std::iter::once(&order.buyer)).await?;
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
        let fact = OrderRecord { late: true, ..order.clone() };
        tx.tell(EventKind::OrderExpired, &fact).await?;
        Ok(LateCommit::Refused)
    }
}

/// Inserts the order's claim; false if the ledger has answered it before.
async fn claim_once(
    tx: &mut LedgerTx,
    order: &OrderRecord,
    epoch: Epoch,
    fits: bool,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "insert into late_claims (order_id, outcome, epoch) values (?1, ?2, ?3)
         on conflict (order_id) do nothing",
    )
    .bind(rows::key(order.id))
    .bind(if fits { "taken" } else { "rejected" })
    .bind(i64::try_from(epoch.0).unwrap_or(i64::MAX))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn pay(tx: &mut LedgerTx, order: &OrderRecord) -> Result<bool, StoreError> {
    let won = sqlx::query(
        "update orders set status = 'paid', late = 1
         where id = ?1
           and status = 'expired'
         returning *",
    )
    .bind(rows::key(order.id))
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = won else { return Ok(false) };
    let order = rows::order(&row)?;
    tx.moved(&order, Some(OrderStatus::Expired), OrderStatus::Paid).await?;
    tx.tell(EventKind::OrderPaid, &order).await?;
    Ok(true)
}

/// The order of a payment that still waits for units.
async fn waiting_order(tx: &mut LedgerTx, reference: &str) -> Result<Option<OrderRecord>, StoreError> {
    let row = sqlx::query(
        "select o.* from payments p join orders o on o.id = p.order_id
         where p.reference = ?1
           and p.outcome = 'late'",
    )
    .bind(reference)
    .fetch_optional(tx.conn())
    .await?;
    row.as_ref().map(rows::order).transpose()
}

pub(super) struct RefuseLate(pub(super) String);

#[async_trait]
impl Write for RefuseLate {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        if waiting_order(tx, &self.0).await?.is_some() {
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

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
        let at = tx.now.plus(self.delay_ms);
        sqlx::query(
            "update payments set late_attempts = late_attempts + 1, late_next_at = ?2
             where reference = ?1 and outcome = 'late'",
        )
        .bind(&self.reference)
        .bind(at.0)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

/// Late payments whose next attempt is due at `now`.
pub(super) async fn work(
    conn: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<LateWork>, StoreError> {
    let due: Vec<(String, Vec<u8>, i64, i64)> = sqlx::query_as(
        "select reference, order_id, late_attempts, late_since from payments
         where outcome = 'late' and late_next_at <= ?1 order by late_next_at limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    let mut work = Vec::with_capacity(due.len());
    for (reference, id, attempts, since) in due {
        let Ok(id) = id.try_into().map(domain::OrderId::from_bytes) else { continue };
        if let Some(order) = reads::order(conn, id).await? {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            work.push(LateWork { reference, order, attempts, waiting_ms: now - since });
        }
    }
    Ok(work)
}
