//! What is only read.

use std::collections::HashMap;

use domain::{BuyerId, OrderId};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::rows::{self, order_columns};
use crate::order_store::{OrderHistory, OrderRecord, OverduePayment, StoreError};

/// One order.
pub(super) async fn order(conn: &mut PgConnection, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
    let row = sqlx::query(concat!("select ", order_columns!(), " from orders where id = $1"))
        .bind(rows::key(id))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(rows::order).transpose()
}

/// One order, that nobody else changes until the transaction ends.
pub(super) async fn locked_order(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<Option<OrderRecord>, StoreError> {
    let row = sqlx::query(concat!("select ", order_columns!(), " from orders where id = $1 for update"))
        .bind(rows::key(id))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(rows::order).transpose()
}

/// Those of the orders that there are.
pub(super) async fn orders(
    conn: &mut PgConnection,
    ids: &[OrderId],
) -> Result<HashMap<OrderId, OrderRecord>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = sqlx::query(concat!("select ", order_columns!(), " from orders where id = any($1)"))
        .bind(ids.iter().copied().map(rows::key).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    found.iter().map(|row| rows::order(row).map(|order| (order.id, order))).collect()
}

/// A buyer's orders, newest first.
pub(super) async fn orders_of(
    conn: &mut PgConnection,
    buyer: &BuyerId,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRecord>, StoreError> {
    // No id is as high as the highest: its version bits say so.
    let below = after.map_or(Uuid::max(), rows::key);
    let found = sqlx::query(concat!(
        "select ",
        order_columns!(),
        " from orders where buyer = $1 and id < $2 order by id desc limit $3"
    ))
    .bind(buyer.as_str())
    .bind(below)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    found.iter().map(rows::order).collect()
}

/// One order with its money.
pub(super) async fn history(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<Option<OrderHistory>, StoreError> {
    let Some(order) = order(conn, id).await? else { return Ok(None) };
    let payments = sqlx::query(
        "select reference, status, amount_cents, currency, created_at from payments
         where order_id = $1 order by created_at, reference",
    )
    .bind(rows::key(id))
    .fetch_all(&mut *conn)
    .await?;
    let refunds = sqlx::query(
        "select reference, reason, status, amount_cents, currency, created_at from refunds
         where order_id = $1 order by created_at, reference",
    )
    .bind(rows::key(id))
    .fetch_all(&mut *conn)
    .await?;
    let payment = |row: &PgRow| {
        Ok::<_, StoreError>(contract::api::Payment {
            reference: row.try_get("reference")?,
            status: row.try_get("status")?,
            amount_cents: row.try_get("amount_cents")?,
            currency: row.try_get("currency")?,
            created_at: row.try_get("created_at")?,
        })
    };
    let refund = |row: &PgRow| {
        Ok::<_, StoreError>(contract::api::Refund {
            reference: row.try_get("reference")?,
            reason: row.try_get("reason")?,
            status: row.try_get("status")?,
            amount_cents: row.try_get("amount_cents")?,
            currency: row.try_get("currency")?,
            created_at: row.try_get("created_at")?,
        })
    };
    Ok(Some(OrderHistory {
        order,
        payments: payments.iter().map(payment).collect::<Result<_, _>>()?,
        refunds: refunds.iter().map(refund).collect::<Result<_, _>>()?,
    }))
}

/// The unpaid orders whose time is over and that a payment is under way for, or, with false for `$2`, that none is under
/// way for. Its index is `orders_due`, by an
/// always true predicate on the amount: see `payments_late` in [`super::late`].
///
/// Each order's payment is looked up by itself: joined, the planner may read all payments instead, once for every order.
pub(super) const OVERDUE: &str = "select id, (select seckill_now()) - pay_by as overdue_ms,
         (select reference from payments p where p.order_id = o.id and p.status = 'started') as reference
     from orders o
     where status = 'pending_payment' and pay_by <= (select seckill_now()) and amount_cents >= 0
       and ((select reference from payments p where p.order_id = o.id and p.status = 'started') is not null) = $2
     order by pay_by limit $1";

/// Unpaid orders whose time is over and that no payment is under way for, the longest overdue first.
pub(super) async fn overdue(conn: &mut PgConnection, limit: u32) -> Result<Vec<OrderId>, StoreError> {
    let found = sqlx::query(OVERDUE).bind(i64::from(limit)).bind(false).fetch_all(conn).await?;
    found.iter().map(|row| rows::order_id(row, "id")).collect()
}

/// The other ones, each with the payment that is under way.
pub(super) async fn overdue_payments(
    conn: &mut PgConnection,
    limit: u32,
) -> Result<Vec<OverduePayment>, StoreError> {
    let found = sqlx::query(OVERDUE).bind(i64::from(limit)).bind(true).fetch_all(conn).await?;
    let overdue = |row: &PgRow| {
        Ok(OverduePayment {
            order: rows::order_id(row, "id")?,
            overdue_ms: row.try_get("overdue_ms")?,
            reference: row.try_get("reference")?,
        })
    };
    found.iter().map(overdue).collect()
}
