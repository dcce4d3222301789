//! Committing a lane's batch: orders, fences and barriers, in lane order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use contract::events::EventKind;
use contract::lane::{BarrierMessage, LaneMessage, OrderMessage};
use domain::{BuyerId, Claim, Epoch, OrderId, SaleId, UnixMillis, decide};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::rows::allocation_numbers;
use super::{Write, fences, insert, rows};
use crate::order_store::{BatchOutcome, StoreError, rules};

pub(super) struct CommitBatch(pub(super) Vec<LaneMessage>);

#[async_trait]
impl Write for CommitBatch {
    type Out = BatchOutcome;

    /// Whoever decides about a sale's units holds its allocation; what is read after that, nobody else
    /// changes.
    fn sales(&self) -> BTreeSet<SaleId> {
        self.0.iter().map(LaneMessage::sale).cloned().collect()
    }

    /// Neighbours of one kind go together; what separates them keeps its place in the lane.
    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<BatchOutcome, Fault> {
        let mut outcome = BatchOutcome::default();
        let sales = self.sales();
        let mut to_hold: Vec<&str> = sales.iter().map(SaleId::as_str).collect();
        if !matches!(self.0.first(), Some(LaneMessage::Order(_))) {
            for sale in &sales {
                tx.lock(sale).await?;
            }
            to_hold.clear();
        }
        for run in self.0.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            tx.flush().await?;
            let mut orders = BTreeMap::<&SaleId, Vec<&OrderMessage>>::new();
            let mut fenced = Vec::new();
            for message in run {
                match message {
                    LaneMessage::Order(m) => orders.entry(&m.sale).or_default().push(m),
                    LaneMessage::Fence(m) => fenced.push(m),
                    LaneMessage::Barrier(m) => {
                        outcome.barriers += 1;
                        pass_barrier(tx, m)?;
                    }
                }
            }
            if !fenced.is_empty() {
                outcome.fences += fenced.len() as u64;
                fences::close(tx, &fenced).await?;
            }
            if !orders.is_empty() {
                take(tx, &orders, std::mem::take(&mut to_hold), &mut outcome).await?;
            }
        }
        Ok(outcome)
    }
}

fn pass_barrier(tx: &mut LedgerTx<'_>, barrier: &BarrierMessage) -> Result<(), StoreError> {
    // A barrier that comes again finds the epoch risen.
    if tx.held(&barrier.sale)?.guard.epoch <= barrier.above {
        tx.raise_epoch(&barrier.sale, Epoch(barrier.above.0 + 1));
    }
    tx.tell_barrier(&barrier.sale);
    Ok(())
}

async fn take(
    tx: &mut LedgerTx<'_>,
    orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>,
    to_hold: Vec<&str>,
    outcome: &mut BatchOutcome,
) -> Result<(), Fault> {
    let before = Before::read(tx, orders, to_hold).await?;
    let none = HashMap::new();
    for (sale, messages) in orders {
        let allocation = tx.held(sale)?;
        let live = before.live_units.get(*sale).unwrap_or(&none);
        let claims: Vec<Claim> = messages.iter().map(|m| rules::claim(m)).collect();
        let decisions = decide(&allocation.guard, &claims, &before.known, live);
        let mut new = Vec::with_capacity(messages.len());
        for (message, decision) in messages.iter().zip(decisions) {
            new.extend(rules::row_of(before.now, allocation, message, decision)?);
        }
        if before.expects_known {
            let inserted = insert::unknown(tx.conn(), &new).await?;
            new.retain(|order| inserted.contains(&order.id));
        }
        outcome.duplicates += (messages.len() - new.len()) as u64;
        for order in &new {
            let holds = order.status.holds_units();
            *(if holds { &mut outcome.taken } else { &mut outcome.rejected }) += 1;
            tx.moved(order, None, order.status);
            tx.tell(if holds { EventKind::OrderPlaced } else { EventKind::OrderRejected }, order);
        }
        if !before.expects_known {
            tx.insert(sale, new);
        }
    }
    Ok(())
}

/// What the ledger knew before a run of orders.
struct Before {
    now: UnixMillis,
    /// Those of the run's orders that have a row already, in whichever sale.
    known: HashSet<OrderId>,
    /// Whether every order was looked for; else none is expected to be known.
    expects_known: bool,
    /// The units that each of the run's buyers holds who has an order in the sale.
    live_units: HashMap<SaleId, HashMap<BuyerId, u32>>,
}

impl Before {
    /// Reads it, and the allocations of the sales `to_hold`, whose rows are locked.
    ///
    /// Looking for every order costs as much as a third of the insert, and nearly all are new: what comes
    /// again comes first, or is a batch cut otherwise than before. So the ends are looked for, and those whose buyer has
    /// an order already: a gateway that had no confirm in time sends an order once more, and it stands anywhere. If one
    /// of them is known, all are looked for. **An insert of a known id would wait for whoever is changing that order**,
    /// and who changes it waits for the allocation that this transaction holds.
    async fn read(
        tx: &mut LedgerTx<'_>,
        orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>,
        to_hold: Vec<&str>,
    ) -> Result<Self, Fault> {
        if !tx.lost_before {
            let before = Self::looking_for(tx, ends(orders), orders, to_hold.clone()).await?;
            if before.known.is_empty() && !is_any_known(tx.conn(), before.of_known_buyers(orders)).await? {
                return Ok(before);
            }
        }
        let before = Self::looking_for(tx, ids(orders), orders, to_hold).await?;
        Ok(Self { expects_known: true, ..before })
    }

    async fn looking_for(
        tx: &mut LedgerTx<'_>,
        ids: Vec<Uuid>,
        orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>,
        to_hold: Vec<&str>,
    ) -> Result<Self, Fault> {
        let buyers: Vec<&str> = orders.values().flatten().map(|m| m.buyer.as_str()).collect();
        let found = sqlx::query(concat!(
            "select seckill_now() as now, null::uuid as id, null::text as sale, null::text as buyer,
                 null::bigint as units, null::text as currency, null::bigint[] as numbers
             union all
             select null, id, null, null, null, null, null from orders where id = any($1)
             union all
             select null, null, sale, buyer,
                 coalesce(sum(quantity) filter (where status in ('pending_payment', 'paid')), 0)::bigint, null, null
             from orders
             where buyer = any($2) and sale = any($3)
             group by sale, buyer
             union all
             select null, null, sale, null, null, currency, array[",
            allocation_numbers!(),
            "] from allocations where sale = any($4)"
        ))
        .bind(ids)
        .bind(buyers)
        .bind(orders.keys().map(|sale| sale.as_str()).collect::<Vec<_>>())
        .bind(to_hold)
        .fetch_all(tx.conn())
        .await?;
        let (mut now, mut known, mut live_units) = (UnixMillis(0), HashSet::new(), HashMap::new());
        for row in &found {
            if let Some(millis) = row.try_get("now")? {
                now = UnixMillis(millis);
            } else if let Some(id) = row.try_get("id")? {
                known.insert(rows::id_of(id));
            } else if let Some(numbers) = row.try_get("numbers")? {
                tx.hold(rows::allocation_of(row, numbers)?);
            } else {
                let of_sale: &mut HashMap<_, _> = live_units.entry(rows::text(row, "sale")?).or_default();
                of_sale.insert(rows::text(row, "buyer")?, rows::number(row, "units")?);
            }
        }
        Ok(Self { now, known, expects_known: false, live_units })
    }

    /// Those of the run's orders whose buyer has an order in their sale.
    fn of_known_buyers(&self, orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>) -> Vec<Uuid> {
        let is_known = |m: &&&OrderMessage| {
            self.live_units.get(&m.sale).is_some_and(|of_sale| of_sale.contains_key(&m.buyer))
        };
        orders.values().flatten().filter(is_known).map(|m| rows::key(m.order)).collect()
    }
}

async fn is_any_known(conn: &mut PgConnection, ids: Vec<Uuid>) -> Result<bool, Fault> {
    if ids.is_empty() {
        return Ok(false);
    }
    let known = sqlx::query_scalar("select exists (select from orders where id = any($1))");
    Ok(known.bind(ids).fetch_one(conn).await?)
}

fn ids(orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>) -> Vec<Uuid> {
    orders.values().flatten().map(|m| rows::key(m.order)).collect()
}

fn ends(orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>) -> Vec<Uuid> {
    let ends = orders.values().flat_map(|of_sale| [of_sale.first(), of_sale.last()]).flatten();
    ends.map(|m| rows::key(m.order)).collect()
}

/// The units that a buyer holds of the sale.
pub(super) async fn live_units(
    conn: &mut PgConnection,
    sale: &SaleId,
    buyer: &BuyerId,
) -> Result<HashMap<BuyerId, u32>, StoreError> {
    let row = sqlx::query(
        "select coalesce(sum(quantity), 0)::bigint as units from orders
         where buyer = $1 and sale = $2 and status in ('pending_payment', 'paid')",
    )
    .bind(buyer.as_str())
    .bind(sale.as_str())
    .fetch_one(conn)
    .await?;
    Ok(HashMap::from([(buyer.clone(), rows::number(&row, "units")?)]))
}
