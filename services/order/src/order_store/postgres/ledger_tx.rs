//! One write transaction of the ledger. What it does to a sale's allocation and what it has to tell is
//! gathered while it runs, and written at its end, in one statement a sale: many orders, one hot-row
//! update, and the row is locked as shortly as can be.
//!
//! Rows are locked in this order: payment events, orders, payments, allocations by sale. A batch locks
//! allocations first, and after that waits for nothing: what it inserts, nobody else can hold. So nobody
//! waits in a ring.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::{EventKind, OrderFact};
use domain::{Epoch, OrderId, OrderStatus, ReservationId, SaleId};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres, Transaction};
use uuid::Uuid;

use super::errors::Fault;
use super::moves::Moves;
use super::rows::{self, allocation_columns};
use super::work::LEASE_MS;
use crate::order_store::{AllocationRecord, OrderRecord, StoreError, rules};

/// A sale as this transaction sees it.
#[derive(Default)]
struct Touched {
    /// Its allocation with every move of this transaction in it, if its row is locked.
    held: Option<AllocationRecord>,
    moves: Moves,
    told: BTreeMap<EventKey, Told>,
}

/// What identifies an event row of a sale: its kind, which of the orders' reservations it is about, and
/// the epoch; none stands for the epoch the allocation has when it is written.
type EventKey = (Option<Epoch>, &'static str, bool);

#[derive(Default)]
struct Told {
    orders: Vec<OrderId>,
    /// Of orders that have no row.
    facts: Vec<OrderFact>,
}

/// A write transaction. Dropped without [`LedgerTx::commit`], it never was.
pub(super) struct LedgerTx<'c> {
    tx: Transaction<'c, Postgres>,
    /// Who tells what this transaction adds to the outbox.
    holder: Uuid,
    /// Whether an earlier attempt lost to another transaction: what was taken for granted then should be
    /// looked for now.
    pub(super) lost_before: bool,
    sales: BTreeMap<SaleId, Touched>,
}

impl<'c> LedgerTx<'c> {
    pub(super) async fn begin(
        conn: &'c mut PgConnection,
        holder: Uuid,
        lost_before: bool,
    ) -> Result<Self, Fault> {
        Ok(Self { tx: conn.begin().await?, holder, lost_before, sales: BTreeMap::new() })
    }

    /// The connection, inside the transaction.
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Locks the sales' allocations until the transaction ends. A transaction locks once, all it needs:
    /// the rows are locked in their order, so two of them never wait in a ring.
    pub(super) async fn lock(&mut self, sales: BTreeSet<&SaleId>) -> Result<(), Fault> {
        let names: Vec<&str> = sales.iter().map(|s| s.as_str()).collect();
        let found = sqlx::query(concat!(
            "select ",
            allocation_columns!(),
            " from allocations where sale = any($1) order by sale
              for update"
        ))
        .bind(names)
        .fetch_all(&mut *self.tx)
        .await?;
        for row in &found {
            let record = rows::allocation(row)?;
            let sale = record.sale.clone();
            self.touched(&sale).held = Some(record);
        }
        let unknown = sales.into_iter().find(|sale| self.sales.get(*sale).is_none_or(|s| s.held.is_none()));
        unknown.map_or(Ok(()), |sale| Err(StoreError::UnknownSale(sale.clone()).into()))
    }

    /// The allocation of a sale that is locked.
    pub(super) fn held(&self, sale: &SaleId) -> Result<&AllocationRecord, StoreError> {
        self.sales
            .get(sale)
            .and_then(|s| s.held.as_ref())
            .ok_or_else(|| StoreError::UnknownSale(sale.clone()))
    }

    /// An order came to `to`, from `from` or from nowhere: its units and the counters follow.
    pub(super) fn moved(&mut self, order: &OrderRecord, from: Option<OrderStatus>, to: OrderStatus) {
        debug_assert!(from.unwrap_or(OrderStatus::Queued).may_become(to), "{from:?} never becomes {to}");
        let sale = self.touched(&order.sale);
        let units = sale.moves.add(order.quantity, from, to);
        if let Some(held) = &mut sale.held {
            held.guard.taken = held.guard.taken.saturating_add_signed(units);
        }
    }

    /// Messages of another epoch than this are rejected from here on.
    pub(super) fn raise_epoch(&mut self, sale: &SaleId, to: Epoch) {
        let sale = self.touched(sale);
        sale.moves.raise_epoch(to);
        if let Some(held) = &mut sale.held {
            held.guard.epoch = to;
        }
    }

    /// Tells what became of an order, about the reservation that holds or held its units.
    pub(super) fn tell(&mut self, kind: EventKind, order: &OrderRecord) {
        self.tell_about(kind, &order.sale, order.reservation());
    }

    /// Tells something about one reservation of an order.
    pub(super) fn tell_about(&mut self, kind: EventKind, sale: &SaleId, reservation: ReservationId) {
        self.told(sale, kind, reservation.late).orders.push(reservation.order);
    }

    /// Tells something about an order that has no row.
    pub(super) fn tell_fact(&mut self, kind: EventKind, sale: &SaleId, fact: OrderFact) {
        self.told(sale, kind, fact.reservation.late).facts.push(fact);
    }

    /// Tells that the sale's epoch is what it is now.
    pub(super) fn tell_barrier(&mut self, sale: &SaleId) {
        self.told(sale, EventKind::BarrierReached, false);
    }

    fn told(&mut self, sale: &SaleId, kind: EventKind, late: bool) -> &mut Told {
        let sale = self.touched(sale);
        let epoch = sale.held.as_ref().map(|held| held.guard.epoch);
        sale.told.entry((epoch, kind.routing_key(), late)).or_default()
    }

    fn touched(&mut self, sale: &SaleId) -> &mut Touched {
        self.sales.entry(sale.clone()).or_default()
    }

    /// Writes allocations and events, and commits. Answers whether anything is to be told.
    pub(super) async fn commit(mut self) -> Result<bool, Fault> {
        let mut told = false;
        for (sale, touched) in &self.sales {
            if touched.moves.is_none() && touched.told.is_empty() {
                continue;
            }
            told |= !touched.told.is_empty();
            write(&mut self.tx, self.holder, sale, touched).await?;
        }
        self.tx.commit().await?;
        Ok(told)
    }
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

/// Moves the sale's allocation and writes its events. What is told is held by whoever committed it, for a
/// while: its own relay tells it at once.
async fn write(conn: &mut PgConnection, holder: Uuid, sale: &SaleId, touched: &Touched) -> Result<(), Fault> {
    let (moves, events) = (&touched.moves, EventRows::of(&touched.told)?);
    let done = sqlx::query(
        "with moved as (
             update allocations set taken = taken + $2, pending_payment = pending_payment + $3, paid = paid + $4,
                 cancelled = cancelled + $5, expired = expired + $6, rejected = rejected + $7,
                 refunded = refunded + $8, epoch = greatest(epoch, $9)
             where sale = $1 and $10
             returning epoch)
         insert into outbox (epoch, at, held_until, holder, late, kind, sale, orders, facts)
         select coalesce(e.epoch, (select epoch from moved), (select epoch from allocations where sale = $1)), clock.now, clock.now + $11, $12, e.late, e.kind, $1,
             $13[e.first:e.last], e.facts
         from (select seckill_now() as now) clock, unnest($14::bigint[], $15::text[], $16::boolean[], $17::text[],
             $18::integer[], $19::integer[]) as e(epoch, kind, late, facts, first, last)",
    )
    .bind(sale.as_str())
    .bind(moves.taken)
    .bind(moves.pending_payment)
    .bind(moves.paid)
    .bind(moves.cancelled)
    .bind(moves.expired)
    .bind(moves.rejected)
    .bind(moves.refunded)
    .bind(moves.epoch.map(|e| rows::signed(e.0)))
    .bind(!moves.is_none())
    .bind(LEASE_MS)
    .bind(holder)
    .bind(events.ids)
    .bind(events.epochs)
    .bind(events.kinds)
    .bind(events.late)
    .bind(events.facts)
    .bind(events.firsts)
    .bind(events.lasts)
    .execute(conn)
    .await?;
    debug_assert_eq!(done.rows_affected() > 0, !touched.told.is_empty());
    Ok(())
}
