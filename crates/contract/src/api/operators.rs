//! What operators are shown: the books, the audit, queues and dead letters.

use std::collections::BTreeMap;

use domain::{BuyerId, SaleId};
use serde::{Deserialize, Serialize};

use super::Order;

/// `GET /admin/v1/sales/{id}/ledger`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// Units the sale may take.
    pub total: u32,
    /// The ledger's epoch.
    pub epoch: u64,
    /// What the stock store believes; null while it is lost or being rebuilt.
    pub stock_store: Option<StockCounts>,
    /// What the order store knows.
    pub order_store: OrderCounts,
    /// Reservations that have no row yet, in orders.
    pub queued: u64,
    /// Whether I3 holds now.
    pub consistent: bool,
}

/// The stock store's side of a ledger, in units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StockCounts {
    /// Free to reserve.
    pub free: u32,
    /// Reserved, no row yet.
    pub reserved: u32,
    /// Settled.
    pub settled: u32,
}

/// The order store's side of a ledger: `taken` in units, the states in orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OrderCounts {
    /// Units of live orders.
    pub taken: u32,
    /// Orders to be paid.
    pub pending_payment: u64,
    /// Paid orders.
    pub paid: u64,
    /// Cancelled orders.
    pub cancelled: u64,
    /// Expired orders.
    pub expired: u64,
    /// Rejected orders.
    pub rejected: u64,
    /// Refunded orders.
    pub refunded: u64,
}

/// `GET /admin/v1/audit`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Audit {
    /// No finding.
    pub ok: bool,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

/// One invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// `I1` to `I5`.
    pub invariant: String,
    /// The sale concerned, if one.
    #[serde(with = "crate::text::option")]
    pub sale: Option<SaleId>,
    /// What is wrong, with the numbers.
    pub detail: String,
}

/// `GET /admin/v1/orders/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdminOrder {
    /// What its buyer sees.
    #[serde(flatten)]
    pub order: Order,
    /// Whose it is.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Why it was rejected, if it was.
    pub reason: Option<String>,
    /// Payments, oldest first.
    pub payments: Vec<Payment>,
    /// Refunds, oldest first.
    pub refunds: Vec<Refund>,
}

/// A payment of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payment {
    /// The platform's name for the payment, `pay-<order id>-<n>`. A further capture of it is `<reference>+<k>`.
    pub reference: String,
    /// `started`, `captured` or `failed`.
    pub status: String,
    /// Minor units: asked for while started, captured after.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// A refund of a captured payment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refund {
    /// The payment it pays back.
    pub reference: String,
    /// Why.
    pub reason: String,
    /// `requested` or `done`.
    pub status: String,
    /// Minor units.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// `GET /admin/v1/queues`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queues {
    /// The order lanes.
    pub lanes: Vec<QueueInfo>,
    /// The dead-letter queues, one a cause.
    pub dead_letters: Vec<QueueInfo>,
    /// Everything else, by queue name.
    pub others: BTreeMap<String, QueueInfo>,
}

/// One queue now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Messages ready for delivery.
    pub depth: u64,
    /// Consumers attached.
    pub consumers: u32,
    /// Delivered, not yet acknowledged.
    pub in_flight: u64,
}

/// `GET /admin/v1/dead-letters`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Oldest first, at most 100.
    pub dead_letters: Vec<DeadLetter>,
}

/// A message nobody could process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// For replay.
    pub id: String,
    /// The queue it died in.
    pub queue: String,
    /// `rejected`, `expired`, `delivery_limit` or `maxlen`.
    pub reason: String,
    /// Unix milliseconds.
    pub died_at: i64,
    /// Its body, as text.
    pub body: String,
}
