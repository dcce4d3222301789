//! The end of a transaction: what it did to a sale, in one statement.

use std::collections::BTreeMap;

use contract::events::OrderFact;
use domain::{OrderId, SaleId};
use sqlx::Arguments;
use sqlx::postgres::{PgArguments, PgConnection};
use uuid::Uuid;

use super::errors::Fault;
use super::insert::{self, insert_orders};
use super::ledger_tx::{EventKey, Told, Touched};
use super::rows;
use super::work::LEASE_MS;
use crate::order_store::{StoreError, rules};

/// Moves the sale's allocation and writes its events. What is told is held by whoever committed it, for a
/// while: its own relay tells it at once.
macro_rules! move_and_tell {
    () => {
        "moved as (
             update allocations set taken = taken + $2, pending_payment = pending_payment + $3, paid = paid + $4,
                 cancelled = cancelled + $5, expired = expired + $6, rejected = rejected + $7,
                 refunded = refunded + $8, epoch = greatest(epoch, $9)
             where sale = $1 and $10
             returning epoch)
         insert into outbox (epoch, at, held_until, holder, late, kind, sale, orders, facts)
         select coalesce(e.epoch, (select epoch from moved), (select epoch from allocations where sale = $1)),
             clock.now, clock.now + $11, $12, e.late, e.kind, $1, $13[e.first:e.last], e.facts
         from (select seckill_now() as now) clock, unnest($14::bigint[], $15::text[], $16::boolean[], $17::text[],
             $18::integer[], $19::integer[]) as e(epoch, kind, late, facts, first, last)"
    };
}

/// Inserts the sale's new orders, moves its allocation and writes its events.
pub(super) async fn close(
    conn: &mut PgConnection,
    holder: Uuid,
    sale: &SaleId,
    touched: &Touched,
) -> Result<(), Fault> {
    let mut arguments = arguments(holder, sale, touched)?;
    insert::add(&mut arguments, &touched.new)?;
    let close = if touched.new.is_empty() {
        concat!("with ", move_and_tell!())
    } else {
        concat!(
            "with new as (",
            insert_orders!("$20" "$21" "$22" "$23" "$24" "$25" "$26" "$27" "$28" "$29"),
            "), ",
            move_and_tell!()
        )
    };
    let done = sqlx::query_with(close, arguments).execute(conn).await?;
    debug_assert_eq!(done.rows_affected() > 0, !touched.told.is_empty());
    Ok(())
}

/// The parameters of [`move_and_tell`].
fn arguments(holder: Uuid, sale: &SaleId, touched: &Touched) -> Result<PgArguments, StoreError> {
    let (moves, events) = (&touched.moves, EventRows::of(&touched.told)?);
    let mut all = PgArguments::default();
    let added = (|| {
        all.add(sale.as_str())?;
        all.add(moves.taken)?;
        all.add(moves.pending_payment)?;
        all.add(moves.paid)?;
        all.add(moves.cancelled)?;
        all.add(moves.expired)?;
        all.add(moves.rejected)?;
        all.add(moves.refunded)?;
        all.add(moves.epoch.map(|e| rows::signed(e.0)))?;
        all.add(!moves.is_none())?;
        all.add(LEASE_MS)?;
        all.add(holder)?;
        all.add(events.ids)?;
        all.add(events.epochs)?;
        all.add(events.kinds)?;
        all.add(events.late)?;
        all.add(events.facts)?;
        all.add(events.firsts)?;
        all.add(events.lasts)
    })();
    added.map_err(|e| StoreError::Refused(e.to_string()))?;
    Ok(all)
}

/// The event rows of a sale, column by column. Each is about `ids[first..=last]`, counted from 1.
#[derive(Default)]
struct EventRows {
    epochs: Vec<Option<i64>>,
    kinds: Vec<&'static str>,
    late: Vec<bool>,
    facts: Vec<Option<String>>,
    firsts: Vec<i32>,
    lasts: Vec<i32>,
    ids: Vec<Uuid>,
}

impl EventRows {
    fn of(told: &BTreeMap<EventKey, Told>) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for (key, told) in told {
            // A barrier names no order, and is still one event.
            let mut chunks = told.orders.chunks(rules::EVENT_ORDERS_MAX);
            rows.add(*key, chunks.next().unwrap_or(&[]), &told.facts)?;
            for orders in chunks {
                rows.add(*key, orders, &[])?;
            }
        }
        Ok(rows)
    }

    fn add(
        &mut self,
        (epoch, kind, late): EventKey,
        orders: &[OrderId],
        facts: &[OrderFact],
    ) -> Result<(), StoreError> {
        let position = |n: usize| i32::try_from(n).map_err(|e| StoreError::Refused(e.to_string()));
        let json = |facts| serde_json::to_string(facts).map_err(|e| StoreError::Refused(e.to_string()));
        self.epochs.push(epoch.map(|e| rows::signed(e.0)));
        self.kinds.push(kind);
        self.late.push(late);
        self.facts.push(if facts.is_empty() { None } else { Some(json(facts)?) });
        self.firsts.push(position(self.ids.len() + 1)?);
        self.ids.extend(orders.iter().copied().map(rows::key));
        self.lasts.push(position(self.ids.len())?);
        Ok(())
    }
}
