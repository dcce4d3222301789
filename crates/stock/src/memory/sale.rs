//! One sale's stock state and the atomic operations on it.

use std::collections::HashMap;

use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{BuyerId, Epoch, ReservationId, SaleState, StateInputs, UnixMillis};

use super::shelf::{Record, Shelf, State};
use crate::port::{
    ClosedReason, Held, Peek, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot, StockConfig,
};

/// A sale's stock: counts, terms, and every reservation by id. Always:
/// free + reserved + settled = total, unless a total below what is held was set (then free is 0).
pub(super) struct SaleStock {
    epoch: Epoch,
    changes: u64,
    config: StockConfig,
    total: u32,
    total_version: u64,
    free: u32,
    reserved: u32,
    reservations: u64,
    settled: u32,
    shelf: Shelf,
    units_by_buyer: HashMap<BuyerId, u32>,
}

impl SaleStock {
    /// A state without terms or units, to be loaded and armed.
    pub(super) fn empty(epoch: Epoch) -> Self {
        let config = StockConfig {
            version: 0,
            opens_at: UnixMillis(0),
            ends_at: UnixMillis(0),
            phase: domain::Phase::Ended,
            per_user_limit: 0,
        };
        Self {
            epoch,
            changes: 0,
            config,
            total: 0,
            total_version: 0,
            free: 0,
            reserved: 0,
            reservations: 0,
            settled: 0,
            shelf: Shelf::default(),
            units_by_buyer: HashMap::new(),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Adds a live order of the ledger as Settled.
    pub(super) fn load(&mut self, order: &LiveOrder, now: UnixMillis) {
        let record = Record {
            buyer: order.buyer.clone(),
            quantity: order.quantity,
            state: State::Settled,
            reserved_at: now,
            // Tickets of the lost state are refused by their epoch: nothing needs remembering.
            expires_at: now,
        };
        if self.shelf.insert(order.reservation, record) {
            self.settled += order.quantity;
            *self.units_by_buyer.entry(order.buyer.clone()).or_default() += order.quantity;
        }
    }

    /// Puts the loaded state in force.
    pub(super) fn arm(&mut self, config: &StockConfig, total: u32, total_version: u64) {
        self.config = *config;
        self.total = total;
        self.total_version = total_version;
        self.free = total.saturating_sub(self.settled);
        self.changes = 1;
    }

    pub(super) fn reserve(&mut self, request: &ReserveRequest, now: UnixMillis) -> ReserveOutcome {
        self.shelf.forget_expired(now);
        if let Some(known) = self.known(request, now) {
            return known;
        }
        if now >= request.expires_at {
            return ReserveOutcome::Expired;
        }
        if request.epoch != self.epoch {
            return ReserveOutcome::StaleTicket;
        }
        if let Some(closed) = self.closed(request, now) {
            return ReserveOutcome::Closed(closed);
        }
        let held = self.units_by_buyer.get(&request.buyer).copied().unwrap_or(0);
        if held.saturating_add(request.quantity) > self.config.per_user_limit {
            return ReserveOutcome::LimitReached;
        }
        if self.free == 0 {
            return ReserveOutcome::SoldOut(self.change());
        }
        if request.quantity > self.free {
            return ReserveOutcome::NotEnough { free: self.free };
        }
        self.take(request, now);
        ReserveOutcome::Reserved
    }

    fn known(&self, request: &ReserveRequest, now: UnixMillis) -> Option<ReserveOutcome> {
        let record = self.shelf.get(request.id)?;
        if record.quantity != request.quantity {
            return Some(ReserveOutcome::QuantityMismatch);
        }
        Some(match record.state {
            State::Reserved if now >= record.expires_at && !request.id.late => ReserveOutcome::Overdue,
            State::Reserved => ReserveOutcome::AlreadyReserved,
            State::Settled => ReserveOutcome::Settled,
            State::Released => ReserveOutcome::Released,
        })
    }

    fn closed(&self, request: &ReserveRequest, now: UnixMillis) -> Option<ClosedReason> {
        // Money that came late may take a unit whenever there is one.
        if request.id.late {
            return None;
        }
        match self.inputs().at(now) {
            SaleState::Upcoming => Some(ClosedReason::NotOpen),
            SaleState::Paused => Some(ClosedReason::Paused),
            SaleState::Ended => Some(ClosedReason::Ended),
            SaleState::Open | SaleState::SoldOut => None,
        }
    }

    fn take(&mut self, request: &ReserveRequest, now: UnixMillis) {
        self.free -= request.quantity;
        self.reserved += request.quantity;
        self.reservations += 1;
        *self.units_by_buyer.entry(request.buyer.clone()).or_default() += request.quantity;
        let record = Record {
            buyer: request.buyer.clone(),
            quantity: request.quantity,
            state: State::Reserved,
            reserved_at: now,
            expires_at: request.expires_at,
        };
        self.shelf.insert(request.id, record);
        self.shelf.queue_for_fencing(request.id, now, self.reservations);
        if self.free == 0 {
            self.changes += 1;
        }
    }

    pub(super) fn peek(&mut self, id: ReservationId, now: UnixMillis) -> Peek {
        self.shelf.forget_expired(now);
        match self.shelf.get(id) {
            None => Peek::None,
            Some(record) => match record.state {
                State::Reserved => Peek::Reserved(record.held(id)),
                State::Settled => Peek::Settled(record.held(id)),
                State::Released => Peek::Released,
            },
        }
    }

    pub(super) fn settle(&mut self, id: ReservationId) {
        let Some(record) = self.shelf.get_mut(id) else { return };
        if record.state == State::Reserved {
            record.state = State::Settled;
            self.reserved -= record.quantity;
            self.reservations -= 1;
            self.settled += record.quantity;
        }
    }

    pub(super) fn release(&mut self, id: ReservationId, now: UnixMillis) -> Released {
        let was_zero = self.free == 0;
        let units = self.give_back(id);
        if units > 0 {
            self.shelf.remember_until_expiry(id);
            if was_zero {
                self.changes += 1;
            }
        }
        self.shelf.forget_expired(now);
        Released { units, from_zero: was_zero && self.free > 0, change: self.change() }
    }

    /// Moves the reservation's units back to free; 0 if it holds none.
    fn give_back(&mut self, id: ReservationId) -> u32 {
        let Some(record) = self.shelf.get_mut(id) else { return 0 };
        let units = record.quantity;
        match record.state {
            State::Released => return 0,
            State::Reserved => {
                self.reserved -= units;
                self.reservations -= 1;
            }
            State::Settled => self.settled -= units,
        }
        record.state = State::Released;
        if let Some(held) = self.units_by_buyer.get_mut(&record.buyer) {
            *held -= units;
            if *held == 0 {
                let buyer = record.buyer.clone();
                self.units_by_buyer.remove(&buyer);
            }
        }
        self.free = self.total.saturating_sub(self.reserved + self.settled);
        units
    }

    pub(super) fn configure(&mut self, config: &StockConfig) -> Change {
        if config.version > self.config.version {
            self.config = *config;
            self.changes += 1;
        }
        self.change()
    }

    pub(super) fn set_total(&mut self, total: u32, version: u64) -> Released {
        let before = self.free;
        if version > self.total_version {
            self.total = total;
            self.total_version = version;
            self.free = total.saturating_sub(self.reserved + self.settled);
            self.changes += 1;
        }
        Released {
            units: self.free.saturating_sub(before),
            from_zero: before == 0 && self.free > 0,
            change: self.change(),
        }
    }

    pub(super) fn view(&self, now: UnixMillis) -> SaleView {
        SaleView { now, inputs: self.inputs(), epoch: self.epoch, change: self.change() }
    }

    pub(super) fn snapshot(&self, now: UnixMillis) -> Snapshot {
        Snapshot {
            view: self.view(now),
            free: self.free,
            reserved: self.reserved,
            reservations: self.reservations,
            settled: self.settled,
            total: self.total,
            total_version: self.total_version,
        }
    }

    pub(super) fn stale(&mut self, before: UnixMillis, limit: usize) -> Vec<Held> {
        self.shelf.reserved_before(before, limit)
    }

    fn inputs(&self) -> StateInputs {
        StateInputs {
            phase: self.config.phase,
            opens_at: self.config.opens_at,
            ends_at: self.config.ends_at,
            free: self.free,
        }
    }

    fn change(&self) -> Change {
        Change { epoch: self.epoch.0, n: self.changes }
    }
}
