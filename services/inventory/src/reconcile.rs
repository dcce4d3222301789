//! The reconciler: finds sales whose stock state is lost or behind, reservations whose order never
//! came, and states that gateways have not heard of. It never sets a counter: it tells totals, sends
//! fences, and has lost states, and those that are wrong for good, rebuilt behind a barrier.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use contract::events::Change;
use contract::internal::AllocationView;
use contract::lane::{FenceMessage, LaneMessage, lane_of};
use domain::{ReservationId, SaleId, UnixMillis};
use futures_util::{StreamExt, stream};
use messaging::OrderQueue;
use service_kit::http::ClientError;
use stock::{Held, Snapshot, StockError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disagreements::{Disagreements, is_consistent};
use crate::inventory::Inventory;
use crate::recover::Fault;
use crate::sale_store::SaleRow;

/// Every so many rounds everything is looked at: also the ledger's side, sales that are over, and sales in whose stock
/// nothing is reserved (the store forgets old tombstones then).
const WHOLE_ROUND_EVERY: u64 = 8;
/// Sales looked at in the stock store at once.
const LOOKS_AT_ONCE: usize = 16;
/// Fences sent for one sale in one round at most.
const FENCES_PER_ROUND_MAX: usize = 1_000;
/// Of them those that await their confirm at once.
const FENCES_AT_ONCE: usize = 64;
/// A fence that had no effect is sent again after this long, in milliseconds, or later: when its lane has drained.
const FENCE_AGAIN_MS: u64 = 10_000;
/// A lane with so many messages in it has not drained: the fences sent before may be among them.
pub(crate) const FENCE_AGAIN_LANE_MAX: u64 = 100;
/// A fence is forgotten when nobody has found its reservation waiting for this long, in milliseconds.
const FENCE_FORGOTTEN_MS: u64 = 60_000;
/// Fences remembered at most. Of the others nobody knows whether they were sent, so they wait for a drained lane too.
const FENCES_REMEMBERED_MAX: usize = 100_000;

/// How old the ledger's oldest untold event is at most while it tells its events, in milliseconds.
const UNTOLD_MS_MAX: u32 = 10_000;

/// What the reconciler remembers from round to round.
#[derive(Default)]
struct Memory {
    /// Rounds so far.
    rounds: u64,
    told: HashMap<SaleId, Change>,
    fences: Fences,
    disagreements: Disagreements,
}

impl Memory {
    /// The first round is one.
    fn is_whole_round(&self) -> bool {
        self.rounds % WHOLE_ROUND_EVERY == 1
    }

    /// Whether this round looks at the sale.
    fn looks_at(&self, sale: &SaleRow, now: UnixMillis) -> bool {
        self.is_whole_round() || !sale.is_over(now)
    }
}

/// The fences that were sent, and how full the lanes are that they go down.
///
/// **A fence is sent again only down a lane that has drained.** Before, the first one may be in it, behind orders that
/// nobody can commit: while the ledger is away for minutes, fences sent again and again would fill the lane, and the
/// orders behind them wait for all of them. Every lane drains some day, so one that was lost is always sent again. What
/// RabbitMQ has sent ahead to a consumer elsewhere cannot be seen here; it is no more than the prefetch.
#[derive(Default)]
pub(crate) struct Fences {
    sent: HashMap<ReservationId, Fence>,
    /// Messages in each lane: as found in this round, if somebody has looked, and the fences sent since.
    lanes: Option<Vec<u64>>,
}

struct Fence {
    sent: Instant,
    /// When its reservation was last found waiting.
    found: Instant,
}

/// When a reservation's fence is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Now,
    OnceDrained,
    Later,
}

impl Fences {
    fn due(&mut self, id: ReservationId, now: Instant) -> Due {
        let is_full = self.sent.len() >= FENCES_REMEMBERED_MAX;
        let Some(fence) = self.sent.get_mut(&id) else {
            return if is_full { Due::OnceDrained } else { Due::Now };
        };
        fence.found = now;
        let since = now.saturating_duration_since(fence.sent);
        if since < Duration::from_millis(FENCE_AGAIN_MS) { Due::Later } else { Due::OnceDrained }
    }

    /// Whether the lane has drained. A queue that does not say may be full.
    async fn has_drained(&mut self, queue: &dyn OrderQueue, lane: usize) -> bool {
        if self.lanes.is_none() {
            let found = queue.lane_stats().await.unwrap_or_default();
            self.lanes = Some(found.iter().map(|lane| lane.depth + lane.in_flight).collect());
        }
        let messages = self.lanes.as_ref().and_then(|lanes| lanes.get(lane));
        messages.is_some_and(|messages| *messages < FENCE_AGAIN_LANE_MAX)
    }

    /// One more is in this lane, or will be in a moment.
    fn goes_down(&mut self, lane: usize) {
        if let Some(messages) = self.lanes.as_mut().and_then(|lanes| lanes.get_mut(lane)) {
            *messages += 1;
        }
    }

    fn was_sent(&mut self, id: ReservationId, now: Instant) {
        if self.sent.len() < FENCES_REMEMBERED_MAX || self.sent.contains_key(&id) {
            self.sent.insert(id, Fence { sent: now, found: now });
        }
    }

    /// After every sale was seen to: lanes are looked at afresh, and who waits no more is forgotten.
    pub(crate) fn end_round(&mut self, now: Instant) {
        self.lanes = None;
        let forgotten = Duration::from_millis(FENCE_FORGOTTEN_MS);
        self.sent.retain(|_, fence| now.saturating_duration_since(fence.found) < forgotten);
    }
}

/// Reconciles every sale, every `every`, until `shutdown`.
pub(crate) async fn run(inventory: Arc<Inventory>, every: Duration, shutdown: CancellationToken) {
    let mut memory = Memory::default();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        memory.rounds += 1;
        match inventory.sales.all().await {
            Ok(mut sales) => {
                let now = inventory.clock.now();
                sales.retain(|sale| memory.looks_at(sale, now));
                sales.sort_by_key(|sale| urgency(sale, now));
                // Every step is done again by the next round, so that it may be dropped.
                let round = inventory.reconcile_all(sales, &mut memory, &shutdown);
                if shutdown.run_until_cancelled(round).await.is_none() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the sales cannot be read"),
        }
        memory.fences.end_round(Instant::now());
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

impl Inventory {
    /// All sales are looked at first, side by side: a lost one waits for nobody's fences, and for no silent node.
    async fn reconcile_all(
        self: &Arc<Self>,
        sales: Vec<SaleRow>,
        memory: &mut Memory,
        shutdown: &CancellationToken,
    ) {
        let is_whole_round = memory.is_whole_round();
        let look = |sale: SaleRow| async move {
            let seen = self.stock.snapshot(&sale.id).await;
            let is_compared = is_whole_round && seen.is_ok();
            let ledger = if is_compared { Some(self.ledger.allocation(&sale.id).await) } else { None };
            (seen, ledger, sale)
        };
        let mut looks = pin!(stream::iter(sales).map(look).buffered(LOOKS_AT_ONCE));
        let mut in_force = Vec::new();
        while let Some((seen, ledger, sale)) = looks.next().await {
            match seen {
                Ok(snapshot) => in_force.push((sale, snapshot, ledger)),
                Err(StockError::UnknownSale(_)) => self.recover_soon(&sale.id, Fault::Lost, shutdown),
                Err(error) => tracing::warn!(sale = %sale.id, %error, "the stock store does not answer"),
            }
        }
        for (sale, snapshot, ledger) in in_force {
            let fault = match ledger {
                Some(ledger) => self.fault_of(&sale.id, &snapshot, ledger, &mut memory.disagreements).await,
                None => None,
            };
            if let Some(fault) = fault {
                self.recover_soon(&sale.id, fault, shutdown);
                continue;
            }
            self.catch_up(&sale, &snapshot).await;
            self.tell(&sale.id, &snapshot, memory).await;
            if is_whole_round || snapshot.reservations > 0 {
                self.fence(&sale.id, &mut memory.fences, Instant::now()).await;
            }
        }
    }

    /// Why the store has to be written afresh though it is in force, if it has to, as far as the ledger's side shows.
    async fn fault_of(
        &self,
        sale: &SaleId,
        snapshot: &Snapshot,
        ledger: Result<Option<AllocationView>, ClientError>,
        disagreements: &mut Disagreements,
    ) -> Option<Fault> {
        let epoch = snapshot.view.epoch;
        match ledger {
            Ok(Some(allocation)) if allocation.epoch > epoch => Some(Fault::Behind(epoch)),
            // While the broker is away, events wait for it, however long.
            Ok(Some(allocation))
                if is_consistent(&allocation, snapshot) || self.queue.lane_stats().await.is_ok() =>
            {
                if !disagreements.is_for_good(sale, &allocation, snapshot) || !self.has_heard_all().await {
                    return None;
                }
                let what = "the stores disagree with nothing under way: an event was lost";
                tracing::error!(%sale, ?allocation, ?snapshot, "{what}");
                metrics::counter!("seckill_stores_disagreed_total").increment(1);
                Some(Fault::Disagrees(epoch))
            }
            // A ledger that does not answer is no reason to stop selling.
            Ok(_) | Err(_) => {
                disagreements.forget(sale);
                None
            }
        }
    }

    /// Whether the ledger tells its events. Those that it cannot tell, because only the order service does not reach the
    /// broker or the broker takes nothing, are late, however late, and not lost.
    pub(crate) async fn has_heard_all(&self) -> bool {
        self.ledger.outbox().await.is_ok_and(|outbox| outbox.oldest_ms < UNTOLD_MS_MAX)
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
    pub(crate) async fn fence(&self, sale: &SaleId, fences: &mut Fences, now: Instant) {
        let age_ms = i64::try_from(self.fence_age.as_millis()).unwrap_or(i64::MAX);
        let Ok(stale) = self.stock.stale(sale, age_ms, FENCES_PER_ROUND_MAX).await else { return };
        let lane = usize::from(lane_of(sale, self.queue.lanes()));
        let mut due = Vec::new();
        for held in stale {
            let is_due = match fences.due(held.id, now) {
                Due::Now => true,
                Due::OnceDrained => fences.has_drained(&*self.queue, lane).await,
                Due::Later => false,
            };
            if is_due {
                fences.goes_down(lane);
                due.push(held);
            }
        }
        let send = |held: Held| async move {
            let reservation = held.id;
            let fence = FenceMessage {
                reservation,
                sale: sale.clone(),
                buyer: held.buyer,
                quantity: held.quantity,
                reserved_at: held.reserved_at,
            };
            (reservation, self.queue.publish(&LaneMessage::Fence(fence)).await)
        };
        let mut sending = pin!(stream::iter(due).map(send).buffer_unordered(FENCES_AT_ONCE));
        while let Some((reservation, sent)) = sending.next().await {
            if let Err(error) = sent {
                tracing::warn!(%sale, %error, "a fence could not be sent; trying again");
                return;
            }
            metrics::counter!("seckill_fences_sent_total").increment(1);
            fences.was_sent(reservation, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::OrderId;

    use super::*;
    use crate::sale_store::tests::sale;

    fn reservation(n: usize) -> ReservationId {
        ReservationId::first(OrderId::from_bytes((n as u128).to_be_bytes()))
    }

    #[test]
    fn the_first_round_is_a_whole_one_and_every_eighth_from_it() {
        let whole = (1..=20).filter(|n| Memory { rounds: *n, ..Memory::default() }.is_whole_round());
        assert_eq!(whole.collect::<Vec<_>>(), [1, 9, 17]);
    }

    #[test]
    fn what_is_over_is_looked_at_in_whole_rounds_only() {
        let sale = sale("lamp");
        let (open, over) = (sale.terms.opens_at, sale.terms.ends_at.plus(1));
        let looks = |rounds, now| Memory { rounds, ..Memory::default() }.looks_at(&sale, now);
        assert!(looks(2, open) && looks(9, open) && looks(9, over));
        assert!(!looks(2, over));
    }

    #[test]
    fn a_fence_is_remembered_as_long_as_its_reservation_waits() {
        let (mut fences, began) = (Fences::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        for n in 1..=2 {
            assert_eq!(fences.due(reservation(n), began), Due::Now);
            fences.was_sent(reservation(n), began);
        }
        for minute in 1..=10 {
            assert_eq!(fences.due(reservation(1), at(minute * 50)), Due::OnceDrained);
            fences.end_round(at(minute * 50));
        }
        assert_eq!(fences.sent.len(), 1, "the other one has settled");
    }

    #[test]
    fn a_fence_that_cannot_be_remembered_is_not_sent_round_after_round() {
        let (mut fences, now) = (Fences::default(), Instant::now());
        for n in 0..=FENCES_REMEMBERED_MAX {
            fences.was_sent(reservation(n), now);
        }
        assert_eq!(fences.sent.len(), FENCES_REMEMBERED_MAX);
        assert_eq!(fences.due(reservation(FENCES_REMEMBERED_MAX), now), Due::OnceDrained);
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
