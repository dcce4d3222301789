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
use sqlx::{AssertSqlSafe, Connection, Postgres, Transaction};
use uuid::Uuid;

use super::errors::Fault;
use super::moves::Moves;
use super::rows::{self, allocation_columns};
use super::{closing, insert};
use crate::order_store::{AllocationRecord, OrderRecord, StoreError};

/// A sale as this transaction sees it.
#[derive(Default)]
pub(super) struct Touched {
    /// Its allocation with every move of this transaction in it, if its row is locked.
    held: Option<AllocationRecord>,
    pub(super) moves: Moves,
    pub(super) told: BTreeMap<EventKey, Told>,
    /// Orders that are inserted with all this; nothing reads them before.
    pub(super) new: Vec<OrderRecord>,
}

/// What identifies an event row of a sale: its kind, which of the orders' reservations it is about, and
/// the epoch; none stands for the epoch the allocation has when it is written.
pub(super) type EventKey = (Option<Epoch>, &'static str, bool);

#[derive(Default)]
pub(super) struct Told {
    pub(super) orders: Vec<OrderId>,
    /// Of orders that have no row.
    pub(super) facts: Vec<OrderFact>,
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
    /// Begins, and locks the allocations of `sales` until the end. A transaction locks once, all it needs:
    /// the rows are locked in their order, so two of them never wait in a ring.
    pub(super) async fn begin(
        conn: &'c mut PgConnection,
        holder: Uuid,
        sales: &BTreeSet<SaleId>,
        lost_before: bool,
    ) -> Result<Self, Fault> {
        let tx = if sales.is_empty() {
            conn.begin().await
        } else {
            // In one round trip, which cannot carry parameters. Sale ids are letters, digits and hyphens.
            let names: Vec<_> = sales.iter().map(|sale| format!("'{sale}'")).collect();
            let begin = format!(
                "begin; select 1 from allocations where sale in ({}) order by sale for update",
                names.join(",")
            );
            conn.begin_with(AssertSqlSafe(begin)).await
        };
        let tx = tx.map_err(Fault::before_anything)?;
        Ok(Self { tx, holder, lost_before, sales: BTreeMap::new() })
    }

    /// The connection, inside the transaction.
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Locks one more sale's allocation, and reads it.
    pub(super) async fn lock(&mut self, sale: &SaleId) -> Result<(), Fault> {
        let row = sqlx::query(concat!(
            "select ",
            allocation_columns!(),
            " from allocations where sale = $1
              for update"
        ))
        .bind(sale.as_str())
        .fetch_optional(&mut *self.tx)
        .await?
        .ok_or_else(|| StoreError::UnknownSale(sale.clone()))?;
        self.hold(rows::allocation(&row)?);
        Ok(())
    }

    /// Keeps the allocation of a sale that is locked.
    pub(super) fn hold(&mut self, record: AllocationRecord) {
        let sale = record.sale.clone();
        self.touched(&sale).held = Some(record);
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

    /// Inserts new orders of the sale at the end, in the statement that moves its allocation.
    pub(super) fn insert(&mut self, sale: &SaleId, new: Vec<OrderRecord>) {
        self.touched(sale).new.extend(new);
    }

    /// Inserts now what was to be inserted at the end: something is about to read it.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        for sale in self.sales.values_mut() {
            insert::all(&mut self.tx, &std::mem::take(&mut sale.new)).await?;
        }
        Ok(())
    }

    /// Writes new orders, allocations and events, and commits. Answers whether anything is to be told.
    pub(super) async fn commit(mut self) -> Result<bool, Fault> {
        let mut told = false;
        for (sale, touched) in &self.sales {
            if touched.moves.is_none() && touched.told.is_empty() {
                continue;
            }
            told |= !touched.told.is_empty();
            closing::close(&mut self.tx, self.holder, sale, touched).await?;
        }
        self.tx.commit().await?;
        Ok(told)
    }
}
