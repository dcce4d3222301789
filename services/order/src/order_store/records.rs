//! What goes into the store and what comes out of it.

use contract::api::OrderCounts;
use contract::events::{Event, OrderFact};
use domain::{Allocation, BuyerId, Money, OrderId, OrderStatus, ReservationId, SaleId, UnixMillis};

/// An order's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderRecord {
    /// Its id.
    pub id: OrderId,
    /// The sale.
    pub sale: SaleId,
    /// Whose.
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
    /// For all units together.
    pub amount: Money,
    /// Where it stands.
    pub status: OrderStatus,
    /// Whether its units are held under the reservation of a late payment.
    pub late: bool,
    /// Why it was rejected, if it was.
    pub reason: Option<String>,
    /// When its units were reserved.
    pub created_at: UnixMillis,
    /// When payment is due.
    pub pay_by: UnixMillis,
}

impl OrderRecord {
    /// The reservation that holds, or last held, its units.
    #[must_use]
    pub fn reservation(&self) -> ReservationId {
        ReservationId { order: self.id, late: self.late }
    }

    /// What is to be collected for it under this reference.
    #[must_use]
    pub fn charge(self, reference: String) -> Charge {
        let Self { id: order, sale, amount, pay_by, .. } = self;
        Charge { reference, order, sale, amount, pay_by }
    }

    /// What an event says of it, about one of its reservations.
    #[must_use]
    pub fn fact(&self, reservation: ReservationId) -> OrderFact {
        OrderFact {
            order: self.id,
            reservation,
            buyer: self.buyer.clone(),
            quantity: self.quantity,
            amount_cents: self.amount.cents,
            currency: self.amount.currency.to_string(),
            pay_by: self.pay_by,
        }
    }
}

/// A sale's allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocationRecord {
    /// The sale.
    pub sale: SaleId,
    /// The guard itself.
    pub guard: Allocation,
    /// Version of the total.
    pub total_version: u64,
    /// Price of one unit.
    pub price: Money,
    /// Seconds an order may stay unpaid.
    pub pay_within_s: u32,
    /// Units and orders.
    pub counts: OrderCounts,
}

/// What a batch came to, in messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchOutcome {
    /// Orders that now hold units.
    pub taken: u64,
    /// Orders refused by a row of their own.
    pub rejected: u64,
    /// Orders that had a row already.
    pub duplicates: u64,
    /// Reservations fenced.
    pub fences: u64,
    /// Barriers reached.
    pub barriers: u64,
}

/// The answer to a cancellation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cancelled {
    /// Cancelled now.
    Done(OrderRecord),
    /// It is past that.
    NotCancellable(OrderStatus),
    /// No such order of this buyer.
    NotFound,
}

/// The answer to starting a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PaymentBegun {
    /// It is under way from now on.
    Started(Charge),
    /// This one was started before, and nobody has told its end.
    UnderWay(Charge),
    /// It cannot be paid now.
    NotPayable(OrderStatus),
    /// No such order of this buyer.
    NotFound,
}

/// What a payment provider is asked to collect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Names the payment, towards the provider and in the ledger.
    pub reference: String,
    /// What is paid.
    pub order: OrderId,
    /// The sale, to come back to.
    pub sale: SaleId,
    /// How much.
    pub amount: Money,
    /// When payment is due.
    pub pay_by: UnixMillis,
}

/// How the ledger learnt of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Provenance {
    /// The provider told, in this event.
    Webhook {
        /// Unique per event.
        event_id: String,
    },
    /// The provider was asked: before the order is expired, when its buyer wanted to pay again, or when nobody had told
    /// the end of a payment. An order that is still unpaid may be paid past its time: it still holds its units, and the
    /// capture came before anybody expired it.
    Asked,
}

/// Money that a provider has captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// How it became known.
    pub provenance: Provenance,
    /// The payment.
    pub reference: String,
    /// The order it says it is for; any text.
    pub order: String,
    /// Minor units.
    pub amount_cents: i64,
    /// As the provider says it; any text.
    pub currency: String,
}

/// A payment that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaymentFailure {
    /// Unique per event of the provider.
    pub event_id: String,
    /// The payment.
    pub reference: String,
    /// The order it says it is for; any text.
    pub order: String,
    /// Minor units.
    pub amount_cents: i64,
    /// As the provider says it; any text.
    pub currency: String,
}

/// What became of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureOutcome {
    /// Its order is paid.
    Paid,
    /// Its order had expired: units are looked for.
    Late,
    /// It is paid back, for this reason.
    Refunded(&'static str),
    /// It was known.
    Repeat,
}

/// The answer to a refund.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refunded {
    /// Refunded now.
    Done,
    /// It is not a paid order.
    NotRefundable(OrderStatus),
    /// No such order.
    NotFound,
}

/// A payment that was still under way when its order's time was over: the provider must be asked about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverduePayment {
    /// The order.
    pub order: OrderId,
    /// How long the order has been overdue, in milliseconds of the store's clock.
    pub overdue_ms: i64,
    /// The payment.
    pub reference: String,
}

/// What is still to be done, counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Backlog {
    /// How long the oldest event has been waiting to be told, in milliseconds of the store's clock; 0 if none is.
    pub outbox_oldest_ms: u32,
    /// Refunds that the provider has not confirmed.
    pub refunds: u32,
    /// Late payments that wait for units or for their money to go back.
    pub late_payments: u32,
}

/// A payment of an order that can no longer be paid, and of which nobody has told the end: a webhook may be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreportedPayment {
    /// The payment.
    pub reference: String,
    /// The order it was started for.
    pub order: OrderId,
    /// How often the provider was asked so far.
    pub asks: u32,
}

/// What is done about a payment of which nobody has told the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnreportedFate {
    /// The provider says that it came to nothing.
    Failed,
    /// The provider is asked again after so many milliseconds.
    AskIn(i64),
    /// It is asked no more. A webhook is still believed.
    GiveUp,
}

/// A late payment that looks for units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LateWork {
    /// The captured payment.
    pub reference: String,
    /// The expired order.
    pub order: OrderRecord,
    /// Attempts so far.
    pub attempts: u32,
    /// How long it has been waiting, in milliseconds of the store's clock.
    pub waiting_ms: i64,
}

/// What the ledger did with a late reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateCommit {
    /// The order is paid.
    Paid,
    /// No units after all: the payment is paid back, the reservation released.
    Refused,
    /// The reservation was made in another stock state: reserve again.
    OtherEpoch,
    /// The payment no longer waits.
    Settled,
}

/// A refund the provider has to carry out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefundWork {
    /// The payment to pay back.
    pub reference: String,
    /// The reference that its charge was opened under: the same without `+<k>`.
    pub charge: String,
    /// Minor units.
    pub amount_cents: i64,
    /// As the provider said it.
    pub currency: String,
    /// Attempts so far.
    pub attempts: u32,
}

/// An order with all its money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderHistory {
    /// The row.
    pub order: OrderRecord,
    /// Oldest first.
    pub payments: Vec<contract::api::Payment>,
    /// Oldest first.
    pub refunds: Vec<contract::api::Refund>,
}

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Rises; never comes twice.
    pub seq: i64,
    /// What to publish.
    pub event: Event,
}
