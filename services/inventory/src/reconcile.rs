//! The reconciler: finds sales whose stock state is lost or behind, reservations whose order never
//! came, and states that gateways have not heard of. It never sets a counter: it tells totals, sends
//! fences, and has lost states, and those that are wrong for good, rebuilt behind a barrier.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contract::events::Change;
use contract::internal::AllocationView;
use contract::lane::{FenceMessage, LaneMessage};
use domain::{ReservationId, SaleId, UnixMillis};
use stock::{Snapshot, StockError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::keeper::Keeper;
use crate::recover::Fault;
use crate::routes::agree;
use crate::sale_store::SaleRow;

/// Rounds from one comparison of the store's epochs with the ledger's to the next.
const LEDGER_LOOKS_EVERY: u64 = 8;
/// Looks in which both stores must stand still and disagree before the stock is rebuilt: a minute, with rounds of
/// 250 ms. Every bound on an event's way is shorter.
const DISAGREEING_LOOKS: u32 = 30;
/// Fences sent for one sale in one round at most.
const FENCES_PER_ROUND_MAX: usize = 1_000;
/// A fence that had no effect is sent again after this long.
const FENCE_AGAIN_MS: u64 = 10_000;
/// Fences remembered at most; beyond it they may be sent again sooner, which is harmless.
const FENCES_REMEMBERED_MAX: usize = 100_000;

/// What the reconciler remembers from round to round.
#[derive(Default)]
struct Memory {
    /// Rounds so far.
    rounds: u64,
    told: HashMap<SaleId, Change>,
    fenced: HashMap<ReservationId, Instant>,
    /// Sales whose stores disagree with nothing under way: what they say, and for how many looks they have.
    disagreeing: HashMap<SaleId, (Sides, u32)>,
}

/// What both stores say of a sale.
type Sides = (AllocationView, Snapshot);

impl Memory {
    /// Takes one look at both sides. True once they have stood still and disagreed for so long that no event can be on
    /// its way any more. A single lost event is thereby mended; the ledger is right in any case.
    fn disagrees_for_long(
        &mut self,
        sale: &SaleId,
        allocation: &AllocationView,
        snapshot: &Snapshot,
    ) -> bool {
        if snapshot.reserved > 0 || agree(allocation, snapshot) {
            self.disagreeing.remove(sale);
            return false;
        }
        let mut now = (allocation.clone(), *snapshot);
        // Time goes on while they stand still.
        now.1.view.now = UnixMillis(0);
        let (before, looks) = self.disagreeing.entry(sale.clone()).or_insert_with(|| (now.clone(), 0));
        if *before != now {
            (*before, *looks) = (now, 0);
        }
        *looks += 1;
        if *looks < DISAGREEING_LOOKS {
            return false;
        }
        tracing::error!(%sale, ?allocation, ?snapshot, "the stores disagree with nothing under way: an event was lost");
        metrics::counter!("seckill_stores_disagreed_total").increment(1);
        self.disagreeing.remove(sale);
        true
    }
}

/// Reconciles every sale, every `every`, until `shutdown`.
pub(crate) async fn run(keeper: Arc<Keeper>, every: Duration, shutdown: CancellationToken) {
    let mut memory = Memory::default();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        memory.rounds += 1;
        match keeper.sales.all().await {
            Ok(mut sales) => {
                let now = keeper.clock.now();
                sales.sort_by_key(|sale| urgency(sale, now));
                for sale in sales {
                    keeper.reconcile(sale, &mut memory, &shutdown).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the sales cannot be read"),
        }
        let forget = Duration::from_millis(FENCE_AGAIN_MS);
        memory.fenced.retain(|_, sent| sent.elapsed() < forget);
    }
}

/// Who is seen to first, lowest first: sales that sell, the newest crowd before the others; then those to come,
/// the soonest first; then those that are over.
fn urgency(sale: &SaleRow, now: UnixMillis) -> (u8, i64) {
    let opens_at = sale.terms.opens_at.0;
    match sale.is_over(now) {
        true => (2, opens_at.saturating_neg()),
        false if opens_at > now.0 => (1, opens_at),
        false => (0, opens_at.saturating_neg()),
    }
}

impl Keeper {
    async fn reconcile(self: &Arc<Self>, sale: SaleRow, memory: &mut Memory, shutdown: &CancellationToken) {
        match self.stock.snapshot(&sale.id).await {
            Ok(snapshot) if self.is_unfit(&sale.id, &snapshot, memory).await => {
                self.recover_soon(&sale.id, Fault::Unfit(snapshot.view.epoch), shutdown);
            }
            Ok(snapshot) => {
                self.catch_up(&sale, &snapshot).await;
                self.tell(&sale.id, &snapshot, memory).await;
                self.fence(&sale.id, memory).await;
            }
            Err(StockError::UnknownSale(_)) => self.recover_soon(&sale.id, Fault::Lost, shutdown),
            Err(error) => tracing::warn!(sale = %sale.id, %error, "the stock store does not answer"),
        }
    }

    /// Whether the store has to be written afresh though it is in force.
    ///
    /// The ledger may be in a later epoch: somebody's barrier was reached, and whoever sent it died before the store was
    /// written. What is reserved there would only be rejected. Or the two have disagreed for long with nothing under
    /// way: an event was lost for good, and its unit with it.
    async fn is_unfit(&self, sale: &SaleId, snapshot: &Snapshot, memory: &mut Memory) -> bool {
        if !memory.rounds.is_multiple_of(LEDGER_LOOKS_EVERY) {
            return false;
        }
        match self.ledger.allocation(sale).await {
            Ok(Some(allocation)) if allocation.epoch > snapshot.view.epoch => true,
            Ok(Some(allocation)) => memory.disagrees_for_long(sale, &allocation, snapshot),
            // A ledger that does not answer is no reason to stop selling.
            Ok(None) | Err(_) => false,
        }
    }

    /// Tells the ledger and the store what the row says, where they have not heard it.
    async fn catch_up(&self, sale: &SaleRow, snapshot: &Snapshot) {
        let inputs = &snapshot.view.inputs;
        let config = sale.stock_config();
        let behind = snapshot.total_version < sale.total_version
            || inputs.phase != config.phase
            || inputs.opens_at != config.opens_at
            || inputs.ends_at != config.ends_at;
        if behind && let Err(why) = self.push(sale).await {
            tracing::warn!(sale = %sale.id, %why, "a change has not reached ledger and stock store yet");
        }
    }

    /// Broadcasts the state if it has changed since the last time.
    async fn tell(&self, sale: &SaleId, snapshot: &Snapshot, memory: &mut Memory) {
        let change = snapshot.view.change;
        if memory.told.get(sale).is_none_or(|told| *told < change) {
            memory.told.insert(sale.clone(), change);
            self.broadcast_view(sale, &snapshot.view).await;
        }
    }

    /// Sends fences **down the sale's lane** for reservations that are too old: a backlog delays the
    /// fences together with the orders, and condemns none.
    async fn fence(&self, sale: &SaleId, memory: &mut Memory) {
        let age_ms = i64::try_from(self.fence_age.as_millis()).unwrap_or(i64::MAX);
        let Ok(stale) = self.stock.stale(sale, age_ms, FENCES_PER_ROUND_MAX).await else { return };
        for held in stale {
            if memory.fenced.contains_key(&held.id) {
                continue;
            }
            let fence = FenceMessage {
                reservation: held.id,
                sale: sale.clone(),
                buyer: held.buyer,
                quantity: held.quantity,
                reserved_at: held.reserved_at,
            };
            if let Err(error) = self.queue.publish(&LaneMessage::Fence(fence)).await {
                tracing::warn!(%sale, %error, "a fence could not be sent; trying again");
                return;
            }
            metrics::counter!("seckill_fences_sent_total").increment(1);
            if memory.fenced.len() < FENCES_REMEMBERED_MAX {
                memory.fenced.insert(held.id, Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::api::OrderCounts;
    use domain::{Epoch, Phase, StateInputs};
    use stock::SaleView;

    use super::*;
    use crate::sale_store::tests::sale;

    /// Both sides of a sale of ten units, at this moment.
    fn sides(taken: u32, settled: u32, reserved: u32, at: i64) -> Sides {
        let allocation = AllocationView {
            sale: "lamp".parse().unwrap(),
            total: 10,
            total_version: 1,
            epoch: Epoch(1),
            counts: OrderCounts { taken, ..OrderCounts::default() },
        };
        let free = 10 - settled - reserved;
        let inputs =
            StateInputs { phase: Phase::Active, opens_at: UnixMillis(0), ends_at: UnixMillis(1), free };
        let change = Change { epoch: 1, n: 1 };
        let view = SaleView { now: UnixMillis(at), inputs, epoch: Epoch(1), change };
        let reservations = u64::from(reserved);
        let snapshot = Snapshot { view, free, reserved, reservations, settled, total: 10, total_version: 1 };
        (allocation, snapshot)
    }

    #[test]
    fn stores_that_disagree_and_stand_still_for_long_are_found_out_and_nobody_else_is() {
        let lamp = "lamp".parse().unwrap();
        let mut memory = Memory::default();
        let mut looks = |n: u32, (taken, settled, reserved): (u32, u32, u32)| {
            let mut found = 0;
            for look in 0..n {
                let (allocation, snapshot) = sides(taken, settled, reserved, i64::from(look));
                found += u32::from(memory.disagrees_for_long(&lamp, &allocation, &snapshot));
            }
            found
        };
        assert_eq!(looks(3 * DISAGREEING_LOOKS, (4, 4, 0)), 0, "they agree");
        assert_eq!(looks(3 * DISAGREEING_LOOKS, (4, 3, 1)), 0, "an order is under way");
        assert_eq!(looks(DISAGREEING_LOOKS - 1, (4, 5, 0)), 0, "a release may be on its way");
        assert_eq!(looks(DISAGREEING_LOOKS - 1, (3, 5, 0)), 0, "something moved");
        assert_eq!(looks(1, (3, 3, 0)), 0, "it came");
        assert_eq!(looks(DISAGREEING_LOOKS, (3, 4, 0)), 1, "it never will");
    }

    #[test]
    fn the_newest_crowd_is_seen_to_first_and_what_is_over_last() {
        let of = |id: &str, opens_at, ends_at| {
            let mut row = sale(id);
            (row.terms.opens_at, row.terms.ends_at) = (UnixMillis(opens_at), UnixMillis(ends_at));
            row
        };
        let mut sales = [
            of("over", 100, 200),
            of("later", 900, 999),
            of("old", 100, 999),
            of("soon", 600, 999),
            of("new", 499, 999),
        ];
        sales.sort_by_key(|sale| urgency(sale, UnixMillis(500)));
        assert_eq!(sales.map(|sale| sale.id.to_string()), ["new", "old", "soon", "later", "over"]);
    }
}
