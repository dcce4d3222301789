//! Rows to records.

use std::str::FromStr;

use contract::api::OrderCounts;
use domain::{Allocation, Epoch, Money, OrderId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::order_store::errors::corrupt;
use crate::order_store::{AllocationRecord, OrderRecord, StoreError};

/// The columns of `orders`, by name: a statement prepared before a migration must not change its answer.
macro_rules! order_columns {
    () => {
        "id, quantity, amount_cents, created_at, pay_by, late, sale, buyer, currency, status, reason"
    };
}
pub(super) use order_columns;

/// The columns of `allocations`.
macro_rules! allocation_columns {
    () => {
        "sale, total, total_version, epoch, price_cents, currency, per_user_limit, pay_within_s, taken,
         pending_payment, paid, cancelled, expired, rejected, refunded"
    };
}
pub(super) use allocation_columns;

/// A text column as a domain type.
pub(super) fn text<T>(row: &PgRow, column: &'static str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|e| corrupt(column, e))
}

/// An integer column as a number of units, orders or attempts.
pub(super) fn number<T: TryFrom<i64>>(row: &PgRow, column: &'static str) -> Result<T, StoreError> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| corrupt(column, value))
}

/// A moment.
pub(super) fn millis(row: &PgRow, column: &'static str) -> Result<UnixMillis, StoreError> {
    Ok(UnixMillis(row.try_get(column)?))
}

/// An order id column.
pub(super) fn order_id(row: &PgRow, column: &'static str) -> Result<OrderId, StoreError> {
    row.try_get(column).map(id_of).map_err(StoreError::from)
}

/// `amount_cents` and `currency`.
pub(super) fn money(row: &PgRow, cents: &'static str) -> Result<Money, StoreError> {
    Ok(Money { cents: row.try_get(cents)?, currency: text(row, "currency")? })
}

/// A whole row of `orders`.
pub(super) fn order(row: &PgRow) -> Result<OrderRecord, StoreError> {
    Ok(OrderRecord {
        id: order_id(row, "id")?,
        sale: text(row, "sale")?,
        buyer: text(row, "buyer")?,
        quantity: number(row, "quantity")?,
        amount: money(row, "amount_cents")?,
        status: text(row, "status")?,
        late: row.try_get("late")?,
        reason: row.try_get("reason")?,
        created_at: millis(row, "created_at")?,
        pay_by: millis(row, "pay_by")?,
    })
}

/// A whole row of `allocations`.
pub(super) fn allocation(row: &PgRow) -> Result<AllocationRecord, StoreError> {
    let taken = number(row, "taken")?;
    Ok(AllocationRecord {
        sale: text(row, "sale")?,
        guard: Allocation {
            total: number(row, "total")?,
            taken,
            epoch: Epoch(number(row, "epoch")?),
            per_user_limit: number(row, "per_user_limit")?,
        },
        total_version: number(row, "total_version")?,
        price: money(row, "price_cents")?,
        pay_within_s: number(row, "pay_within_s")?,
        counts: OrderCounts {
            taken,
            pending_payment: number(row, "pending_payment")?,
            paid: number(row, "paid")?,
            cancelled: number(row, "cancelled")?,
            expired: number(row, "expired")?,
            rejected: number(row, "rejected")?,
            refunded: number(row, "refunded")?,
        },
    })
}

/// What an order id is stored as.
pub(super) fn key(id: OrderId) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

/// What [`key`] stored.
pub(super) fn id_of(key: Uuid) -> OrderId {
    OrderId::from_bytes(key.into_bytes())
}

/// A number that only grows, as a column holds it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
