//! Errors as answers: a problem document, and the headers its status demands.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::{Code, Problem};

/// An error on its last step: what the client is told.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// Which one.
    pub code: Code,
    /// What is wrong with this very request.
    pub detail: String,
    /// Whole seconds, for 429 and 503; 1 unless said otherwise.
    pub retry_after_s: u64,
    /// `not_enough` only.
    pub available: Option<u32>,
    /// `proof_required` only.
    pub proof: Option<Box<contract::api::ProofWanted>>,
}

impl ApiError {
    /// The error with this code and detail.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_s: 1, available: None, proof: None }
    }

    /// With this `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = seconds.max(1);
        self
    }

    /// A bug or an unexpected failure: logged here, in full; the client learns nothing of it.
    #[must_use]
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "internal error");
        Self::new(Code::Internal, "The error was logged with this answer's x-request-id.")
    }

    /// The problem document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let proof = self.proof.as_deref().cloned();
        Problem { available: self.available, proof, ..Problem::new(self.code, self.detail.clone()) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        problem_response(self.code, self.retry_after_s, body)
    }
}

/// An answer with this problem document as its body, and with the headers that its status demands; `retry_after_s` is
/// for 429 and 503.
pub fn problem_response(code: Code, retry_after_s: u64, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// Gives a router the contract's answers to unknown routes and methods. axum adds `Allow` itself.
pub fn problem_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { ApiError::new(Code::NotFound, "No route has this path.") })
        .method_not_allowed_fallback(|method: Method| async move {
            ApiError::new(Code::MethodNotAllowed, format!("{method} is not one of this path's methods."))
        })
}
