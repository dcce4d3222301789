//! Bodies of the public and the admin listener.

mod operators;

use domain::{
    BuyerId, Currency, Money, MoneyError, OrderId, OrderStatus, SaleId, SaleState, SaleTerms, TermsError,
    UnixMillis,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rules::SaleRules;

pub use operators::{
    AdminOrder, Audit, DeadLetter, DeadLetters, Finding, Ledger, OrderCounts, Payment, QueueInfo, Queues,
    Refund, StockCounts,
};

/// Prefix of every buy path; a sale's secret slug follows.
pub const BUY_PREFIX: &str = "/api/v1/buy/";
/// Where the payment provider reports, on the public listener and on the order service's internal one.
pub const WEBHOOK_PATH: &str = "/api/v1/payments/webhook";
/// The header with the signature of a webhook.
pub const WEBHOOK_SIGNATURE_HEADER: &str = "seckill-signature";
/// The header that makes the repeat of an operator's request do nothing more.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// Largest request body in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// A sale as buyers see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sale {
    /// Its id.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub id: SaleId,
    /// Its title.
    pub title: String,
    /// Price of one unit, in minor units.
    pub price_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units offered in all.
    pub stock: u32,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
    /// First moment of selling.
    pub opens_at: i64,
    /// First moment after selling.
    pub ends_at: i64,
    /// Seconds an order may stay unpaid.
    pub pay_within_s: u32,
}

impl Sale {
    /// The sale with these terms, as the wire shows it.
    #[must_use]
    pub fn new(id: &SaleId, terms: &SaleTerms) -> Self {
        Self {
            id: id.clone(),
            title: terms.title.clone(),
            price_cents: terms.price.cents,
            currency: terms.price.currency.to_string(),
            stock: terms.stock,
            per_user_limit: terms.per_user_limit,
            opens_at: terms.opens_at.0,
            ends_at: terms.ends_at.0,
            pay_within_s: terms.pay_within_s,
        }
    }
}

/// `GET /api/v1/sales`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SaleList {
    /// All sales, by opening time.
    pub sales: Vec<Sale>,
}

/// A sale as operators see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdminSale {
    /// What buyers see.
    #[serde(flatten)]
    pub sale: Sale,
    /// Its state now ([`SaleState::as_str`]).
    pub state: String,
    /// The buy path, secret until the sale opens.
    pub buy: String,
    /// Epoch of the stock state that is in force; 0 while none is.
    pub epoch: u64,
    /// When it was created.
    pub created_at: i64,
    /// What it asks of its crowd.
    #[serde(default)]
    pub rules: SaleRules,
}

/// `GET /admin/v1/sales`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdminSaleList {
    /// All sales, by opening time.
    pub sales: Vec<AdminSale>,
}

/// `POST /admin/v1/sales`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSale {
    /// Minted when absent.
    #[serde(default, with = "crate::text::option", skip_serializing_if = "Option::is_none")]
    pub id: Option<SaleId>,
    /// 1 to 200 bytes, not blank, no control characters.
    pub title: String,
    /// Price of one unit, in minor units.
    pub price_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units.
    pub stock: u32,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
    /// Unix milliseconds; may be past.
    pub opens_at: i64,
    /// Unix milliseconds.
    pub ends_at: i64,
    /// Seconds.
    pub pay_within_s: u32,
    /// What it asks of its crowd; nothing when absent.
    #[serde(default, deserialize_with = "crate::object::option", skip_serializing_if = "Option::is_none")]
    pub rules: Option<SaleRules>,
}

/// Why a new sale's terms are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewSaleError {
    /// Not a currency.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A term out of range.
    #[error(transparent)]
    Terms(#[from] TermsError),
}

impl NewSale {
    /// The terms, checked.
    ///
    /// # Errors
    /// The first term that cannot be offered.
    pub fn terms(&self) -> Result<SaleTerms, NewSaleError> {
        let currency: Currency = self.currency.parse()?;
        let terms = SaleTerms {
            title: self.title.clone(),
            price: Money { cents: self.price_cents, currency },
            stock: self.stock,
            per_user_limit: self.per_user_limit,
            opens_at: UnixMillis(self.opens_at),
            ends_at: UnixMillis(self.ends_at),
            pay_within_s: self.pay_within_s,
        };
        terms.check()?;
        Ok(terms)
    }
}

/// `PATCH /admin/v1/sales/{id}`: title, times and rules; what is absent stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalePatch {
    /// New title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// New opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<i64>,
    /// New end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<i64>,
    /// New rules, in place of all the old ones.
    #[serde(default, deserialize_with = "crate::object::option", skip_serializing_if = "Option::is_none")]
    pub rules: Option<SaleRules>,
}

/// `POST /admin/v1/sales/{id}/restock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restock {
    /// Units to add, at least 1.
    pub quantity: u32,
}

/// `GET /api/v1/sales/{sale}/gate`; at most 256 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// The sale.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub sale: SaleId,
    /// [`SaleState::as_str`].
    pub state: String,
    /// The stock store's clock.
    pub now: i64,
    /// First moment of selling.
    pub opens_at: i64,
    /// First moment after selling.
    pub ends_at: i64,
    /// Whether buyers are let in through `/api/v1/sales/{sale}/waiting-room`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub room: bool,
    /// From opening to end only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buy: Option<String>,
}

impl Gate {
    /// Whether a gate in this state shows the buy path.
    #[must_use]
    pub fn shows_path(state: SaleState) -> bool {
        matches!(state, SaleState::Open | SaleState::Paused | SaleState::SoldOut)
    }
}

/// The body of `POST {buy}/tickets`. It may be left out; one that is sent must have this form, whatever the sale asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// To a challenge that was given with `proof_required`.
    #[serde(default, deserialize_with = "crate::object::option", skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// From the sale's waiting room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
}

/// What a sale asks for before it gives a ticket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProofWanted {
    /// Opaque; good once, for this buyer and sale.
    pub challenge: String,
    /// Leading zero bits that SHA-256 of `challenge:solution` must have.
    pub bits: u8,
    /// An SVG image whose digits are the answer, if one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captcha: Option<String>,
}

/// The answer to [`ProofWanted`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// As it was given.
    pub challenge: String,
    /// Any text of at most 32 bytes that does it.
    pub solution: String,
    /// The captcha's answer, if one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captcha: Option<String>,
}

/// `GET /api/v1/sales/{sale}/waiting-room`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingRoom {
    /// SHA-256 of the draw's seed, in hex.
    pub commitment: String,
    /// The seed, in hex, once the sale has opened: a buyer's lot is the first 8 bytes of HMAC-SHA-256 of
    /// the buyer's name under it, and the smaller comes first.
    pub seed: Option<String>,
    /// How many wait at this gateway.
    pub waiting: u32,
    /// How many this gateway lets in per second.
    pub admit_per_s: u32,
}

/// `POST /api/v1/sales/{sale}/waiting-room`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakePlace {
    /// The place that was taken before, if one was: one that is a minute old at most is given back, at any gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Where a buyer stands in a waiting room: the answer, and the data of its events.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct WaitingPlace {
    /// Opaque: keep the newest one, to get the place back; good for a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The sale's state: `sold_out` is told to everybody at once.
    pub state: String,
    /// 1 is next; null before the draw, and once let in.
    pub position: Option<u32>,
    /// Seconds until then, at the room's pace.
    pub wait_s: Option<u32>,
    /// Let in: goes into the ticket request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// When that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_ends_at: Option<i64>,
    /// This gateway does not know the buyer: take the place again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_lost: bool,
}

/// `POST {buy}/tickets`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TicketIssued {
    /// Opaque; goes into the order request.
    pub ticket: String,
    /// The id the order will have.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// Unix milliseconds.
    pub expires_at: i64,
}

/// `POST {buy}/orders`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// From [`TicketIssued`].
    pub ticket: String,
    /// 1 to `per_user_limit`. Wide, so that any integer gets the answer about quantities.
    pub quantity: i64,
}

/// The 202 to a placed order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The ticket's order id.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// Its present status.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub status: OrderStatus,
    /// Where to follow it.
    pub status_url: String,
}

/// An order as its buyer sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its id.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The sale.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub sale: SaleId,
    /// Units.
    pub quantity: u32,
    /// Minor units, for all units together.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Where it stands.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub status: OrderStatus,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds; null while queued.
    pub pay_by: Option<i64>,
}

/// `GET /api/v1/orders`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderList {
    /// Newest first.
    pub orders: Vec<Order>,
    /// Pass as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// `POST /api/v1/orders/{id}/payment`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentStarted {
    /// Where the buyer pays.
    pub payment_url: String,
    /// The platform's name for the payment, `pay-<order id>-<n>`. The provider gets it as idempotency key.
    pub reference: String,
}

/// `POST /api/v1/payments/webhook`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEvent {
    /// Unique per event of the provider.
    pub event_id: String,
    /// `payment.succeeded` or `payment.failed`.
    #[serde(rename = "type")]
    pub kind: WebhookKind,
    /// The payment's reference.
    pub reference: String,
    /// The order it says it is for. Any text: an unknown order is recorded, not refused.
    pub order_id: String,
    /// Captured, in minor units.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What a webhook tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub enum WebhookKind {
    /// Money was captured.
    #[serde(rename = "payment.succeeded")]
    Succeeded,
    /// It was not.
    #[serde(rename = "payment.failed")]
    Failed,
}

/// `POST /api/v1/demo/login`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DemoLogin {
    /// Who to be.
    #[serde(with = "crate::text")]
    #[schema(value_type = String)]
    pub user: BuyerId,
}

/// The answer to a demo login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DemoToken {
    /// A bearer token.
    pub token: String,
}

/// `GET /api/v1/demo/mailbox`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Mailbox {
    /// Newest first.
    pub notices: Vec<crate::events::Notice>,
}
