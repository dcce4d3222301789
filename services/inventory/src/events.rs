//! Settles and releases what the ledger has decided, by order id, in any order of arrival.
//!
//! Events of a sale whose stock state is lost stay unacknowledged until it is rebuilt; those of other
//! sales behind them go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use contract::events::{Event, EventKind, SaleNews};
use domain::{ReservationId, SaleId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use messaging::{Consumer, Delivery, QueueError, Subscription};
use stock::StockError;
use tokio_util::sync::CancellationToken;

use crate::keeper::Keeper;
use crate::sale_store::SaleStoreError;

/// Events taken at once.
const BATCH_MAX: usize = 64;
/// Events held unacknowledged at most; beyond it no more are taken until the oldest is done.
const HELD_MAX: usize = 4_096;
/// Releases of one event under way at once.
const RELEASING_MAX: usize = 32;
/// How often events that wait for a rebuild are tried again.
const RETRY_MS: u64 = 100;
/// Waiting time after the broker failed.
const RECONNECT_MS: u64 = 250;

/// Consumes the subscription until `shutdown`.
pub(crate) async fn run(keeper: Arc<Keeper>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let consumer = tokio::select! {
            consumer = keeper.bus.consume(Subscription::Inventory) => consumer,
            () = shutdown.cancelled() => return,
        };
        let failed = match consumer {
            Ok(consumer) => consume(&keeper, consumer, &shutdown).await,
            Err(error) => Err(error),
        };
        if let Err(error) = failed {
            tracing::warn!(%error, "events cannot be consumed; trying again");
            tokio::time::sleep(Duration::from_millis(RECONNECT_MS)).await;
        }
    }
}

/// An event not acknowledged yet; `None` once it has been applied.
type HeldEvent = (u64, Option<Event>);

async fn consume(
    keeper: &Keeper,
    mut consumer: Box<dyn Consumer>,
    shutdown: &CancellationToken,
) -> Result<(), QueueError> {
    let mut held: VecDeque<HeldEvent> = VecDeque::new();
    let mut retry = tokio::time::interval(Duration::from_millis(RETRY_MS));
    retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let from = held.len();
        tokio::select! {
            () = shutdown.cancelled() => break,
            batch = consumer.next_batch(BATCH_MAX), if held.len() < HELD_MAX => {
                for delivery in batch? {
                    take(&mut *consumer, &mut held, delivery).await?;
                }
                apply(keeper, held.range_mut(from..)).await;
            }
            _ = retry.tick(), if !held.is_empty() => apply(keeper, held.range_mut(..)).await,
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

async fn apply(keeper: &Keeper, events: impl Iterator<Item = &mut HeldEvent>) {
    for (_, slot) in events {
        if let Some(event) = slot
            && keeper.apply(event).await
        {
            *slot = None;
        }
    }
}

async fn acknowledge(consumer: &mut dyn Consumer, held: &mut VecDeque<HeldEvent>) -> Result<(), QueueError> {
    let mut done = None;
    while let Some((tag, None)) = held.front() {
        done = Some(*tag);
        held.pop_front();
    }
    match done {
        Some(tag) => consumer.ack_through(tag).await,
        None => Ok(()),
    }
}

impl Keeper {
    /// Applies one event to the stock store. False if it must be tried again.
    async fn apply(&self, event: &Event) -> bool {
        if event.kind == EventKind::BarrierReached {
            // Whoever sent the barrier watches the ledger's epoch; nothing is to be done here.
            return true;
        }
        let ids: Vec<_> = event.orders.iter().map(|fact| fact.reservation).collect();
        let done = if event.kind.holds_units() {
            self.stock.settle(&event.sale, &ids).await
        } else {
            self.release(&event.sale, &ids).await
        };
        match done {
            Ok(()) => true,
            Err(StockError::UnknownSale(sale)) => self.is_foreign(&sale).await,
            Err(error) => {
                tracing::warn!(%error, "an event waits for the stock store");
                false
            }
        }
    }

    /// Gives the units of all of them back, side by side, and tells everybody if there were none before.
    async fn release(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        let (mut waiting, mut under_way) = (ids.iter(), FuturesUnordered::new());
        let (mut back, mut done) = (None, Ok(()));
        loop {
            let room = RELEASING_MAX - under_way.len();
            under_way.extend(waiting.by_ref().take(room).map(|id| self.stock.release(sale, *id)));
            match under_way.next().await {
                Some(Ok(released)) if released.from_zero => back = back.max(Some(released.change)),
                Some(Ok(_)) => {}
                Some(Err(error)) => done = Err(error),
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
