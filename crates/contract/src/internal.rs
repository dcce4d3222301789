//! What the services say to each other over HTTP, guarded by the internal token.
//!
//! Paths are under `/internal/v1`. Bodies that the public contract already names are reused.

use domain::{BuyerId, Epoch, OrderId, Phase, ReservationId, SaleId};
use serde::{Deserialize, Serialize};

use crate::api;
use crate::rules::SaleRules;

/// Longest time for `GET /internal/v1/audit`, in milliseconds: an audit reads everything there is.
pub const AUDIT_MS_MAX: u64 = 120_000;
/// How long ago a gateway may have looked at a sale's stock state when it answers 202 by what it saw, in milliseconds.
/// A barrier waits longer than that once the state is out of force: whatever was confirmed by such a look is in the lane
/// before it.
pub const STOCK_LOOK_MS_MAX: u64 = 50;

/// Inventory's whole knowledge of a sale: what the gateway's catalogue keeps.
/// `GET /internal/v1/sales`, `GET /internal/v1/sales/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CatalogueSale {
    /// What buyers see.
    #[serde(flatten)]
    pub sale: api::Sale,
    /// The secret slug of the buy path.
    pub slug: String,
    /// What the operator did.
    #[serde(with = "crate::text")]
    pub phase: Phase,
    /// Rises with every change of the row.
    pub version: u64,
    /// When it was created.
    pub created_at: i64,
    /// What it asks of its crowd.
    #[serde(default)]
    pub rules: SaleRules,
}

/// `GET /internal/v1/sales`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Catalogue {
    /// All sales.
    pub sales: Vec<CatalogueSale>,
}

/// `PUT /internal/v1/allocations/{sale}` on the order service: creates the allocation at epoch 1, or
/// raises its total if `total_version` is newer. Idempotent. Answers [`AllocationView`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAllocation {
    /// Units the sale may take.
    pub total: u32,
    /// Version of `total`; an older one changes nothing.
    pub total_version: u64,
    /// Price of one unit, in minor units.
    pub price_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
    /// Seconds an order may stay unpaid.
    pub pay_within_s: u32,
}

/// `GET /internal/v1/allocations/{sale}` on the order service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AllocationView {
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// Units the sale may take.
    pub total: u32,
    /// Version of `total`.
    pub total_version: u64,
    /// The ledger's epoch.
    #[serde(with = "crate::text::epoch")]
    pub epoch: Epoch,
    /// Units and orders.
    pub counts: api::OrderCounts,
}

/// `GET /internal/v1/outbox` on the order service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutboxView {
    /// How long the oldest event has been waiting to be told, in milliseconds of the ledger's clock; 0 if none is.
    pub oldest_ms: u32,
}

/// One line of `GET /internal/v1/allocations/{sale}/snapshot` (NDJSON, read in one transaction):
/// first the head, then the live orders, then the end. Without the end it is worthless.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotLine {
    /// The allocation.
    Head {
        /// The ledger's epoch.
        #[serde(with = "crate::text::epoch")]
        epoch: Epoch,
        /// Units the sale may take.
        total: u32,
        /// Version of `total`.
        total_version: u64,
        /// Units of live orders.
        taken: u32,
    },
    /// Some live orders.
    Live(Vec<LiveOrder>),
    /// All of it was sent.
    End,
}

/// An order that holds units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveOrder {
    /// The reservation its units are settled under.
    #[serde(with = "crate::text")]
    pub reservation: ReservationId,
    /// Whose.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
}

/// `GET /internal/v1/orders/{id}` on the order service: a row, with its buyer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderRow {
    /// What its buyer sees.
    #[serde(flatten)]
    pub order: api::Order,
    /// Whose it is.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
}

/// Body of `POST /internal/v1/orders/{id}/payment` and `…/cancel` on the order service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnBehalfOf {
    /// The buyer who asks; another buyer's order is not found.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
}

/// `POST /internal/v1/late-reservations` on inventory: units for an expired order that was paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateReservation {
    /// The expired order.
    #[serde(with = "crate::text")]
    pub order_id: OrderId,
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The buyer.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
}

/// The answer to [`LateReservation`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum LateOutcome {
    /// Set aside, in this stock state.
    Reserved {
        /// The epoch to commit under.
        #[serde(with = "crate::text::epoch")]
        epoch: Epoch,
    },
    /// There are no units for it, or the buyer holds too many: refund.
    Refused,
    /// The stock state is being rebuilt: ask again.
    Rebuilding,
}
