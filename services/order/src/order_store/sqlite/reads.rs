//! What is only read.

use std::collections::HashMap;

use domain::{BuyerId, OrderId};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::rows;
use crate::order_store::{OrderHistory, OrderRecord, OverduePayment, StoreError};

/// One order.
pub(super) async fn order(
    conn: &mut SqliteConnection,
    id: OrderId,
) -> Result<Option<OrderRecord>, StoreError> {
    let row =
        sqlx::query("select * from orders where id = ?1").bind(rows::key(id)).fetch_optional(conn).await?;
    row.as_ref().map(rows::order).transpose()
}

/// Those of the orders that there are.
pub(super) async fn orders(
    conn: &mut SqliteConnection,
    ids: impl Iterator<Item = OrderId>,
) -> Result<HashMap<OrderId, OrderRecord>, StoreError> {
    let found = sqlx::query("select * from orders where id in (select unhex(value) from json_each(?1))")
        .bind(rows::ids_json(ids))
        .fetch_all(conn)
        .await?;
    found.iter().map(|row| rows::order(row).map(|order| (order.id, order))).collect()
}

/// A buyer's orders, newest first.
pub(super) async fn orders_of(
    conn: &mut SqliteConnection,
    buyer: &BuyerId,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRecord>, StoreError> {
    // A blob sorts after every shorter one: 17 bytes are above all ids.
    let below = after.map_or_else(|| vec![0xff; 17], rows::key);
    let found = sqlx::query("select * from orders where buyer = ?1 and id < ?2 order by id desc limit ?3")
        .bind(buyer.as_str())
        .bind(below)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    found.iter().map(rows::order).collect()
}

/// One order with its money.
pub(super) async fn history(
    conn: &mut SqliteConnection,
    id: OrderId,
) -> Result<Option<OrderHistory>, StoreError> {
    let Some(order) = order(conn, id).await? else { return Ok(None) };
    let payments = sqlx::query(
        "select reference, status, amount_cents, currency, created_at from payments
         where order_id = ?1 order by created_at, reference",
    )
    .bind(rows::key(id))
    .fetch_all(&mut *conn)
    .await?;
    let refunds = sqlx::query(
        "select reference, reason, status, amount_cents, currency, created_at from refunds
         where order_id = ?1 order by created_at, reference",
    )
    .bind(rows::key(id))
    .fetch_all(&mut *conn)
    .await?;
    let payment = |row: &sqlx::sqlite::SqliteRow| {
        Ok::<_, StoreError>(contract::api::Payment {
            reference: row.try_get("reference")?,
            status: row.try_get("status")?,
            amount_cents: row.try_get("amount_cents")?,
            currency: row.try_get("currency")?,
            created_at: row.try_get("created_at")?,
        })
    };
    let refund = |row: &sqlx::sqlite::SqliteRow| {
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

/// Unpaid orders whose time is over at `now` and that no payment is under way for, the longest overdue first.
pub(super) async fn overdue(
    conn: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<OrderId>, StoreError> {
    let found = sqlx::query(
        "select o.id from orders o
         where o.status = 'pending_payment' and o.pay_by <= ?1
           and not exists (select 1 from payments p where p.order_id = o.id and p.status = 'started')
         order by o.pay_by limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    found.iter().map(|row| rows::order_id(row, "id")).collect()
}

/// The other ones, each with the payment that is under way.
pub(super) async fn overdue_payments(
    conn: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<OverduePayment>, StoreError> {
    let found = sqlx::query(
        "select o.id, o.pay_by, p.reference from orders o
         join payments p on p.order_id = o.id and p.status = 'started'
         where o.status = 'pending_payment' and o.pay_by <= ?1
         order by o.pay_by limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let overdue = |row: &sqlx::sqlite::SqliteRow| {
        Ok(OverduePayment {
            order: rows::order_id(row, "id")?,
            overdue_ms: now - row.try_get::<i64, _>("pay_by")?,
            reference: row.try_get("reference")?,
        })
    };
    found.iter().map(overdue).collect()
}
