//! Fences: "if this reservation's order is not in the ledger by now, it never will be".

use contract::events::EventKind;
use contract::lane::FenceMessage;
use domain::{OrderStatus, UnixMillis};

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::{insert, reads, rows};
use crate::order_store::{OrderRecord, rules};

/// Closes the reservation's id unless it came in time, and tells again what became of it: the
/// first telling may have been lost on the stock store's side.
pub(super) async fn close(tx: &mut LedgerTx<'_>, fence: &FenceMessage) -> Result<(), Fault> {
    if fence.reservation.late {
        close_claim(tx, fence).await?;
    } else {
        close_order(tx, fence).await?;
    }
    let Some(order) = reads::order(tx.conn(), fence.reservation.order).await? else {
        // Only a late reservation can be without an order, in a ledger that lost it.
        let fact = rejected(tx, fence).await?.fact(fence.reservation);
        tx.tell_fact(EventKind::OrderExpired, &fence.sale, fact);
        return Ok(());
    };
    let kind = rules::kind_about(&order, fence.reservation);
    tx.tell_about(kind, &order.sale, fence.reservation);
    Ok(())
}

async fn close_order(tx: &mut LedgerTx<'_>, fence: &FenceMessage) -> Result<(), Fault> {
    // A row that somebody is changing would be waited for by an insert, and so would we by them.
    if reads::order(tx.conn(), fence.reservation.order).await?.is_some() {
        return Ok(());
    }
    let order = rejected(tx, fence).await?;
    let inserted = insert::unknown(tx.conn(), std::slice::from_ref(&order)).await?;
    if !inserted.is_empty() {
        tx.moved(&order, None, OrderStatus::Rejected);
    }
    Ok(())
}

/// A late payment that comes after this finds its claim rejected.
async fn close_claim(tx: &mut LedgerTx<'_>, fence: &FenceMessage) -> Result<(), Fault> {
    sqlx::query(
        "insert into late_claims (order_id, outcome, epoch) values ($1, 'rejected', 0)
         on conflict (order_id) do nothing",
    )
    .bind(rows::key(fence.reservation.order))
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn rejected(tx: &mut LedgerTx<'_>, fence: &FenceMessage) -> Result<OrderRecord, Fault> {
    let now: i64 = sqlx::query_scalar("select seckill_now()").fetch_one(tx.conn()).await?;
    Ok(rules::fenced(UnixMillis(now), tx.held(&fence.sale)?, fence)?)
}
