//! Bearer tokens that are shared secrets: the operators' and the services' own.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::Code;

use super::ApiError;
use crate::Secret;

/// The request's bearer token, if it shows exactly one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// Middleware: only requests that show this token pass.
pub async fn require_bearer(State(token): State<Secret>, request: Request, next: Next) -> Response {
    match bearer(request.headers()) {
        Some(shown) if token.matches(shown) => next.run(request).await,
        _ => ApiError::new(Code::Unauthenticated, "This needs its bearer token.").into_response(),
    }
}
