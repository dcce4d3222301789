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

/// The columns of `allocations` that are numbers, in the order of [`allocation_of`].
macro_rules! allocation_numbers {
    () => {
        "total, total_version, epoch, price_cents, per_user_limit, pay_within_s, taken, pending_payment, paid,
         cancelled, expired, rejected, refunded"
    };
}
pub(super) use allocation_numbers;

/// A whole row of `allocations`: its numbers go together, so that it fits among other answers.
macro_rules! allocation_columns {
    () => {
        concat!(
            "sale, currency, array[",
            $crate::order_store::postgres::rows::allocation_numbers!(),
            "] as numbers"
        )
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
    allocation_of(row, row.try_get("numbers")?)
}

/// A whole row of `allocations` whose numbers are these.
pub(super) fn allocation_of(row: &PgRow, numbers: Vec<i64>) -> Result<AllocationRecord, StoreError> {
    let bad = || corrupt("allocation", "a number is out of range");
    let big = |n: i64| u64::try_from(n).map_err(|_| bad());
    let small = |n: i64| u32::try_from(n).map_err(|_| bad());
    let [total, total_version, epoch, price_cents, per_user_limit, pay_within_s, taken, counts @ ..] =
        <[i64; 13]>::try_from(numbers).map_err(|_| bad())?;
    let [pending_payment, paid, cancelled, expired, rejected, refunded] = counts;
    Ok(AllocationRecord {
        sale: text(row, "sale")?,
        guard: Allocation {
            total: small(total)?,
            taken: small(taken)?,
            epoch: Epoch(big(epoch)?),
            per_user_limit: small(per_user_limit)?,
        },
        total_version: big(total_version)?,
        price: Money { cents: price_cents, currency: text(row, "currency")? },
        pay_within_s: small(pay_within_s)?,
        counts: OrderCounts {
            taken: small(taken)?,
            pending_payment: big(pending_payment)?,
            paid: big(paid)?,
            cancelled: big(cancelled)?,
            expired: big(expired)?,
            rejected: big(rejected)?,
            refunded: big(refunded)?,
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
