//! Fences: "if this reservation's order is not in the ledger by now, it never will be". Fences that follow one another
//! go together: there may be a thousand of them, and nobody else writes meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use contract::events::EventKind;
use contract::lane::FenceMessage;
use domain::{OrderId, OrderStatus};

use super::{batch, ledger_tx::LedgerTx, reads, rows};
use crate::order_store::{OrderRecord, StoreError, rules};

/// Closes the reservations' ids unless they came in time, and tells again what became of them: the
/// first telling may have been lost on the stock store's side.
pub(super) async fn close(tx: &mut LedgerTx, fences: &[&FenceMessage]) -> Result<(), StoreError> {
    close_claims(tx, fences).await?;
    close_orders(tx, fences).await?;
    let ids = fences.iter().map(|fence| fence.reservation.order);
    let known = reads::orders(tx.conn(), ids).await?;
    for fence in fences {
        let Some(order) = known.get(&fence.reservation.order) else {
            // Only a late reservation can be without an order, in a ledger that lost it.
            let order = rejected(tx, fence).await?;
            tx.tell_fact(EventKind::OrderExpired, &fence.sale, order.fact(fence.reservation)).await?;
            continue;
        };
        let kind = rules::kind_about(order, fence.reservation);
        tx.tell_fact(kind, &order.sale, order.fact(fence.reservation)).await?;
    }
    Ok(())
}

/// Inserts a rejected row for each order that has none.
async fn close_orders(tx: &mut LedgerTx, fences: &[&FenceMessage]) -> Result<(), StoreError> {
    let mut orders = BTreeMap::new();
    for fence in fences.iter().filter(|fence| !fence.reservation.late) {
        if let Entry::Vacant(place) = orders.entry(fence.reservation.order) {
            place.insert(rejected(tx, fence).await?);
        }
    }
    let inserted = batch::insert(tx.conn(), orders.values()).await?;
    for order in inserted.iter().filter_map(|id| orders.get(id)) {
        tx.moved(order, None, OrderStatus::Rejected).await?;
    }
    Ok(())
}

/// Late payments that come after this find their claims rejected.
async fn close_claims(tx: &mut LedgerTx, fences: &[&FenceMessage]) -> Result<(), StoreError> {
    let late = fences.iter().filter(|fence| fence.reservation.late);
    let ids: Vec<OrderId> = late.map(|fence| fence.reservation.order).collect();
    if !ids.is_empty() {
        sqlx::query(
            "insert into late_claims (order_id, outcome, epoch)
             select unhex(value), 'rejected', 0 from json_each(?1) where true
             on conflict (order_id) do nothing",
        )
        .bind(rows::ids_json(ids))
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

async fn rejected(tx: &mut LedgerTx, fence: &FenceMessage) -> Result<OrderRecord, StoreError> {
    let now = tx.now;
    rules::fenced(now, &tx.sale(&fence.sale).await?.record, fence)
}
