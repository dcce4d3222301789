//! The port, function by function.

use async_trait::async_trait;
use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{ReservationId, SaleId};

use super::codec::{self, IdBytes, Key};
use super::failure::Failure;
use super::{RedisStock, link};
use crate::port::{
    Held, Peek, Rebuild, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot, StockConfig,
    StockError, StockStore,
};

/// Live orders written by one call at most: a call blocks the server for about a millisecond.
const LOAD_MAX: usize = 500;
/// Reservations settled by one call at most: buyers wait behind it.
const SETTLE_MAX: usize = 100;
/// How many times longer than a buyer a rebuild waits for an answer. What it gives up it begins again from the
/// ledger, barrier and all: on a server that is merely slow, hurry would never get done.
const REBUILD_PATIENCE: u32 = 10;
/// Stale reservations named by one call at most.
const STALE_MAX: usize = 1_000;

use Key::{Ages, Book, Draft, DraftBook, State, Tombstones};

const REBUILD_KEYS: [Key; 3] = [State, Draft, DraftBook];

fn unreadable(failure: Failure) -> StockError {
    StockError::Unreachable(failure.to_string())
}

impl RedisStock {
    /// One step of a rebuild, which needs no state in force.
    async fn rebuild_step(&self, rebuild: &Rebuild, command: &redis::Cmd) -> Result<bool, StockError> {
        let answer = self.ask_about(&rebuild.sale, command, self.call_max * REBUILD_PATIENCE).await?;
        codec::permitted(&answer).map_err(unreadable)
    }
}

#[async_trait]
impl StockStore for RedisStock {
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError> {
        let mut command = codec::call("seckill_reserve", &request.sale, &[State, Book, Ages]);
        command.arg(IdBytes::of(request.id).as_slice()).arg(request.buyer.as_str());
        command.arg(request.quantity).arg(request.epoch.0).arg(request.expires_at.0);
        let answer = self.call(&request.sale, &command).await?;
        codec::reserved(&answer, request.epoch).map_err(unreadable)
    }

    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError> {
        let mut command = codec::call("seckill_peek", sale, &[State, Book]);
        command.arg(IdBytes::of(id).as_slice());
        let answer = self.call(sale, &command).await?;
        codec::peek(&answer, id).map_err(unreadable)
    }

    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError> {
        self.snapshot(sale).await.map(|snapshot| snapshot.view)
    }

    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        for ids in ids.chunks(SETTLE_MAX) {
            let mut command = codec::call("seckill_settle", sale, &[State, Book, Ages]);
            for id in ids {
                command.arg(IdBytes::of(*id).as_slice());
            }
            self.call(sale, &command).await?;
        }
        Ok(())
    }

    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError> {
        let mut command = codec::call("seckill_release", sale, &[State, Book, Ages, Tombstones]);
        command.arg(IdBytes::of(id).as_slice());
        let answer = self.call(sale, &command).await?;
        codec::released(&answer).map_err(unreadable)
    }

    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError> {
        let mut command = codec::call("seckill_configure", sale, &[State]);
        codec::config(&mut command, config);
        let answer = self.call(sale, &command).await?;
        codec::changed(&answer).map_err(unreadable)
    }

    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError> {
        let mut command = codec::call("seckill_set_total", sale, &[State]);
        command.arg(total).arg(version);
        let answer = self.call(sale, &command).await?;
        codec::released(&answer).map_err(unreadable)
    }

    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError> {
        let answer = self.call(sale, &codec::call("seckill_view", sale, &[State])).await?;
        codec::snapshot(&answer).map_err(unreadable)
    }

    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError> {
        let mut command = codec::call("seckill_stale", sale, &[State, Book, Ages, Tombstones]);
        command.arg(age_ms).arg(limit.min(STALE_MAX));
        let answer = self.call(sale, &command).await?;
        codec::stale(&answer).map_err(unreadable)
    }

    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError> {
        let keys = [State, Draft, DraftBook, Book, Ages, Tombstones];
        let mut command = codec::call("seckill_rebuild_begin", &rebuild.sale, &keys);
        command.arg(rebuild.epoch.0).arg(rebuild.token);
        // A node of a cluster that was away when the others were seen to may have an older library.
        self.see_to_library().await;
        self.rebuild_step(rebuild, &command).await
    }

    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError> {
        // Without any order it still says whether the rebuild is void.
        let batches = live.chunks(LOAD_MAX).chain(live.is_empty().then_some(live));
        for batch in batches {
            let mut command = codec::call("seckill_rebuild_load", &rebuild.sale, &REBUILD_KEYS);
            command.arg(rebuild.epoch.0).arg(rebuild.token);
            for order in batch {
                command.arg(IdBytes::of(order.reservation).as_slice());
                command.arg(order.buyer.as_str()).arg(order.quantity);
            }
            if !self.rebuild_step(rebuild, &command).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError> {
        let keys = [State, Book, Ages, Tombstones, Draft, DraftBook];
        let mut command = codec::call("seckill_rebuild_finish", &rebuild.sale, &keys);
        command.arg(rebuild.epoch.0).arg(rebuild.token).arg(total).arg(total_version);
        codec::config(&mut command, config);
        self.rebuild_step(rebuild, &command).await
    }

    async fn ping(&self) -> Result<(), StockError> {
        self.ask(&link::ping()).await.map(|_| ()).map_err(unreadable)
    }
}
