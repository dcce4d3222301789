//! The referee's books: what the stock store would hold, folded from the events, and what money went
//! in and out, read from the tables.

use std::collections::HashSet;
use std::path::Path;

use domain::ReservationId;
use order::order_store::OutboxRow;
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

/// Minor units: captured, kept for paid orders, paid back.
pub(crate) async fn money(path: &Path) -> (i64, i64, i64) {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let captured = sqlx::query_scalar("select coalesce(sum(amount_cents), 0) from payments where status = 'captured'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let kept = sqlx::query_scalar("select coalesce(sum(amount_cents), 0) from orders where status = 'paid'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let back =
        sqlx::query_scalar("select coalesce(sum(amount_cents), 0) from refunds").fetch_one(&pool).await.unwrap();
    pool.close().await;
    (captured, kept, back)
}
