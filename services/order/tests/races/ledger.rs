//! The referee's books: what the stock store would hold, folded from the events, and what money went
//! in and out, read from the tables.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use domain::{OrderId, OrderStatus, ReservationId};
use order::order_store::OutboxRow;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

/// Reservations by the events, in any order of arrival: a release is final.
#[derive(Default)]
pub(crate) struct StockByEvents {
    settled: HashSet<ReservationId>,
    released: HashSet<ReservationId>,
}

impl StockByEvents {
    pub(crate) fn hear(&mut self, row: &OutboxRow) {
        let set = if row.event.kind.holds_units() { &mut self.settled } else { &mut self.released };
        set.extend(row.event.orders.iter().map(|fact| fact.reservation));
    }

    /// Units held; every order has one.
    pub(crate) fn held(&self) -> usize {
        self.settled.difference(&self.released).count()
    }
}

/// The tables, read past the store.
pub(crate) struct Tables(SqlitePool);

impl Tables {
    pub(crate) async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Self(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    /// Where the orders from `first` on stand.
    pub(crate) async fn statuses(&self, first: OrderId) -> HashMap<OrderId, OrderStatus> {
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as("select id, status from orders where id >= ?1")
            .bind(first.to_bytes().to_vec())
            .fetch_all(&self.0)
            .await
            .unwrap();
        let read = |(id, status): (Vec<u8>, String)| {
            (OrderId::from_bytes(id.try_into().unwrap()), status.parse().unwrap())
        };
        rows.into_iter().map(read).collect()
    }

    /// Minor units: captured, kept for paid orders, paid back.
    pub(crate) async fn money(&self) -> (i64, i64, i64) {
        sqlx::query_as(
            "select (select coalesce(sum(amount_cents), 0) from payments where status = 'captured'),
                 (select coalesce(sum(amount_cents), 0) from orders where status = 'paid'),
                 (select coalesce(sum(amount_cents), 0) from refunds)",
        )
        .fetch_one(&self.0)
        .await
        .unwrap()
    }
}
