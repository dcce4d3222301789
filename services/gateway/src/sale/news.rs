//! The sold-out flag, and which news about it is the newest.
//!
//! News comes from the store's own answers, from broadcasts and from probes, late and out of order.
//! The store's change counter orders it: what is older than what is known changes nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use contract::events::{Change, SaleBroadcast, SaleNews};
use domain::{Epoch, SaleState};
use parking_lot::Mutex;
use stock::SaleView;

use super::Sale;

#[derive(Default)]
pub(super) struct News {
    /// The newest change heard of.
    newest: Mutex<Change>,
    sold_out: AtomicBool,
    epoch: AtomicU64,
}

impl Sale {
    /// Whether no unit is free, as far as is known here.
    pub fn is_sold_out(&self) -> bool {
        self.news.sold_out.load(Ordering::Acquire)
    }

    /// The store answered a reservation with *sold out*, at `change`. Sets the flag unless newer
    /// news has come since. A view from before it would show an open gate to those who are refused.
    pub fn store_said_sold_out(&self, change: Change) {
        {
            let mut newest = self.news.newest.lock();
            if change < *newest {
                return;
            }
            *newest = change;
            if !self.set_flag(true) {
                return;
            }
        }
        self.forget_view();
    }

    /// Takes a broadcast. Says whether it was news.
    pub fn hear(&self, broadcast: &SaleBroadcast) -> bool {
        // Where a state is being rebuilt, its epoch is over: the next one's barrier is about to go down the lane.
        let over = u64::from(broadcast.news == SaleNews::Rebuilding);
        self.know_epoch(Epoch(broadcast.change.epoch.saturating_add(over)));
        {
            let mut newest = self.news.newest.lock();
            if broadcast.change <= *newest {
                return false;
            }
            *newest = broadcast.change;
            // Everything but *sold out* is for the store to judge, request by request.
            let is_sold_out = broadcast.news == SaleNews::SoldOut;
            if !self.set_flag(is_sold_out) && !is_sold_out {
                // Refused also without the flag: what one buyer was told a moment ago.
                self.forget_decisions();
            }
        }
        self.forget_view();
        true
    }

    /// Takes what a view of the store shows. It clears the flag, so that a lost broadcast heals; it
    /// never sets it.
    pub(super) fn saw(&self, view: &SaleView) {
        self.know_epoch(view.epoch);
        let mut newest = self.news.newest.lock();
        if view.change < *newest {
            return;
        }
        *newest = view.change;
        if view.state() != SaleState::SoldOut {
            self.set_flag(false);
        }
    }

    /// The store does not know the sale: until it does, nobody may be told "sold out".
    pub(super) fn saw_nothing(&self) {
        let _newest = self.news.newest.lock();
        self.set_flag(false);
    }

    /// The newest epoch heard of.
    pub fn newest_epoch(&self) -> Epoch {
        Epoch(self.news.epoch.load(Ordering::Acquire))
    }

    fn know_epoch(&self, epoch: Epoch) {
        self.news.epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// Call with the lock on `newest` held. Says whether that changed anything.
    fn set_flag(&self, sold_out: bool) -> bool {
        let was = self.news.sold_out.swap(sold_out, Ordering::AcqRel);
        if was && !sold_out {
            self.forget_decisions();
        }
        if !was && sold_out {
            self.room.stock_is_gone();
        }
        was != sold_out
    }
}
