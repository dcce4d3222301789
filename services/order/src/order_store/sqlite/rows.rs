//! Rows to records, and values to the JSON arrays that statements read with `json_each`.

use std::str::FromStr;

use contract::api::OrderCounts;
use domain::{Allocation, Epoch, Money, OrderId, UnixMillis};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::order_store::errors::corrupt;
use crate::order_store::{AllocationRecord, OrderRecord, StoreError};

/// A text column as a domain type.
pub(super) fn text<T>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|e| corrupt(column, e))
}

/// An integer column as a number of units, orders or attempts.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| corrupt(column, value))
}

/// A moment.
pub(super) fn millis(row: &SqliteRow, column: &'static str) -> Result<UnixMillis, StoreError> {
    Ok(UnixMillis(row.try_get(column)?))
}

/// An order id column.
pub(super) fn order_id(row: &SqliteRow, column: &'static str) -> Result<OrderId, StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map(OrderId::from_bytes).map_err(|_| corrupt(column, "not 16 bytes"))
}

/// `amount_cents` and `currency`.
pub(super) fn money(row: &SqliteRow, cents: &'static str) -> Result<Money, StoreError> {
    Ok(Money { cents: row.try_get(cents)?, currency: text(row, "currency")? })
}

/// A whole row of `orders`.
pub(super) fn order(row: &SqliteRow) -> Result<OrderRecord, StoreError> {
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
pub(super) fn allocation(row: &SqliteRow) -> Result<AllocationRecord, StoreError> {
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

/// Order ids as a JSON array of hex strings, for `unhex(value)`.
pub(super) fn ids_json(ids: impl IntoIterator<Item = OrderId>) -> String {
    let mut json = String::from("[");
    for id in ids {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('"');
        json.push_str(&hex::encode(id.to_bytes()));
        json.push('"');
    }
    json.push(']');
    json
}

/// The bytes an order id is stored as.
pub(super) fn key(id: OrderId) -> Vec<u8> {
    id.to_bytes().to_vec()
}
