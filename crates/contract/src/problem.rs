//! Problem documents (RFC 9457): the one shape of every error answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal;)*) => {
        /// What went wrong, as the contract names it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code's word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status it always comes with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short sentence for people, the same at every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    BadRequest = 400 "bad_request" "The request cannot be understood";
    /// No valid bearer token.
    Unauthenticated = 401 "unauthenticated" "Sign in first";
    /// The webhook's signature does not hold.
    BadSignature = 401 "bad_signature" "The signature does not match the body";
    /// The sale has not opened.
    NotOpen = 403 "not_open" "The sale has not opened yet";
    /// The operator holds the sale.
    Paused = 403 "paused" "The sale is paused";
    /// The sale asks for a proof, and the request has none that holds.
    ProofRequired = 403 "proof_required" "Solve the challenge first";
    /// The sale lets buyers in through its waiting room.
    WaitingRoom = 403 "waiting_room" "Wait for your turn first";
    /// No such route.
    NotFound = 404 "not_found" "There is nothing here";
    /// No such sale.
    SaleNotFound = 404 "sale_not_found" "There is no such sale";
    /// No such buy path.
    UnknownPath = 404 "unknown_path" "There is no such buy path";
    /// No such order, or another buyer's.
    OrderNotFound = 404 "order_not_found" "There is no such order";
    /// The route exists, the method does not.
    MethodNotAllowed = 405 "method_not_allowed" "This method is not allowed here";
    /// No unit is free now.
    SoldOut = 409 "sold_out" "Sold out";
    /// Fewer units are free than asked for.
    NotEnough = 409 "not_enough" "Fewer units are left than you asked for";
    /// The buyer holds as many units as one buyer may.
    LimitReached = 409 "limit_reached" "You already hold as many units as one buyer may";
    /// The ticket was used with another quantity.
    TicketMismatch = 409 "ticket_mismatch" "This ticket was used with another quantity";
    /// The order cannot be paid now.
    NotPayable = 409 "not_payable" "The order cannot be paid in its present state";
    /// The order cannot be cancelled now.
    NotCancellable = 409 "not_cancellable" "The order cannot be cancelled in its present state";
    /// The order cannot be refunded now.
    NotRefundable = 409 "not_refundable" "The order cannot be refunded in its present state";
    /// The sale exists already, with other terms; or the idempotency key was used with another body.
    Conflict = 409 "conflict" "This contradicts what is already there";
    /// The sale is over.
    Ended = 410 "ended" "The sale is over";
    /// The body is too large.
    TooLarge = 413 "too_large" "The request body is too large";
    /// The body is not JSON.
    UnsupportedMediaType = 415 "unsupported_media_type" "The body must be application/json";
    /// The ticket is forged, expired, another buyer's or another sale's.
    InvalidTicket = 422 "invalid_ticket" "This ticket is not valid";
    /// The quantity is outside 1..=`per_user_limit`.
    InvalidQuantity = 422 "invalid_quantity" "This quantity cannot be bought";
    /// The sale's terms cannot be offered.
    InvalidSale = 422 "invalid_sale" "These terms cannot be offered";
    /// Too many requests.
    RateLimited = 429 "rate_limited" "Too many requests";
    /// A bug, logged with the request id.
    Internal = 500 "internal" "Something went wrong on our side";
    /// The platform sheds load.
    Overloaded = 503 "overloaded" "Very busy: try again shortly";
    /// A part of the platform cannot be reached.
    Unavailable = 503 "unavailable" "Not available right now: try again shortly";
}

/// The body of every error answer, `application/problem+json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:seckill:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// [`Code`]'s word.
    pub code: String,
    /// [`Code::title`].
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request.
    pub detail: String,
    /// `not_enough` only: how many units are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<u32>,
    /// `proof_required` only: the challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<crate::api::ProofWanted>,
}

impl Problem {
    /// A problem of this code about this request.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:seckill:problem:{}", code.as_str()),
            code: code.as_str().into(),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            available: None,
            proof: None,
        }
    }
}
