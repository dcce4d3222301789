//! The stock store port: what every engine must do, and what its answers mean.

use async_trait::async_trait;
use contract::events::Change;
use contract::internal::LiveOrder;
use domain::{BuyerId, Epoch, Phase, ReservationId, SaleId, SaleState, StateInputs, UnixMillis};

/// Why the store could not answer at all. The caller fails closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StockError {
    /// The sale is not there: never opened, lost, or not rebuilt yet.
    #[error("the stock store does not know sale {0}")]
    UnknownSale(SaleId),
    /// The store cannot be reached within its bound.
    #[error("the stock store cannot be reached: {0}")]
    Unreachable(String),
}

/// A request to set units aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReserveRequest {
    /// The sale.
    pub sale: SaleId,
    /// What they are set aside under. A late reservation is not bound to the sale's window or phase.
    pub id: ReservationId,
    /// For whom.
    pub buyer: BuyerId,
    /// How many, at least 1.
    pub quantity: u32,
    /// The ticket's epoch.
    pub epoch: Epoch,
    /// The ticket's expiry by the store's clock. After release, the id is remembered until then.
    pub expires_at: UnixMillis,
}

/// The answer to [`StockStore::reserve`]. The known id comes first: nothing else is looked at then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReserveOutcome {
    /// Set aside now.
    Reserved,
    /// Set aside before, by this very id; its order has no row that the store knows of.
    AlreadyReserved,
    /// Set aside before, by this very id, whose ticket has run out meanwhile. Nothing may be published for it any
    /// more: its fence may be in the lane already. Late reservations have no such end.
    Overdue,
    /// The id's order exists.
    Settled,
    /// The id's units were given back: whatever comes of it is in the ledger.
    Released,
    /// The id is known with another quantity.
    QuantityMismatch,
    /// The ticket's time is over, by the store's clock.
    Expired,
    /// The ticket belongs to an earlier stock state: fetch another.
    StaleTicket,
    /// No unit is free. The only answer that may set a sold-out flag, unless newer news came.
    SoldOut(Change),
    /// Fewer units are free than asked for; at least one.
    NotEnough {
        /// How many are.
        free: u32,
    },
    /// The buyer's live units would exceed the limit.
    LimitReached,
    /// The sale is not selling.
    Closed(ClosedReason),
}

/// Why a sale does not sell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClosedReason {
    /// Not open yet.
    NotOpen,
    /// Held by the operator.
    Paused,
    /// Over.
    Ended,
}

/// What the store knows of one reservation id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peek {
    /// Nothing.
    None,
    /// Set aside; no row that the store knows of.
    Reserved(Held),
    /// Its order exists.
    Settled(Held),
    /// Given back.
    Released,
}

/// A reservation that holds units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its id.
    pub id: ReservationId,
    /// Whose.
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
    /// When they were set aside, by the store's clock.
    pub reserved_at: UnixMillis,
}

/// What [`StockStore::release`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Released {
    /// Units given back by this call; 0 if it changed nothing.
    pub units: u32,
    /// Whether nothing was free before and something is now: tell every gateway.
    pub from_zero: bool,
    /// The change counter after it.
    pub change: Change,
}

/// How a sale sells. Versioned: an older one changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StockConfig {
    /// Rises with every change.
    pub version: u64,
    /// First moment of selling.
    pub opens_at: UnixMillis,
    /// First moment after selling.
    pub ends_at: UnixMillis,
    /// What the operator did.
    pub phase: Phase,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
}

/// A sale at one moment, for gates and gateways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaleView {
    /// The store's clock.
    pub now: UnixMillis,
    /// Window, phase and free units.
    pub inputs: StateInputs,
    /// The stock state's epoch: goes into tickets.
    pub epoch: Epoch,
    /// The change counter.
    pub change: Change,
}

impl SaleView {
    /// The sale's state at the view's own moment.
    #[must_use]
    pub fn state(&self) -> SaleState {
        self.inputs.at(self.now)
    }
}

/// A sale's counts, read atomically.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// What gates see.
    pub view: SaleView,
    /// Units free.
    pub free: u32,
    /// Units reserved, not settled.
    pub reserved: u32,
    /// Reservations that hold those.
    pub reservations: u64,
    /// Units settled.
    pub settled: u32,
    /// Units in all.
    pub total: u32,
    /// Version of `total`.
    pub total_version: u64,
}

/// Permission to write a sale's stock state afresh, taken before the ledger is read. It is void as
/// soon as the store is lost again or another rebuild begins, so a writer that was paused for an hour
/// cannot lay an old truth over a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    /// The sale.
    pub sale: SaleId,
    /// The ledger's epoch: higher than any the store has for the sale.
    pub epoch: Epoch,
    /// Drawn at random by whoever rebuilds.
    pub token: u64,
}

/// The stock store.
///
/// `sale` must be open in the store for every call but the rebuild's; otherwise the answer is
/// [`StockError::UnknownSale`].
#[async_trait]
pub trait StockStore: Send + Sync {
    /// Sets units aside, or says why not. One atomic step: known id, ticket's expiry and epoch,
    /// window and phase, the buyer's limit, stock; then the record.
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError>;

    /// What is known of one reservation.
    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError>;

    /// The sale's state now.
    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError>;

    /// The orders exist: each that is Reserved becomes Settled; on anything else it does nothing. One step
    /// for each id, not one for all: after an error some may have settled. Settle them again.
    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError>;

    /// Gives the units back, once. Reserved or Settled become Released; the id is remembered until
    /// its ticket expires. On anything else it does nothing.
    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError>;

    /// Sets how the sale sells, if `config` is newer than what is there.
    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError>;

    /// Sets the units in all, if `version` is newer than what is there; free changes by the
    /// difference, but never below zero. Answers like a release: a raise may start from zero.
    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError>;

    /// The sale's counts.
    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError>;

    /// Reservations not settled that are older than `age_ms` by the store's clock, oldest first, at
    /// most `limit`.
    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError>;

    /// Begins to write a sale afresh, and takes the state that is there out of force. False, and nothing happens, if the
    /// store is already at this epoch or a higher one, or somebody has begun to write a higher one.
    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError>;

    /// Adds live orders as Settled to the state being written. False if the rebuild is void.
    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError>;

    /// Puts the written state in force, with free = total − what was loaded. False if the rebuild
    /// is void.
    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError>;

    /// Whether the store answers at all.
    async fn ping(&self) -> Result<(), StockError>;
}
