//! Fences: "if this reservation's order is not in the ledger by now, it never will be".

use contract::events::EventKind;
use contract::lane::FenceMessage;
use domain::OrderStatus;

use super::{batch, ledger_tx::LedgerTx, reads, rows};
use crate::order_store::{OrderRecord, StoreError, rules};

/// Closes the reservation's id unless it came in time, and tells again what became of it: the
/// first telling may have been lost on the stock store's side.
pub(super) async fn close(tx: &mut LedgerTx, fence: &FenceMessage) -> Result<(), StoreError> {
    if fence.reservation.late {
        close_claim(tx, fence).await?;
    } else {
        close_order(tx, fence).await?;
    }
    let Some(order) = reads::order(tx.conn(), fence.reservation.order).await? else {
        // Only a late reservation can be without an order, in a ledger that lost it.
        let order = rejected(tx, fence).await?;
        return tx.tell_fact(EventKind::OrderExpired, &fence.sale, order.fact(fence.reservation)).await;
    };
    let kind = rules::kind_about(&order, fence.reservation);
    tx.tell_fact(kind, &order.sale, order.fact(fence.reservation)).await
}

async fn close_order(tx: &mut LedgerTx, fence: &FenceMessage) -> Result<(), StoreError> {
    let order = rejected(tx, fence).await?;
    let inserted = batch::insert(tx.conn(), std::iter::once(&order)).await?;
    if !inserted.is_empty() {
        tx.moved(&order, None, OrderStatus::Rejected).await?;
    }
    Ok(())
}

/// A late payment that comes after this finds its claim rejected.
async fn close_claim(tx: &mut LedgerTx, fence: &FenceMessage) -> Result<(), StoreError> {
    sqlx::query(
        "insert into late_claims (order_id, outcome, epoch) values (?1, 'rejected', 0)
         on conflict (order_id) do nothing",
    )
    .bind(rows::key(fence.reservation.order))
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn rejected(tx: &mut LedgerTx, fence: &FenceMessage) -> Result<OrderRecord, StoreError> {
    let now = tx.now;
    rules::fenced(now, &tx.sale(&fence.sale).await?.record, fence)
}
