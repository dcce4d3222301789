//! What a client without any rules would do: the same columns into the same tables, in one transaction.

use contract::lane::LaneMessage;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use uuid::Uuid;

use crate::Failure;

/// A connection that inserts whatever it is given.
pub(crate) struct Bare {
    conn: PgConnection,
    holder: Uuid,
}

impl Bare {
    pub(crate) fn new(conn: PgConnection) -> Self {
        Self { conn, holder: Uuid::nil() }
    }

    /// Inserts the orders, moves the allocation, inserts the event; commits.
    pub(crate) async fn commit(&mut self, sale: &str, batch: &[LaneMessage]) -> Result<(), Failure> {
        let orders =
            || batch.iter().filter_map(|m| if let LaneMessage::Order(m) = m { Some(m) } else { None });
        let ids: Vec<Uuid> = orders().map(|m| Uuid::from_bytes(m.order.to_bytes())).collect();
        let numbers = |n: i64| vec![n; ids.len()];
        let mut tx = self.conn.begin().await?;
        sqlx::query(
            "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status, reason)
             select id, quantity, amount_cents, created_at, $1, $2, buyer, $3, status, reason
             from unnest($4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[])
                 as o(id, quantity, amount_cents, created_at, buyer, status, reason)",
        )
        .bind(1_700_000_000_000_i64)
        .bind(sale)
        .bind("EUR")
        .bind(&ids)
        .bind(numbers(1))
        .bind(numbers(1_999))
        .bind(numbers(1_700_000_000_000))
        .bind(orders().map(|m| m.buyer.as_str()).collect::<Vec<_>>())
        .bind(vec!["pending_payment"; ids.len()])
        .bind(vec![None::<&str>; ids.len()])
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "update allocations set taken = taken + $2, pending_payment = pending_payment + $2 where sale = $1",
        )
        .bind(sale)
        .bind(i64::try_from(ids.len())?)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into outbox (epoch, at, held_until, holder, late, kind, sale, orders)
             values (1, 0, 0, $1, false, 'order.placed', $2, $3)",
        )
        .bind(self.holder)
        .bind(sale)
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The relay's half of the work.
    pub(crate) async fn clear(&mut self) -> Result<(), Failure> {
        self.conn.execute("delete from outbox").await?;
        Ok(())
    }
}
