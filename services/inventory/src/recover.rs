//! Losing the stock store, and writing it afresh from the ledger.
//!
//! A barrier goes down the sale's lane. Where the consumer meets it, the ledger's epoch rises, and
//! every message of the lost state that comes later is rejected. What the ledger holds from then on is
//! the truth, and the store is written from it, under the new epoch.
//!
//! The permission to write ([`Rebuild`]) is taken *before* the barrier is sent and the ledger is read: if
//! the store is lost once more, or somebody else begins, it is void. And it counts only if the ledger's epoch has not
//! risen before it was taken. So a process that stalls anywhere on the way can do no harm: what it writes belongs to the
//! loss that its own barrier closed.
//!
//! Taking it puts a state that is still there out of force. Only when every gateway has noticed, the barrier follows:
//! an order that was answered 202 is in the lane before it.

use std::sync::Arc;
use std::time::Duration;

use contract::events::{Change, SaleNews};
use contract::internal::{AllocationView, STOCK_LOOK_MS_MAX, SnapshotLine};
use contract::lane::{BarrierMessage, LaneMessage};
use domain::{Epoch, SaleId};
use stock::Rebuild;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::disagreements::is_consistent;
use crate::inventory::Inventory;
use crate::sale_store::SaleRow;

/// Sales rebuilt at once, by this process. With all of them at once, the one with the crowd would wait for all.
pub(crate) const REBUILDS_MAX: usize = 4;
/// And beside them, of sales that are over.
pub(crate) const ENDED_REBUILDS_MAX: usize = 1;
/// How long a state has been out of force before its barrier is sent: gateways answer 202 by what they saw of it a
/// moment ago.
const BARRIER_AFTER_MS: u64 = 2 * STOCK_LOOK_MS_MAX;
/// How often the ledger is asked whether the barrier was reached.
const BARRIER_POLL_MS: u64 = 20;
/// How long a barrier may take before another is sent.
const BARRIER_WAIT_MS_MAX: u64 = 5_000;
/// How often a store that another may be writing is looked at.
const RETRY_MS: u64 = 100;
/// The shortest and the longest pause after a failed attempt.
const PAUSE_MS: u64 = 200;
const PAUSE_MS_MAX: u64 = 10_000;

/// What is wrong with a sale's stock state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// There is none.
    Lost,
    /// The one of this epoch is behind the ledger's: somebody's barrier was reached, and whoever sent it died before the
    /// store was written. What is reserved there would only be rejected.
    Behind(Epoch),
    /// The one of this epoch and the ledger have disagreed for long with nothing under way: an event was lost for good,
    /// and its units with it.
    Disagrees(Epoch),
}

impl Fault {
    /// Whether a state of this epoch is another one, written since.
    fn is_mended_by(self, epoch: Epoch) -> bool {
        match self {
            Self::Lost => true,
            Self::Behind(unfit) | Self::Disagrees(unfit) => epoch > unfit,
        }
    }
}

/// A sale whose stock state this process writes: nobody else here begins to, until it is dropped.
pub(crate) struct Writing {
    inventory: Arc<Inventory>,
    sale: SaleId,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.inventory.rebuilding.lock().remove(&self.sale);
    }
}

impl Inventory {
    /// The right to write this sale's stock state; `None` if somebody in this process has it.
    pub(crate) fn writing(self: &Arc<Self>, sale: &SaleId) -> Option<Writing> {
        let is_free = self.rebuilding.lock().insert(sale.clone());
        is_free.then(|| Writing { inventory: self.clone(), sale: sale.clone() })
    }

    /// Rebuilds the sale's stock state in the background, unless this process already does.
    pub(crate) fn recover_soon(self: &Arc<Self>, sale: &SaleId, fault: Fault, shutdown: &CancellationToken) {
        let Some(writing) = self.writing(sale) else { return };
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = writing.inventory.recover(&writing.sale, fault) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }

    /// Rebuilds until it has succeeded, or somebody else has.
    pub(crate) async fn recover(&self, sale: &SaleId, fault: Fault) {
        tracing::info!(%sale, ?fault, "rebuilding the sale's stock from the ledger");
        let began = Instant::now();
        for attempt in 0_u32.. {
            // Only for the attempt: between two of them others have their turn.
            let Ok(slot) = self.slots_for(sale).await.acquire().await else { return };
            if matches!(fault, Fault::Disagrees(_)) && self.agrees_or_moves(sale).await {
                tracing::info!(%sale, "the stores agree by themselves");
                return;
            }
            let tried = self.try_recover(sale, fault).await;
            drop(slot);
            match tried {
                Ok(epoch) => {
                    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(%sale, epoch = epoch.0, took_ms, "stock rebuilt");
                    return;
                }
                Err(why) => tracing::warn!(%sale, %why, "rebuilding the stock failed; trying again"),
            }
            if self.written_within(sale, fault, pause(attempt)).await {
                return;
            }
        }
    }

    /// Where the sale waits for its turn. **One that is over never stands in line before one that sells**: there may be
    /// thousands of them.
    async fn slots_for(&self, sale: &SaleId) -> &Semaphore {
        match self.sales.get(sale).await {
            Ok(row) if row.is_over(self.clock.now()) => &self.ended_rebuild_slots,
            _ => &self.rebuild_slots,
        }
    }

    /// Whether a disagreement is over: an event was merely very late. While the sale's state is out of force, it is not.
    async fn agrees_or_moves(&self, sale: &SaleId) -> bool {
        let (allocation, snapshot) = tokio::join!(self.ledger.allocation(sale), self.stock.snapshot(sale));
        match (allocation, snapshot) {
            (Ok(Some(allocation)), Ok(snapshot)) => {
                snapshot.reserved > 0 || is_consistent(&allocation, &snapshot)
            }
            _ => false,
        }
    }

    /// Leaves the field to another replica for a while: true once the sale is in force, by whomever.
    async fn written_within(&self, sale: &SaleId, fault: Fault, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.stock.view(sale).await.is_ok_and(|view| fault.is_mended_by(view.epoch)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }

    pub(crate) async fn try_recover(&self, sale: &SaleId, fault: Fault) -> Result<Epoch, String> {
        let row = self.sales.get(sale).await.map_err(|e| e.to_string())?;
        // Also creates the allocation of a sale whose creation was cut short.
        let allocation = self.ledger.put(&row).await.map_err(|e| e.to_string())?;
        // Another replica may have written it since the fault was found, perhaps while this one waited for its turn. A
        // second rebuild would close a sale that sells, and void the tickets it has just given out.
        if let Ok(view) = self.stock.view(sale).await
            && view.epoch >= allocation.epoch
            && fault.is_mended_by(view.epoch)
        {
            return Ok(view.epoch);
        }
        // The epoch that the barrier will put in force.
        let rebuild = permission(sale, Epoch(allocation.epoch.0 + 1))?;
        if !self.stock.rebuild_begin(&rebuild).await.map_err(|e| e.to_string())? {
            return self.written_by_another(&rebuild).await;
        }
        // **The permission must be older than the epoch it is for**: otherwise a state of that epoch may have sold and been
        // lost meanwhile, and no barrier of this rebuild would stand behind its orders.
        let now = self.ledger.allocation(sale).await.map_err(|e| e.to_string())?;
        if now.is_none_or(|now| now.epoch >= rebuild.epoch) {
            return Err(overtaken(&rebuild));
        }
        let lost = Change { epoch: allocation.epoch.0, n: u64::MAX };
        self.broadcast(sale, lost, SaleNews::Rebuilding).await;
        sleep(Duration::from_millis(BARRIER_AFTER_MS)).await;
        let epoch = self.raise_epoch(&allocation).await?;
        if epoch != rebuild.epoch {
            return Err(overtaken(&rebuild));
        }
        self.write(&row, &rebuild).await
    }

    /// Writes the stock state of a new sale, at the epoch its allocation began with.
    pub(crate) async fn write_stock(&self, row: &SaleRow, epoch: Epoch) -> Result<Epoch, String> {
        let rebuild = permission(&row.id, epoch)?;
        if !self.stock.rebuild_begin(&rebuild).await.map_err(|e| e.to_string())? {
            return self.written_by_another(&rebuild).await;
        }
        self.write(row, &rebuild).await
    }

    /// The store refused a rebuild: then it must be in force, from that epoch or a later one.
    async fn written_by_another(&self, rebuild: &Rebuild) -> Result<Epoch, String> {
        match self.stock.view(&rebuild.sale).await {
            Ok(view) if view.epoch >= rebuild.epoch => Ok(view.epoch),
            Ok(_) => Err(overtaken(rebuild)),
            Err(error) => {
                Err(format!("the store refuses epoch {} and has no other: {error}", rebuild.epoch.0))
            }
        }
    }

    /// Sends the barrier and waits until the ledger's epoch has risen.
    async fn raise_epoch(&self, allocation: &AllocationView) -> Result<Epoch, String> {
        let sale = &allocation.sale;
        let barrier = BarrierMessage { sale: sale.clone(), above: allocation.epoch };
        self.queue.publish(&LaneMessage::Barrier(barrier)).await.map_err(|e| e.to_string())?;
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_millis(BARRIER_WAIT_MS_MAX) {
            let now = self.ledger.allocation(sale).await.map_err(|e| e.to_string())?;
            if let Some(now) = now.filter(|a| a.epoch > allocation.epoch) {
                return Ok(now.epoch);
            }
            sleep(Duration::from_millis(BARRIER_POLL_MS)).await;
        }
        Err("the barrier was not reached in time".into())
    }

    /// Writes the sale's stock state from one consistent reading of the ledger.
    async fn write(&self, row: &SaleRow, rebuild: &Rebuild) -> Result<Epoch, String> {
        let epoch = rebuild.epoch;
        let void = || overtaken(rebuild);
        let mut lines = self.ledger.snapshot(&row.id).await.map_err(|e| e.to_string())?;
        let (mut head, mut whole) = (None, false);
        while let Some(line) = lines.next().await.map_err(|e| e.to_string())? {
            match line {
                SnapshotLine::Head { epoch: read, total, total_version, .. } => {
                    if read != epoch {
                        return Err(void());
                    }
                    head = Some((total, total_version));
                }
                SnapshotLine::Live(live) => {
                    if !self.stock.rebuild_load(rebuild, &live).await.map_err(|e| e.to_string())? {
                        return Err(void());
                    }
                }
                SnapshotLine::End => whole = true,
            }
        }
        let (Some((total, total_version)), true) = (head, whole) else {
            return Err("the ledger's snapshot broke off".into());
        };
        // Read again: an operator may have paused or ended the sale meanwhile, and found no state to tell.
        let config = self.sales.get(&row.id).await.map_err(|e| e.to_string())?.stock_config();
        let armed = self.stock.rebuild_finish(rebuild, &config, total, total_version).await;
        if !armed.map_err(|e| e.to_string())? {
            return Err(void());
        }
        // In force: what can't be looked at just now is no reason to begin again.
        self.broadcast(&row.id, Change { epoch: epoch.0, n: 1 }, SaleNews::Opened).await;
        if let Ok(view) = self.stock.view(&row.id).await {
            self.broadcast_view(&row.id, &view).await;
        }
        Ok(epoch)
    }
}

/// The pause after so many failures: longer each time, and drawn by lot, so that of two replicas which keep
/// voiding each other's permission one gets through.
fn pause(attempt: u32) -> Duration {
    let longest = PAUSE_MS.saturating_mul(1 << attempt.min(10)).min(PAUSE_MS_MAX);
    // Without chance the pause is merely the longest.
    let drawn = getrandom::u64().map_or(longest, |random| random % longest);
    Duration::from_millis(PAUSE_MS / 2 + drawn)
}

/// A permission to ask the store for.
fn permission(sale: &SaleId, epoch: Epoch) -> Result<Rebuild, String> {
    let token = getrandom::u64().map_err(|e| e.to_string())?;
    Ok(Rebuild { sale: sale.clone(), epoch, token })
}

fn overtaken(rebuild: &Rebuild) -> String {
    format!("the rebuild at epoch {} was overtaken", rebuild.epoch.0)
}
