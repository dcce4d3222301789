//! Committing a lane's batch: orders, fences and barriers, in lane order.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use contract::events::EventKind;
use contract::lane::{BarrierMessage, LaneMessage, OrderMessage};
use domain::{BuyerId, Claim, Epoch, OrderId, SaleId, decide};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::ledger_tx::LedgerTx;
use super::{fences, rows, writer::Write};
use crate::order_store::{BatchOutcome, OrderRecord, StoreError, rules};

pub(super) struct CommitBatch(pub(super) Vec<LaneMessage>);

#[async_trait]
impl Write for CommitBatch {
    type Out = BatchOutcome;

    /// Neighbours of one kind go together; what separates them keeps its place in the lane.
    async fn run(&self, tx: &mut LedgerTx) -> Result<BatchOutcome, StoreError> {
        let mut outcome = BatchOutcome::default();
        for run in self.0.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            let mut orders = BTreeMap::<&SaleId, Vec<&OrderMessage>>::new();
            let mut fenced = Vec::new();
            let known = known_ids(tx.conn(), run).await?;
            for message in run {
                match message {
                    LaneMessage::Order(m) => orders.entry(&m.sale).or_default().push(m),
                    LaneMessage::Fence(m) => fenced.push(m),
                    LaneMessage::Barrier(m) => {
                        outcome.barriers += 1;
                        pass_barrier(tx, m).await?;
                    }
                }
            }
            if !fenced.is_empty() {
                outcome.fences += fenced.len() as u64;
                fences::close(tx, &fenced).await?;
            }
            // Sales are locked in their order, whatever the lane's: two batches never wait in a ring.
            for (sale, messages) in orders {
                take(tx, sale, &messages, &known, &mut outcome).await?;
            }
        }
        Ok(outcome)
    }
}

async fn pass_barrier(tx: &mut LedgerTx, barrier: &BarrierMessage) -> Result<(), StoreError> {
    let held = tx.sale(&barrier.sale).await?;
    // A barrier that comes again finds the epoch risen.
    if held.record.guard.epoch <= barrier.above {
        held.raise_epoch(Epoch(barrier.above.0 + 1));
    }
    tx.tell_barrier(&barrier.sale).await
}

async fn take(
    tx: &mut LedgerTx,
    sale: &SaleId,
    messages: &[&OrderMessage],
    known: &HashSet<OrderId>,
    outcome: &mut BatchOutcome,
) -> Result<(), StoreError> {
    let allocation = tx.sale(sale).await?.record.clone();
    let live = live_units(tx.conn(), sale, messages.iter().map(|m| &m.buyer)).await?;
    let claims: Vec<Claim> = messages.iter().map(|m| rules::claim(m)).collect();
    let decisions = decide(&allocation.guard, &claims, known, &live);

    let mut new = HashMap::with_capacity(messages.len());
    let mut in_order = Vec::with_capacity(messages.len());
    for (message, decision) in messages.iter().zip(decisions) {
        if let Some(order) = rules::row_of(tx.now, &allocation, message, decision)? {
            in_order.push(order.id);
            new.insert(order.id, order);
        }
    }
    let inserted = insert(tx.conn(), in_order.iter().map(|id| &new[id])).await?;
    outcome.duplicates += (messages.len() - inserted.len()) as u64;
    for id in inserted {
        let Some(order) = new.remove(&id) else { continue };
        if order.status.holds_units() {
            outcome.taken += 1;
        } else {
            outcome.rejected += 1;
        }
        tx.moved(&order, None, order.status).await?;
        let kind = if order.status.holds_units() { EventKind::OrderPlaced } else { EventKind::OrderRejected };
        tx.tell(kind, &order).await?;
    }
    Ok(())
}

/// Those of the run's orders that have a row already, in whichever sale.
async fn known_ids(conn: &mut SqliteConnection, run: &[LaneMessage]) -> Result<HashSet<OrderId>, StoreError> {
    let order = |message: &LaneMessage| match message {
        LaneMessage::Order(m) => Some(m.order),
        LaneMessage::Fence(_) | LaneMessage::Barrier(_) => None,
    };
    let ids = rows::ids_json(run.iter().filter_map(order));
    let found = sqlx::query("select id from orders where id in (select unhex(value) from json_each(?1))")
        .bind(ids)
        .fetch_all(conn)
        .await?;
    found.iter().map(|row| rows::order_id(row, "id")).collect()
}

/// What each of the buyers holds of the sale.
pub(super) const LIVE_UNITS: &str = "select buyer, sum(quantity) as units from orders
     where buyer in (select value from json_each(?1)) and sale = ?2 and status in ('pending_payment', 'paid')
     group by buyer";

/// The units that each of the buyers holds of the sale.
pub(super) async fn live_units<'a>(
    conn: &mut SqliteConnection,
    sale: &SaleId,
    buyers: impl Iterator<Item = &'a BuyerId>,
) -> Result<HashMap<BuyerId, u32>, StoreError> {
    let buyers: Vec<&str> = buyers.map(BuyerId::as_str).collect();
    let buyers = serde_json::to_string(&buyers).map_err(|e| StoreError::Refused(e.to_string()))?;
    let found = sqlx::query(LIVE_UNITS).bind(buyers).bind(sale.as_str()).fetch_all(conn).await?;
    found.iter().map(|row| Ok((rows::text(row, "buyer")?, rows::number(row, "units")?))).collect()
}

/// Inserts the rows in one statement and answers the ids it really inserted.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    orders: impl Iterator<Item = &OrderRecord>,
) -> Result<Vec<OrderId>, StoreError> {
    let values: Vec<_> = orders
        .map(|o| {
            let (id, amount) = (hex::encode(o.id.to_bytes()), &o.amount);
            let who =
                (id, o.sale.as_str(), o.buyer.as_str(), o.quantity, amount.cents, amount.currency.as_str());
            (who, o.status.as_str(), o.reason.as_deref(), o.created_at.0, o.pay_by.0)
        })
        .collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let values = serde_json::to_string(&values).map_err(|e| StoreError::Refused(e.to_string()))?;
    let inserted = sqlx::query(
        "insert into orders (id, sale, buyer, quantity, amount_cents, currency, status, reason, created_at, pay_by)
         select unhex(value ->> '$[0][0]'), value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]',
             value ->> '$[0][4]', value ->> '$[0][5]', value ->> 1, value ->> 2, value ->> 3, value ->> 4
         from json_each(?1) where true
         on conflict (id) do nothing
         returning id",
    )
    .bind(values)
    .fetch_all(conn)
    .await?;
    inserted
        .iter()
        .map(|row| {
            Ok(OrderId::from_bytes(
                row.try_get::<&[u8], _>("id")?
                    .try_into()
                    .map_err(|_| StoreError::Refused("an order id is not 16 bytes".into()))?,
            ))
        })
        .collect()
}
