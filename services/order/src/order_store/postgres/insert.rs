//! Inserting orders, many in one statement.

use std::collections::HashSet;

use domain::OrderId;
use sqlx::Arguments;
use sqlx::postgres::{PgArguments, PgConnection};
use uuid::Uuid;

use super::errors::Fault;
use super::rows;
use crate::order_store::{OrderRecord, StoreError};

/// The insert of rows of one sale; its parameters, ten of them, are those of [`add`].
macro_rules! insert_orders {
    ($pay_by:literal $sale:literal $currency:literal $id:literal $quantity:literal $amount:literal
     $created_at:literal $buyer:literal $status:literal $reason:literal) => {
        concat!(
            "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status, reason)
             select id, quantity, amount_cents, created_at, ", $pay_by, ", ", $sale, ", buyer, ", $currency, ",
                 status, reason
             from unnest(", $id, "::uuid[], ", $quantity, "::bigint[], ", $amount, "::bigint[], ",
                 $created_at, "::bigint[], ", $buyer, "::text[], ", $status, "::text[], ", $reason, "::text[])
                 as o(id, quantity, amount_cents, created_at, buyer, status, reason)"
        )
    };
}
pub(super) use insert_orders;

macro_rules! insert_alone {
    () => {
        $crate::order_store::postgres::insert::insert_orders!(
            "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$10"
        )
    };
}

/// Adds rows of one sale to a statement's arguments, column by column.
pub(super) fn add(all: &mut PgArguments, orders: &[OrderRecord]) -> Result<(), StoreError> {
    let Some(first) = orders.first() else { return Ok(()) };
    let column = |of: fn(&OrderRecord) -> i64| orders.iter().map(of).collect::<Vec<_>>();
    let added = (|| {
        all.add(first.pay_by.0)?;
        all.add(first.sale.as_str())?;
        all.add(first.amount.currency.as_str())?;
        all.add(orders.iter().map(|o| rows::key(o.id)).collect::<Vec<_>>())?;
        all.add(column(|o| i64::from(o.quantity)))?;
        all.add(column(|o| o.amount.cents))?;
        all.add(column(|o| o.created_at.0))?;
        all.add(orders.iter().map(|o| o.buyer.as_str()).collect::<Vec<_>>())?;
        all.add(orders.iter().map(|o| o.status.as_str()).collect::<Vec<_>>())?;
        all.add(orders.iter().map(|o| o.reason.as_deref()).collect::<Vec<_>>())
    })();
    added.map_err(|e| StoreError::Refused(e.to_string()))
}

/// Inserts all of the rows; fails if one is there.
pub(super) async fn all(conn: &mut PgConnection, orders: &[OrderRecord]) -> Result<(), Fault> {
    if !orders.is_empty() {
        let mut arguments = PgArguments::default();
        add(&mut arguments, orders)?;
        sqlx::query_with(insert_alone!(), arguments).execute(conn).await?;
    }
    Ok(())
}

/// Inserts those of the rows that are not there and answers the ids it really inserted.
pub(super) async fn unknown(
    conn: &mut PgConnection,
    orders: &[OrderRecord],
) -> Result<HashSet<OrderId>, Fault> {
    if orders.is_empty() {
        return Ok(HashSet::new());
    }
    let mut arguments = PgArguments::default();
    add(&mut arguments, orders)?;
    let insert = concat!(insert_alone!(), " on conflict (id) do nothing returning id");
    let inserted: Vec<Uuid> = sqlx::query_scalar_with(insert, arguments).fetch_all(conn).await?;
    Ok(inserted.into_iter().map(rows::id_of).collect())
}
