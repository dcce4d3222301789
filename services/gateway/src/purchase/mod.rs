//! The purchase path, `{buy}/tickets` and `{buy}/orders`: everything a crowd meets.
//!
//! Reached without a router and without middleware: at the opening this is all the gateway does.

mod accepted;
mod answer;
pub mod body;
mod decisions;
mod orders;
mod publish;
mod reserve_and_publish;
mod single_flight;
mod tickets;

use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use contract::Code;
use contract::api::BUY_PREFIX;
use parking_lot::Mutex;
use service_kit::http::{ApiError, Incoming, request_span};

use crate::gateway::Gateway;
use crate::limits::Standing;
use crate::measure::Step;

pub use accepted::Accepted;
pub(crate) use answer::json;
pub use answer::{Answer, Refusal};
pub use decisions::Decisions;
pub(crate) use orders::Landed;
pub use single_flight::SingleFlight;

/// Who sends a request, as far as it shows.
pub struct Caller<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// The id of its request.
    pub id: &'a HeaderValue,
    /// Where it stands with the limit that was last held against it: its answer says so.
    pub standing: Mutex<Option<Standing>>,
}

impl<'a> Caller<'a> {
    /// Nothing was held against it yet.
    #[must_use]
    pub fn new(headers: &'a HeaderMap, peer: SocketAddr, id: &'a HeaderValue) -> Self {
        Self { headers, peer, id, standing: Mutex::new(None) }
    }

    /// [`ApiError::internal`], logged with the request's id also where no span of it is open: a refusal has none.
    pub(crate) fn internal(&self, error: impl std::fmt::Display) -> ApiError {
        request_span(self.id).in_scope(|| ApiError::internal(error))
    }

    /// Puts where the caller stands into its answer.
    pub(crate) fn tell(&self, response: &mut Response) {
        if let Some(standing) = &*self.standing.lock() {
            standing.tell(response.headers_mut());
        }
    }
}

/// Answers a request whose path begins with the buy prefix.
pub(crate) async fn handle(
    gateway: &Gateway,
    peer: SocketAddr,
    id: &HeaderValue,
    parts: &Parts,
    body: Incoming,
) -> Response {
    let rest = parts.uri.path().strip_prefix(BUY_PREFIX).unwrap_or_default();
    let (slug, step) = match rest.split_once('/') {
        Some((slug, "tickets")) => (slug, Step::Ticket),
        Some((slug, "orders")) => (slug, Step::Order),
        _ => return ApiError::new(Code::NotFound, "No route has this path.").into_response(),
    };
    if parts.method != Method::POST {
        let mut response = ApiError::new(Code::MethodNotAllowed, "Send POST.").into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let caller = Caller::new(&parts.headers, peer, id);
    let answer = purchase(gateway, slug, step, &caller, body).await;
    gateway.measures.answered(step, &answer);
    let mut response = answer.into_response();
    caller.tell(&mut response);
    response
}

async fn purchase(gateway: &Gateway, slug: &str, step: Step, caller: &Caller<'_>, body: Incoming) -> Answer {
    let Some(sale) = gateway.catalogue.by_slug(slug) else {
        // Guessing slugs is bounded as everything else that strangers do.
        let limited = gateway.identify(caller).err().filter(|r| r.code == Code::RateLimited);
        let unknown = if gateway.catalogue.is_complete() { Code::UnknownPath } else { Code::Unavailable };
        return limited.unwrap_or(Refusal::new(unknown)).into();
    };
    let answer = match step {
        Step::Ticket => tickets::issue(gateway, &sale, caller, body).await,
        Step::Order => orders::place(gateway, &sale, caller, body).await,
    };
    answer.unwrap_or_else(|refusal| refusal)
}
