//! Fences: "if this reservation's order is not in the ledger by now, it never will be". Fences that follow one another
//! go together, in as many statements as one alone: there may be a thousand of them, and all the time the sale's
//! allocation is locked.

use std::collections::{BTreeMap, HashMap, HashSet};

use contract::events::EventKind;
use contract::lane::FenceMessage;
use domain::{OrderId, OrderStatus, SaleId, UnixMillis};

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::{insert, reads, rows};
use crate::order_store::{OrderRecord, rules};

/// The orders that the fences name, as far as they have rows.
type Known = HashMap<OrderId, OrderRecord>;

/// Closes the reservations' ids unless they came in time, and tells again what became of them: the
/// first telling may have been lost on the stock store's side.
pub(super) async fn close(tx: &mut LedgerTx<'_>, fences: &[&FenceMessage]) -> Result<(), Fault> {
    let ids: Vec<OrderId> = fences.iter().map(|fence| fence.reservation.order).collect();
    // A row that somebody is changing would be waited for by an insert, and so would we by them.
    let mut known = reads::orders(tx.conn(), &ids).await?;
    let now = UnixMillis(sqlx::query_scalar("select seckill_now()").fetch_one(tx.conn()).await?);
    close_claims(tx, fences).await?;
    let mut closed = close_orders(tx, now, fences, &mut known).await?;
    for fence in fences {
        let id = fence.reservation.order;
        // In line: what a later fence closes, this one does not know of.
        if !fence.reservation.late
            && let Some(order) = closed.remove(&id)
        {
            tx.moved(&order, None, OrderStatus::Rejected);
            known.insert(id, order);
        }
        let Some(order) = known.get(&id) else {
            // Only a late reservation can be without an order, in a ledger that lost it.
            let fact = rules::fenced(now, tx.held(&fence.sale)?, fence)?.fact(fence.reservation);
            tx.tell_fact(EventKind::OrderExpired, &fence.sale, fact);
            continue;
        };
        tx.tell_about(rules::kind_about(order, fence.reservation), &order.sale, fence.reservation);
    }
    Ok(())
}

/// Inserts a rejected row for each order that has none, and answers those rows. What somebody else inserted meanwhile
/// becomes known instead.
async fn close_orders(
    tx: &mut LedgerTx<'_>,
    now: UnixMillis,
    fences: &[&FenceMessage],
    known: &mut Known,
) -> Result<Known, Fault> {
    let mut missing = BTreeMap::<&SaleId, Vec<OrderRecord>>::new();
    let mut seen = HashSet::new();
    for fence in fences.iter().filter(|fence| !fence.reservation.late) {
        let id = fence.reservation.order;
        if !known.contains_key(&id) && seen.insert(id) {
            let order = rules::fenced(now, tx.held(&fence.sale)?, fence)?;
            missing.entry(&fence.sale).or_default().push(order);
        }
    }
    let mut closed = Known::new();
    for orders in missing.into_values() {
        let inserted = insert::unknown(tx.conn(), &orders).await?;
        closed.extend(orders.into_iter().filter(|o| inserted.contains(&o.id)).map(|o| (o.id, o)));
    }
    let overtaken: Vec<OrderId> = seen.into_iter().filter(|id| !closed.contains_key(id)).collect();
    known.extend(reads::orders(tx.conn(), &overtaken).await?);
    Ok(closed)
}

/// Late payments that come after this find their claims rejected.
async fn close_claims(tx: &mut LedgerTx<'_>, fences: &[&FenceMessage]) -> Result<(), Fault> {
    let late = fences.iter().filter(|fence| fence.reservation.late);
    let ids: Vec<_> = late.map(|fence| rows::key(fence.reservation.order)).collect();
    if !ids.is_empty() {
        sqlx::query(
            "insert into late_claims (order_id, outcome, epoch)
             select id, 'rejected', 0 from unnest($1::uuid[]) as late(id)
             on conflict (order_id) do nothing",
        )
        .bind(ids)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}
