//! One write transaction of the ledger. It moves each sale's allocation in memory while it runs,
//! and writes every allocation and every event once, at its end: many orders, one hot-row update.

use std::collections::BTreeMap;

use contract::events::{EventKind, OrderFact};
use domain::{Epoch, OrderStatus, SaleId, UnixMillis};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, Transaction};

use super::rows;
use crate::order_store::{AllocationRecord, OrderRecord, StoreError, rules};

/// A sale's allocation as this transaction sees it.
pub(super) struct Held {
    /// With every move of this transaction in it.
    pub(super) record: AllocationRecord,
    changed: bool,
}

/// What identifies an event row: one per sale, kind and epoch.
type EventKey = (SaleId, Epoch, &'static str);

/// A write transaction. Dropped without [`LedgerTx::commit`], it never was.
pub(super) struct LedgerTx {
    tx: Transaction<'static, Sqlite>,
    /// The database clock: one moment for the whole transaction, read under the write lock.
    pub(super) now: UnixMillis,
    held: BTreeMap<SaleId, Held>,
    told: BTreeMap<EventKey, Vec<OrderFact>>,
}

impl LedgerTx {
    pub(super) fn new(tx: Transaction<'static, Sqlite>, now: UnixMillis) -> Self {
        Self { tx, now, held: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// The connection, inside the transaction.
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    /// The sale's allocation, locked until the transaction ends.
    pub(super) async fn sale(&mut self, sale: &SaleId) -> Result<&mut Held, StoreError> {
        if !self.held.contains_key(sale) {
            let row = sqlx::query("select * from allocations where sale = ?1")
                .bind(sale.as_str())
                .fetch_optional(&mut *self.tx)
                .await?
                .ok_or_else(|| StoreError::UnknownSale(sale.clone()))?;
            let held = Held { record: rows::allocation(&row)?, changed: false };
            self.held.insert(sale.clone(), held);
        }
        self.held.get_mut(sale).ok_or_else(|| StoreError::UnknownSale(sale.clone()))
    }

    /// The sale's terms were changed by a statement of this transaction: reads them again, keeping the
    /// moves that are not written yet.
    pub(super) async fn terms_changed(&mut self, sale: &SaleId) -> Result<AllocationRecord, StoreError> {
        let moved = self.held.remove(sale);
        let now = self.sale(sale).await?;
        if let Some(moved) = moved {
            now.record.guard.taken = moved.record.guard.taken;
            now.record.guard.epoch = moved.record.guard.epoch;
            now.record.counts = moved.record.counts;
            now.changed = moved.changed;
        }
        Ok(now.record.clone())
    }

    /// An order came to `to`, from `from` or from nowhere: its units and the counters follow.
    pub(super) async fn moved(
        &mut self,
        order: &OrderRecord,
        from: Option<OrderStatus>,
        to: OrderStatus,
    ) -> Result<(), StoreError> {
        debug_assert!(from.unwrap_or(OrderStatus::Queued).may_become(to), "{from:?} never becomes {to}");
        self.sale(&order.sale).await?.moved(order.quantity, from, to)
    }

    /// Tells what became of an order, about the reservation that holds or held its units.
    pub(super) async fn tell(&mut self, kind: EventKind, order: &OrderRecord) -> Result<(), StoreError> {
        self.tell_fact(kind, &order.sale, order.fact(order.reservation())).await
    }

    /// Tells a fact of one order.
    pub(super) async fn tell_fact(
        &mut self,
        kind: EventKind,
        sale: &SaleId,
        fact: OrderFact,
    ) -> Result<(), StoreError> {
        let epoch = self.sale(sale).await?.record.guard.epoch;
        self.told.entry((sale.clone(), epoch, kind.routing_key())).or_default().push(fact);
        Ok(())
    }

    /// Tells that the sale's epoch is what it is now.
    pub(super) async fn tell_barrier(&mut self, sale: &SaleId) -> Result<(), StoreError> {
        let epoch = self.sale(sale).await?.record.guard.epoch;
        self.told.entry((sale.clone(), epoch, EventKind::BarrierReached.routing_key())).or_default();
        Ok(())
    }

    /// Writes allocations and events, and commits. Answers whether anything is to be told.
    pub(super) async fn commit(mut self) -> Result<bool, StoreError> {
        for (sale, held) in &self.held {
            if held.changed {
                write_allocation(&mut self.tx, sale, &held.record).await?;
            }
        }
        for ((sale, epoch, kind), facts) in &self.told {
            // A barrier names no order, and is still one event.
            let mut chunks = facts.chunks(rules::EVENT_ORDERS_MAX);
            let first = chunks.next().unwrap_or(&[]);
            for facts in std::iter::once(first).chain(chunks) {
                write_event(&mut self.tx, (sale, *epoch, kind), self.now, facts).await?;
            }
        }
        let told = !self.told.is_empty();
        self.tx.commit().await?;
        Ok(told)
    }
}

impl Held {
    fn moved(&mut self, quantity: u32, from: Option<OrderStatus>, to: OrderStatus) -> Result<(), StoreError> {
        let out_of_range = || StoreError::Refused("the allocation's counters do not add up".into());
        let held_before = from.is_some_and(OrderStatus::holds_units);
        let taken = &mut self.record.guard.taken;
        match (held_before, to.holds_units()) {
            (false, true) => *taken = taken.checked_add(quantity).ok_or_else(out_of_range)?,
            (true, false) => *taken = taken.checked_sub(quantity).ok_or_else(out_of_range)?,
            _ => {}
        }
        if let Some(from) = from.and_then(|status| self.counter(status)) {
            *from = from.checked_sub(1).ok_or_else(out_of_range)?;
        }
        if let Some(to) = self.counter(to) {
            *to += 1;
        }
        self.changed = true;
        Ok(())
    }

    fn counter(&mut self, status: OrderStatus) -> Option<&mut u64> {
        let counts = &mut self.record.counts;
        match status {
            OrderStatus::Queued => None,
            OrderStatus::PendingPayment => Some(&mut counts.pending_payment),
            OrderStatus::Paid => Some(&mut counts.paid),
            OrderStatus::Cancelled => Some(&mut counts.cancelled),
            OrderStatus::Expired => Some(&mut counts.expired),
            OrderStatus::Rejected => Some(&mut counts.rejected),
            OrderStatus::Refunded => Some(&mut counts.refunded),
        }
    }

    /// Messages of another epoch than this are rejected from here on.
    pub(super) fn raise_epoch(&mut self, to: Epoch) {
        self.record.guard.epoch = to;
        self.changed = true;
    }
}

async fn write_allocation(
    conn: &mut SqliteConnection,
    sale: &SaleId,
    record: &AllocationRecord,
) -> Result<(), StoreError> {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let counts = &record.counts;
    sqlx::query(
        "update allocations set taken = ?2, epoch = ?3, pending_payment = ?4, paid = ?5, cancelled = ?6,
             expired = ?7, rejected = ?8, refunded = ?9
         where sale = ?1",
    )
    .bind(sale.as_str())
    .bind(record.guard.taken)
    .bind(signed(record.guard.epoch.0))
    .bind(signed(counts.pending_payment))
    .bind(signed(counts.paid))
    .bind(signed(counts.cancelled))
    .bind(signed(counts.expired))
    .bind(signed(counts.rejected))
    .bind(signed(counts.refunded))
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_event(
    conn: &mut SqliteConnection,
    (sale, epoch, kind): (&SaleId, Epoch, &'static str),
    at: UnixMillis,
    facts: &[OrderFact],
) -> Result<(), StoreError> {
    let orders = serde_json::to_string(facts).map_err(|e| StoreError::Refused(e.to_string()))?;
    sqlx::query("insert into outbox (kind, sale, epoch, at, orders) values (?1, ?2, ?3, ?4, ?5)")
        .bind(kind)
        .bind(sale.as_str())
        .bind(i64::try_from(epoch.0).unwrap_or(i64::MAX))
        .bind(at.0)
        .bind(orders)
        .execute(conn)
        .await?;
    Ok(())
}
