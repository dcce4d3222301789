//! `x-request-id`: on every answer, in the log lines of its request, and on the calls to other services that are made for
//! it. What a stream does after its answer has begun carries none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id, as an extension of the request.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

/// Mints request ids: a random prefix a process, then a counter. Unique without a random draw each.
#[derive(Clone)]
pub struct RequestIds(Arc<(u32, AtomicU64)>);

impl Default for RequestIds {
    fn default() -> Self {
        let prefix = getrandom::u32().unwrap_or(0);
        Self(Arc::new((prefix, AtomicU64::new(0))))
    }
}

impl RequestIds {
    /// The next id, 24 hex digits.
    #[must_use]
    pub fn next(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let n = self.0.1.fetch_add(1, Ordering::Relaxed);
        let bits = (u128::from(self.0.0) << 64) | u128::from(n);
        let text: [u8; 24] = std::array::from_fn(|i| HEX[((bits >> (92 - 4 * i)) & 15) as usize]);
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// Longest request id that is kept, in bytes.
const LEN_MAX: usize = 64;

/// Whether a given id is kept: it goes into answers and logs.
#[must_use]
pub fn is_request_id(given: &HeaderValue) -> bool {
    let bytes = given.as_bytes();
    (1..=LEN_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// What a request's log lines carry.
#[must_use]
pub fn request_span(id: &HeaderValue) -> Span {
    tracing::error_span!("request", id = id.to_str().unwrap_or_default())
}

tokio::task_local! {
    /// The id of the request that is at work here.
    static AT_WORK: HeaderValue;
}

/// Work for the request of this id: its log lines and its calls to other services carry it. That costs a microsecond,
/// which a refusal that neither logs nor calls need not pay.
pub fn at_work<F: Future>(id: &HeaderValue, work: F) -> impl Future<Output = F::Output> + use<F> {
    AT_WORK.scope(id.clone(), work.instrument(request_span(id)))
}

/// The id of the request that is at work here, if one is.
pub(super) fn id_at_work() -> Option<HeaderValue> {
    AT_WORK.try_with(Clone::clone).ok()
}

/// Middleware: keeps the id that an own proxy or service set, mints one otherwise, and answers with it.
pub async fn with_request_id(State(ids): State<RequestIds>, mut request: Request, next: Next) -> Response {
    let id = match request.headers().get(&X_REQUEST_ID) {
        Some(given) if is_request_id(given) => given.clone(),
        _ => ids.next(),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = at_work(&id, next.run(request)).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_id_is_kept_if_it_can_be_shown_anywhere() {
        for good in ["a", "0af7651916cd43dd8448eb211c80319c", "req_1/2"] {
            assert!(is_request_id(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        for bad in [&b""[..], b"two words", "\u{e9}".as_bytes(), &[b'a'; LEN_MAX + 1]] {
            assert!(!is_request_id(&HeaderValue::from_bytes(bad).unwrap()), "{bad:?}");
        }
        assert_ne!(RequestIds::default().next(), RequestIds::default().next());
    }
}
