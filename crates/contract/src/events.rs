//! What has happened, told to whoever listens: events, sale broadcasts, notices.

use domain::{BuyerId, Epoch, OrderId, OrderStatus, ReservationId, SaleId, UnixMillis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an event tells, and its routing key on the topic exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// Orders were committed as payable: settle their reservations.
    #[serde(rename = "order.placed")]
    OrderPlaced,
    /// Orders were refused by the ledger: release their reservations.
    #[serde(rename = "order.rejected")]
    OrderRejected,
    /// Orders were paid. After a late payment `reservation` is the late one: settle it.
    #[serde(rename = "order.paid")]
    OrderPaid,
    /// Orders were cancelled: release.
    #[serde(rename = "order.cancelled")]
    OrderCancelled,
    /// Orders were not paid in time: release.
    #[serde(rename = "order.expired")]
    OrderExpired,
    /// Paid orders were refunded: release.
    #[serde(rename = "order.refunded")]
    OrderRefunded,
    /// A barrier was reached: the sale's epoch is `epoch` from here on.
    #[serde(rename = "ledger.barrier")]
    BarrierReached,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::OrderPlaced,
        Self::OrderRejected,
        Self::OrderPaid,
        Self::OrderCancelled,
        Self::OrderExpired,
        Self::OrderRefunded,
        Self::BarrierReached,
    ];

    /// The routing key.
    #[must_use]
    pub fn routing_key(self) -> &'static str {
        match self {
            Self::OrderPlaced => "order.placed",
            Self::OrderRejected => "order.rejected",
            Self::OrderPaid => "order.paid",
            Self::OrderCancelled => "order.cancelled",
            Self::OrderExpired => "order.expired",
            Self::OrderRefunded => "order.refunded",
            Self::BarrierReached => "ledger.barrier",
        }
    }

    /// The event that tells an order has come to this state, if one does.
    #[must_use]
    pub fn of_status(status: OrderStatus) -> Option<Self> {
        match status {
            OrderStatus::Queued => None,
            OrderStatus::PendingPayment => Some(Self::OrderPlaced),
            OrderStatus::Paid => Some(Self::OrderPaid),
            OrderStatus::Cancelled => Some(Self::OrderCancelled),
            OrderStatus::Expired => Some(Self::OrderExpired),
            OrderStatus::Rejected => Some(Self::OrderRejected),
            OrderStatus::Refunded => Some(Self::OrderRefunded),
        }
    }

    /// Whether the orders of this event hold units: their reservations are to be settled. Otherwise
    /// they are to be released.
    #[must_use]
    pub fn holds_units(self) -> bool {
        matches!(self, Self::OrderPlaced | Self::OrderPaid)
    }
}

/// One outbox row: one kind of thing that happened to one sale in one transaction. May come twice,
/// late, and in any order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unique; the same whenever the same row is published again.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// To which sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The sale's epoch in the ledger when it happened.
    #[serde(with = "crate::text::epoch")]
    pub epoch: Epoch,
    /// When, by the ledger's clock.
    #[serde(with = "crate::text::millis")]
    pub at: UnixMillis,
    /// To which orders; empty for a barrier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderFact>,
}

/// What an event says of one order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderFact {
    /// The order.
    #[serde(with = "crate::text")]
    pub order: OrderId,
    /// The reservation to settle or release.
    #[serde(with = "crate::text")]
    pub reservation: ReservationId,
    /// Whose order.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
    /// Minor units of the sale's currency.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// When payment is due.
    #[serde(with = "crate::text::millis")]
    pub pay_by: UnixMillis,
}

/// What every gateway must hear of a sale. Older ones (by `change`) are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SaleBroadcast {
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The stock store's change counter.
    pub change: Change,
    /// What happened.
    pub news: SaleNews,
}

/// What a broadcast tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleNews {
    /// A new sale, new terms, or a rebuilt stock state: read the sale afresh.
    Opened,
    /// Held by the operator.
    Paused,
    /// No unit is free.
    SoldOut,
    /// Units are free again.
    Available,
    /// Over.
    Ended,
    /// The stock state was lost and is being rebuilt.
    Rebuilding,
}

/// The stock store's change counter of a sale: rises with every change of its state, and with the
/// epoch first, so that a rebuilt sale outranks all it said before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    /// The stock state's epoch.
    pub epoch: u64,
    /// Changes within it.
    pub n: u64,
}

/// How a notice travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
    /// Text message.
    Sms,
    /// Hand-off to shipping.
    Shipping,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::Shipping];

    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Shipping => "shipping",
        }
    }
}

/// How soon a notice matters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// The buyer waits for it.
    High,
    /// Good to know.
    Normal,
}

impl Priority {
    /// Every priority.
    pub const ALL: [Self; 2] = [Self::High, Self::Normal];

    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
        }
    }
}

/// A message to a buyer, or to the warehouse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// `<kind>-<order id>-<channel>`: a notice made twice has the same id.
    pub id: String,
    /// How it travels.
    pub channel: Channel,
    /// How soon it matters.
    pub priority: Priority,
    /// To whom.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub buyer: BuyerId,
    /// About which order.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// When it was written.
    #[serde(with = "crate::text::millis")]
    #[schema(value_type = i64)]
    pub created_at: UnixMillis,
}
