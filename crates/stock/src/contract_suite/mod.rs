//! What every stock store must do, as one suite. An adapter's tests build a [`Harness`] and call
//! [`run_all`].

mod counts;
mod losing;
mod reserving;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{BuyerId, Epoch, OrderId, Phase, ReservationId, SaleId, UnixMillis};

use crate::{Rebuild, ReserveOutcome, ReserveRequest, StockConfig, StockStore};

/// A store under test, and power over its time and its memory.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store; the same all the time.
    fn store(&self) -> Arc<dyn StockStore>;

    /// The store's present moment.
    async fn now(&self) -> UnixMillis;

    /// Lets time pass for the store.
    async fn pass(&self, millis: i64);

    /// Makes the store forget everything, as a crash does.
    async fn lose(&self);
}

/// Runs every test of the suite; each uses a sale of its own.
///
/// # Panics
/// At the first thing the store does otherwise than the port says.
pub async fn run_all(harness: &dyn Harness) {
    reserving::known_ids_come_first(harness).await;
    reserving::windows_and_phases_close_a_sale(harness).await;
    reserving::a_buyer_never_exceeds_the_limit(harness).await;
    reserving::sold_out_is_only_said_of_nothing_free(harness).await;
    reserving::tickets_expire_and_belong_to_their_epoch(harness).await;
    reserving::a_late_reservation_is_never_overdue(harness).await;
    reserving::a_tombstone_outlives_release_until_the_ticket_expires(harness).await;
    reserving::a_late_reservation_ignores_the_window_but_not_the_stock(harness).await;
    reserving::a_crowd_takes_exactly_the_stock(harness).await;
    counts::settle_and_release_are_idempotent_in_any_order(harness).await;
    counts::many_settle_in_one_call(harness).await;
    counts::totals_and_terms_are_versioned(harness).await;
    counts::changes_rise_when_stock_runs_out_and_comes_back(harness).await;
    counts::stale_finds_old_unsettled_reservations_only(harness).await;
    counts::a_forgotten_id_that_reserves_once_more_is_as_young_as_that(harness).await;
    losing::a_lost_sale_is_unknown_until_rebuilt(harness).await;
    losing::a_rebuild_restores_what_the_ledger_knows(harness).await;
    losing::a_rebuild_only_rises_above_what_is_there(harness).await;
    losing::a_rebuild_gives_way_to_none_of_an_older_epoch(harness).await;
    losing::a_paused_rebuilder_cannot_lay_an_old_truth_over_a_new_one(harness).await;
}

/// Length of the test sales' windows and tickets.
const WINDOW_MS: i64 = 60_000;
const TICKET_MS: i64 = 10_000;

/// A sale of the suite: opened, with everything its tests keep asking for.
struct Stage<'a> {
    harness: &'a dyn Harness,
    store: Arc<dyn StockStore>,
    sale: SaleId,
    epoch: Epoch,
    config: StockConfig,
}

impl<'a> Stage<'a> {
    async fn open(harness: &'a dyn Harness, name: &str, stock: u32, per_user_limit: u32) -> Stage<'a> {
        let now = harness.now().await;
        let config = StockConfig {
            version: 1,
            opens_at: now,
            ends_at: now.plus(WINDOW_MS),
            phase: Phase::Active,
            per_user_limit,
        };
        let sale: SaleId = format!("suite-{name}").parse().expect("test names are ids");
        let stage = Stage { harness, store: harness.store(), sale, epoch: Epoch(1), config };
        stage.rebuild(Epoch(1), stock, &[]).await;
        stage
    }

    async fn rebuild(&self, epoch: Epoch, total: u32, live: &[contract::internal::LiveOrder]) {
        let rebuild = Rebuild { sale: self.sale.clone(), epoch, token: epoch.0 };
        assert!(self.store.rebuild_begin(&rebuild).await.expect("begin"), "a higher epoch may begin");
        assert!(self.store.rebuild_load(&rebuild, live).await.expect("load"));
        assert!(self.store.rebuild_finish(&rebuild, &self.config, total, 1).await.expect("finish"));
    }

    async fn request(&self, id: u64, buyer: &str, quantity: u32) -> ReserveRequest {
        ReserveRequest {
            sale: self.sale.clone(),
            id: first(id),
            buyer: buyer_id(buyer),
            quantity,
            epoch: self.epoch,
            expires_at: self.harness.now().await.plus(TICKET_MS),
        }
    }

    async fn reserve(&self, id: u64, buyer: &str, quantity: u32) -> ReserveOutcome {
        let request = self.request(id, buyer, quantity).await;
        self.store.reserve(&request).await.expect("the sale is there")
    }

    async fn counts(&self) -> (u32, u32, u32) {
        let s = self.store.snapshot(&self.sale).await.expect("the sale is there");
        assert_eq!(s.free + s.reserved + s.settled, s.total, "units must add up");
        (s.free, s.reserved, s.settled)
    }
}

fn order(n: u64) -> OrderId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    OrderId::mint(UnixMillis(1), random)
}

fn first(n: u64) -> ReservationId {
    ReservationId::first(order(n))
}

fn buyer_id(name: &str) -> BuyerId {
    name.parse().expect("test names are ids")
}
