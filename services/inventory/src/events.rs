//! Settles and releases what the ledger has decided, by order id, in any order of arrival.
//!
//! Events of a sale whose stock state is lost stay unacknowledged until it is rebuilt; those of other
//! sales behind them go on, and are acknowledged one by one.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contract::events::{Event, EventKind, SaleNews};
use domain::{ReservationId, SaleId};
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use messaging::{Consumer, Delivery, QueueError, Subscription};
use stock::StockError;
use tokio_util::sync::CancellationToken;

use crate::inventory::Inventory;
use crate::sale_store::SaleStoreError;

/// Events taken at once.
const BATCH_MAX: usize = 64;
/// Events held unacknowledged at most, which are those that wait for the stock store: as many as RabbitMQ sends ahead of
/// acknowledgements, unless it is told otherwise.
///
/// **When so many wait, no more are taken, of any sale, until one of them is done**: settles and releases stand still.
/// Nothing is lost, for they stay in the queue; buyers go on buying what is free. An error in the log says so, and
/// `seckill_inventory_sales_waited_for` has been above zero for long by then. With a smaller `SECKILL_PREFETCH` the broker
/// sends no more before it comes to this.
pub(crate) const HELD_MAX: usize = 2_000;
/// Sales whose events are applied at once.
const SALES_AT_ONCE: usize = 16;
/// Releases of one event under way at once.
pub(crate) const RELEASING_MAX: usize = 32;
/// How often events that wait for a rebuild are tried again.
const RETRY_MS: u64 = 100;
/// Waiting time after the broker failed.
const RECONNECT_MS: u64 = 250;

/// Consumes the subscription until `shutdown`.
pub(crate) async fn run(inventory: Arc<Inventory>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let consumer = tokio::select! {
            consumer = inventory.bus.consume(Subscription::Inventory) => consumer,
            () = shutdown.cancelled() => return,
        };
        let failed = match consumer {
            Ok(consumer) => consume(&inventory, consumer, &shutdown).await,
            Err(error) => Err(error),
        };
        if let Err(error) = failed {
            tracing::warn!(%error, "events cannot be consumed; trying again");
            shutdown.run_until_cancelled(tokio::time::sleep(Duration::from_millis(RECONNECT_MS))).await;
        }
    }
}

/// Why an event is not done yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Waits {
    /// The stock store has lost the sale, or does not answer.
    #[error(transparent)]
    Store(#[from] StockError),
    /// The store is about to be written for the event's epoch.
    #[error("epoch {in_force} is in force, and the event is of epoch {of}")]
    Rebuild {
        /// The store's.
        in_force: u64,
        /// The event's.
        of: u64,
    },
}

/// An event not acknowledged yet; `None` once it has been applied.
pub(crate) type HeldEvent = (u64, Option<Event>);

/// Consumes until `shutdown`, or until the queue fails.
///
/// # Errors
/// The queue's. What is not acknowledged is delivered again.
pub(crate) async fn consume(
    inventory: &Inventory,
    mut consumer: Box<dyn Consumer>,
    shutdown: &CancellationToken,
) -> Result<(), QueueError> {
    let mut held: VecDeque<HeldEvent> = VecDeque::new();
    let mut retry = tokio::time::interval(Duration::from_millis(RETRY_MS));
    retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_full = false;
    loop {
        let (from, room) = (held.len(), HELD_MAX.saturating_sub(held.len()));
        tell(&held);
        if room == 0 && !was_full {
            tracing::error!("{HELD_MAX} events wait for the stock store: no more are taken, of any sale");
        }
        was_full = room == 0;
        tokio::select! {
            () = shutdown.cancelled() => break,
            batch = consumer.next_batch(BATCH_MAX.min(room)), if room > 0 => {
                for delivery in batch? {
                    take(&mut *consumer, &mut held, delivery).await?;
                }
                apply(inventory, held.range_mut(from..), shutdown).await;
            }
            _ = retry.tick(), if !held.is_empty() => {
                apply(inventory, held.range_mut(..), shutdown).await;
            }
        }
        acknowledge(&mut *consumer, &mut held).await?;
    }
    consumer.close().await
}

async fn take(
    consumer: &mut dyn Consumer,
    held: &mut VecDeque<HeldEvent>,
    delivery: Delivery,
) -> Result<(), QueueError> {
    match serde_json::from_slice(&delivery.body) {
        Ok(event) => held.push_back((delivery.tag, Some(event))),
        Err(error) => {
            tracing::error!(%error, "an event that cannot be read goes to the dead letters");
            consumer.reject(delivery.tag).await?;
        }
    }
    Ok(())
}

/// Applies what can be applied now, of several sales at once: one on a node that is silent takes its time for every call,
/// and must not take it from the others. A sale that cannot be written keeps its events, and after the first that fails,
/// its others are not tried.
pub(crate) async fn apply<'a>(
    inventory: &Inventory,
    events: impl Iterator<Item = &'a mut HeldEvent>,
    shutdown: &CancellationToken,
) {
    let mut by_sale: BTreeMap<SaleId, Vec<&mut Option<Event>>> = BTreeMap::new();
    for (_, slot) in events {
        if let Some(sale) = slot.as_ref().map(|event| event.sale.clone()) {
            by_sale.entry(sale).or_default().push(slot);
        }
    }
    let in_order = |events: Vec<&'a mut Option<Event>>| async move {
        for slot in events {
            let Some(event) = slot.as_ref().filter(|_| !shutdown.is_cancelled()) else { return };
            match inventory.apply(event).await {
                Ok(()) => *slot = None,
                Err(why) => {
                    tracing::debug!(sale = %event.sale, %why, "events wait for the stock store");
                    return;
                }
            }
        }
    };
    stream::iter(by_sale.into_values()).for_each_concurrent(SALES_AT_ONCE, in_order).await;
}

/// Tells of how many sales events are held, whichever of them were tried last.
fn tell(held: &VecDeque<HeldEvent>) {
    let sales: HashSet<&SaleId> = held.iter().filter_map(|(_, event)| Some(&event.as_ref()?.sale)).collect();
    metrics::gauge!("seckill_inventory_sales_waited_for").set(u32::try_from(sales.len()).unwrap_or(u32::MAX));
}

/// Acknowledges what is done, and holds on to what waits. **What is done behind one that waits is acknowledged by
/// itself**: held back, it would fill up what the broker sends ahead, and no event of any sale would come any more.
async fn acknowledge(consumer: &mut dyn Consumer, held: &mut VecDeque<HeldEvent>) -> Result<(), QueueError> {
    let mut done = None;
    while let Some((tag, None)) = held.front() {
        done = Some(*tag);
        held.pop_front();
    }
    if let Some(tag) = done {
        consumer.ack_through(tag).await?;
    }
    let behind: Vec<u64> = held.iter().filter(|(_, event)| event.is_none()).map(|(tag, _)| *tag).collect();
    if behind.is_empty() {
        return Ok(());
    }
    consumer.ack_each(&behind).await?;
    held.retain(|(_, event)| event.is_some());
    Ok(())
}

impl Inventory {
    /// Applies one event to the stock store.
    ///
    /// # Errors
    /// It must be tried again.
    pub(crate) async fn apply(&self, event: &Event) -> Result<(), Waits> {
        if event.kind == EventKind::BarrierReached {
            // Whoever sent the barrier watches the ledger's epoch; nothing is to be done here.
            return Ok(());
        }
        let ids: Vec<_> = event.orders.iter().map(|fact| fact.reservation).collect();
        let done = if event.kind.holds_units() {
            self.stock.settle(&event.sale, &ids).await.map_err(Waits::from)
        } else {
            self.release(event, &ids).await
        };
        match done {
            Err(Waits::Store(StockError::UnknownSale(sale))) if self.is_foreign(&sale).await => Ok(()),
            done => done,
        }
    }

    /// Gives the units of all of them back, side by side, and tells everybody if there were none before.
    ///
    /// **A release of a later epoch than the store's is not done**, though it was applied: the store is one that has not
    /// heard of the rebuild, such as a primary that was replaced, and the rebuild may have read the order as live and put
    /// its units back as taken. It is applied again, to what is written.
    async fn release(&self, event: &Event, ids: &[ReservationId]) -> Result<(), Waits> {
        let sale = &event.sale;
        let (mut waiting, mut under_way) = (ids.iter(), FuturesUnordered::new());
        let (mut back, mut done) = (None, Ok(()));
        loop {
            // After a failure no more are begun: a store that is silent would be waited for with each.
            let room = if done.is_ok() { RELEASING_MAX - under_way.len() } else { 0 };
            under_way.extend(waiting.by_ref().take(room).map(|id| self.stock.release(sale, *id)));
            match under_way.next().await {
                Some(Ok(released)) => {
                    if released.from_zero {
                        back = back.max(Some(released.change));
                    }
                    if released.change.epoch < event.epoch.0 {
                        done = Err(Waits::Rebuild { in_force: released.change.epoch, of: event.epoch.0 });
                    }
                }
                Some(Err(error)) => done = Err(error.into()),
                None => break,
            }
        }
        // Also if others failed: these units are back, and when it is tried again nobody would say so.
        if let Some(change) = back {
            self.broadcast(sale, change, SaleNews::Available).await;
        }
        done
    }

    /// Whether the sale is none of ours, so that its event can be let go.
    async fn is_foreign(&self, sale: &SaleId) -> bool {
        matches!(self.sales.get(sale).await, Err(SaleStoreError::NotFound))
    }
}

#[cfg(test)]
mod tests {
    use service_kit::Settings;

    use super::HELD_MAX;

    #[test]
    fn as_many_events_are_held_as_the_broker_sends_ahead_by_default() {
        let settings = Settings::from_vars([]).unwrap();
        assert_eq!(settings.get::<usize>("SECKILL_PREFETCH").unwrap(), HELD_MAX);
    }
}
