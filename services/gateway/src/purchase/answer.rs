//! What a purchase request is told, before it is HTTP and as HTTP.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::api::{Accepted, BODY_BYTES_MAX, TicketIssued};
use contract::{Code, Problem};
use domain::{OrderId, OrderStatus, SaleState};
use service_kit::http::{ApiError, problem_response};
use stock::ClosedReason;

// A refusal's text says so.
const _: () = assert!(BODY_BYTES_MAX == 16_384);

/// The answer to a purchase request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200: a ticket.
    Issued(TicketIssued),
    /// 202: the order exists, or is on its way.
    Accepted {
        /// The order.
        order: OrderId,
        /// Where it stands.
        status: OrderStatus,
    },
    /// A refusal whose text is always the same.
    Refused(Refusal),
    /// A refusal whose text depends on the request.
    Problem(Box<ApiError>),
}

/// A refusal whose text is always the same: small, and its body is built once a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// Whole seconds, for 429 and 503.
    pub retry_after_s: u32,
    /// `not_enough` only.
    pub available: Option<u32>,
}

impl Refusal {
    /// The refusal of this code.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, retry_after_s: 1, available: None }
    }

    /// Why a sale in this state sells nothing, if it does not.
    #[must_use]
    pub const fn of_state(state: SaleState) -> Option<Self> {
        match state {
            SaleState::Open => None,
            SaleState::SoldOut => Some(Self::new(Code::SoldOut)),
            SaleState::Upcoming => Some(Self::new(Code::NotOpen)),
            SaleState::Paused => Some(Self::new(Code::Paused)),
            SaleState::Ended => Some(Self::new(Code::Ended)),
        }
    }

    /// The store's word for the same.
    #[must_use]
    pub const fn of_closed(because: ClosedReason) -> Self {
        match because {
            ClosedReason::NotOpen => Self::new(Code::NotOpen),
            ClosedReason::Paused => Self::new(Code::Paused),
            ClosedReason::Ended => Self::new(Code::Ended),
        }
    }

    /// Whether only the stock store gives it.
    #[must_use]
    pub const fn is_the_stores(self) -> bool {
        matches!(self.code, Code::LimitReached | Code::NotEnough | Code::TicketMismatch)
    }

    fn detail(self) -> &'static str {
        match self.code {
            Code::Unauthenticated => "This needs a bearer token that has not ended.",
            Code::WaitingRoom => "Take a place at the sale's waiting-room, and bring its pass.",
            Code::NotOpen => "Watch the sale's gate: it shows the moment and the state.",
            Code::Paused => "The sale is held for a moment. Watch its gate.",
            Code::UnknownPath => "A buy path is found in its sale's gate, from opening to end.",
            Code::SoldOut => "No unit is free now. Unpaid units come back: watch the sale's gate.",
            Code::NotEnough => "Ask for no more than what is available.",
            Code::LimitReached => {
                "The units you hold and those you ask for are more than one buyer may hold."
            }
            Code::TicketMismatch => "Retry with the same quantity, or fetch a new ticket.",
            Code::Ended => "Nothing more is sold here.",
            Code::InvalidTicket => "Fetch a new ticket and try again.",
            Code::InvalidQuantity => "The quantity must be 1 to the sale's per_user_limit.",
            Code::RateLimited => "Slow down, and retry after the time in Retry-After.",
            Code::Overloaded => "Retry the same ticket, if you have one, after the time in Retry-After.",
            Code::TooLarge => "A body may have 16384 bytes.",
            _ => "Retry the same ticket, if you have one: it holds your place.",
        }
    }

    fn problem(self) -> Problem {
        Problem { available: self.available, ..Problem::new(self.code, self.detail()) }
    }

    fn body(self) -> Bytes {
        /// By the code's place among all codes.
        static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            let all = Code::ALL.iter().map(|code| Refusal::new(*code).problem());
            all.map(|problem| serde_json::to_vec(&problem).unwrap_or_default()).collect()
        });
        match self.available {
            None => Bytes::from_static(&BODIES[self.code as usize]),
            Some(_) => serde_json::to_vec(&self.problem()).unwrap_or_default().into(),
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Self::Problem(Box::new(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        problem_response(self.code, u64::from(self.retry_after_s), self.body())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Issued(ticket) => json(StatusCode::OK, &ticket),
            Self::Accepted { order, status } => {
                let status_url = format!("/api/v1/orders/{order}");
                json(StatusCode::ACCEPTED, &Accepted { order_id: order, status, status_url })
            }
            Self::Refused(refusal) => refusal.into_response(),
            Self::Problem(error) => error.into_response(),
        }
    }
}

/// A private JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let mut response = Response::new(serde_json::to_vec(body).unwrap_or_default().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_prebuilt_body() {
        for code in Code::ALL {
            let problem: Problem = serde_json::from_slice(&Refusal::new(*code).body()).unwrap();
            assert_eq!(problem.code, code.as_str());
            assert_eq!(problem.status, code.status());
        }
    }
}
