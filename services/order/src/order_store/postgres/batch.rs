//! Committing a lane's batch: orders, fences and barriers, in lane order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use contract::events::EventKind;
use contract::lane::{BarrierMessage, LaneMessage, OrderMessage};
use domain::{BuyerId, Claim, Epoch, OrderId, SaleId, UnixMillis, decide};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments, Row};
use uuid::Uuid;

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::{Write, fences, rows};
use crate::order_store::{BatchOutcome, OrderRecord, StoreError, rules};

pub(super) struct CommitBatch(pub(super) Vec<LaneMessage>);

#[async_trait]
impl Write for CommitBatch {
    type Out = BatchOutcome;

    /// Neighbours of one kind go together; what separates them keeps its place in the lane.
    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<BatchOutcome, Fault> {
        let mut outcome = BatchOutcome::default();
        if self.0.is_empty() {
            return Ok(outcome);
        }
        // Whoever decides about a sale's units holds its allocation; what is read after this, nobody
        // else changes.
        tx.lock(self.0.iter().map(sale).collect()).await?;
        for run in self.0.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            let mut orders = BTreeMap::<&SaleId, Vec<&OrderMessage>>::new();
            for message in run {
                match message {
                    LaneMessage::Order(m) => orders.entry(&m.sale).or_default().push(m),
                    LaneMessage::Fence(m) => {
                        outcome.fences += 1;
                        fences::close(tx, m).await?;
                    }
                    LaneMessage::Barrier(m) => {
                        outcome.barriers += 1;
                        pass_barrier(tx, m)?;
                    }
                }
            }
            take(tx, &orders, &mut outcome).await?;
        }
        Ok(outcome)
    }
}

fn sale(message: &LaneMessage) -> &SaleId {
    match message {
        LaneMessage::Order(m) => &m.sale,
        LaneMessage::Fence(m) => &m.sale,
        LaneMessage::Barrier(m) => &m.sale,
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
    outcome: &mut BatchOutcome,
) -> Result<(), Fault> {
    if orders.is_empty() {
        return Ok(());
    }
    let before = Before::read(tx, orders).await?;
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
            let inserted = insert_unknown(tx.conn(), &new).await?;
            new.retain(|order| inserted.contains(&order.id));
        } else {
            insert(tx.conn(), &new).await?;
        }
        outcome.duplicates += (messages.len() - new.len()) as u64;
        for order in &new {
            let holds = order.status.holds_units();
            *(if holds { &mut outcome.taken } else { &mut outcome.rejected }) += 1;
            tx.moved(order, None, order.status);
            tx.tell(if holds { EventKind::OrderPlaced } else { EventKind::OrderRejected }, order);
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
    /// The units that each of the run's buyers holds.
    live_units: HashMap<SaleId, HashMap<BuyerId, u32>>,
}

impl Before {
    /// Looking for every order costs as much as a third of the insert, and nearly all are new: what comes
    /// again comes first, or is a batch cut otherwise than before. So the ends are looked for, and all
    /// only if one of them is known. A known order between two new ones fails the insert, and the
    /// transaction is made again, looking for all.
    async fn read(
        tx: &mut LedgerTx<'_>,
        orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>,
    ) -> Result<Self, Fault> {
        let ids = || orders.values().flatten().map(|m| rows::key(m.order));
        if !tx.lost_before {
            let ends = orders.values().flat_map(|of_sale| [of_sale.first(), of_sale.last()]);
            let ends = ends.flatten().map(|m| rows::key(m.order)).collect();
            let before = Self::looking_for(tx.conn(), ends, orders).await?;
            if before.known.is_empty() {
                return Ok(before);
            }
        }
        let before = Self::looking_for(tx.conn(), ids().collect(), orders).await?;
        Ok(Self { expects_known: true, ..before })
    }

    async fn looking_for(
        conn: &mut PgConnection,
        ids: Vec<Uuid>,
        orders: &BTreeMap<&SaleId, Vec<&OrderMessage>>,
    ) -> Result<Self, Fault> {
        let buyers: BTreeSet<&str> = orders.values().flatten().map(|m| m.buyer.as_str()).collect();
        let found = sqlx::query(
            "select seckill_now() as now, null::uuid as id, null::text as sale, null::text as buyer,
                 null::bigint as units
             union all
             select null, id, null, null, null from orders where id = any($1)
             union all
             select null, null, sale, buyer, sum(quantity)::bigint from orders
             where buyer = any($2) and sale = any($3) and status in ('pending_payment', 'paid')
             group by sale, buyer",
        )
        .bind(ids)
        .bind(buyers.into_iter().collect::<Vec<_>>())
        .bind(orders.keys().map(|sale| sale.as_str()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
        let (mut now, mut known, mut live_units) = (UnixMillis(0), HashSet::new(), HashMap::new());
        for row in &found {
            if let Some(millis) = row.try_get("now")? {
                now = UnixMillis(millis);
            } else if let Some(id) = row.try_get("id")? {
                known.insert(rows::id_of(id));
            } else {
                let of_sale: &mut HashMap<_, _> = live_units.entry(rows::text(row, "sale")?).or_default();
                of_sale.insert(rows::text(row, "buyer")?, rows::number(row, "units")?);
            }
        }
        Ok(Self { now, known, expects_known: false, live_units })
    }
}

/// The insert of rows of one sale; its parameters are [`columns`].
macro_rules! insert_orders {
    () => {
        "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status, reason)
         select id, quantity, amount_cents, created_at, $1, $2, buyer, $3, status, reason
         from unnest($4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[])
             as o(id, quantity, amount_cents, created_at, buyer, status, reason)"
    };
}

/// Rows of one sale, column by column.
fn columns<'q>(first: &'q OrderRecord, orders: &'q [OrderRecord]) -> Result<PgArguments, StoreError> {
    let column = |of: fn(&OrderRecord) -> i64| orders.iter().map(of).collect::<Vec<_>>();
    let texts = |of: fn(&'q OrderRecord) -> &'q str| orders.iter().map(of).collect::<Vec<_>>();
    let mut all = PgArguments::default();
    let added = (|| {
        all.add(first.pay_by.0)?;
        all.add(first.sale.as_str())?;
        all.add(first.amount.currency.as_str())?;
        all.add(orders.iter().map(|o| rows::key(o.id)).collect::<Vec<_>>())?;
        all.add(column(|o| i64::from(o.quantity)))?;
        all.add(column(|o| o.amount.cents))?;
        all.add(column(|o| o.created_at.0))?;
        all.add(texts(|o| o.buyer.as_str()))?;
        all.add(texts(|o| o.status.as_str()))?;
        all.add(orders.iter().map(|o| o.reason.as_deref()).collect::<Vec<_>>())
    })();
    added.map_err(|e| StoreError::Refused(e.to_string()))?;
    Ok(all)
}

/// Inserts all of the rows; fails if one is there.
async fn insert(conn: &mut PgConnection, orders: &[OrderRecord]) -> Result<(), Fault> {
    if let Some(first) = orders.first() {
        sqlx::query_with(insert_orders!(), columns(first, orders)?).execute(conn).await?;
    }
    Ok(())
}

/// Inserts those of the rows that are not there and answers the ids it really inserted.
pub(super) async fn insert_unknown(
    conn: &mut PgConnection,
    orders: &[OrderRecord],
) -> Result<HashSet<OrderId>, Fault> {
    let Some(first) = orders.first() else { return Ok(HashSet::new()) };
    let insert = concat!(insert_orders!(), " on conflict (id) do nothing returning id");
    let inserted: Vec<Uuid> =
        sqlx::query_scalar_with(insert, columns(first, orders)?).fetch_all(conn).await?;
    Ok(inserted.into_iter().map(rows::id_of).collect())
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
