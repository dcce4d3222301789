//! `x-request-id`: on every answer, and in every log line of its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

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

/// Middleware: keeps the id that an own proxy or service set, mints one otherwise, and answers with it.
pub async fn with_request_id(State(ids): State<RequestIds>, mut request: Request, next: Next) -> Response {
    let id = match request.headers().get(&X_REQUEST_ID) {
        Some(given) if given.len() <= 64 => given.clone(),
        _ => ids.next(),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}
