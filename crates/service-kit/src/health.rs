//! Liveness and readiness, and the open routes of the operators' listener.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use contract::Code;
use parking_lot::RwLock;
use serde::Serialize;

use crate::http::{ApiError, RequestIds, problem_fallbacks, with_request_id};
use crate::telemetry::Metrics;

/// What a process needs before it can serve, and whether it has it.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<&'static str, Option<String>>>>);

#[derive(Serialize)]
struct Report {
    ready: bool,
    waiting_for: BTreeMap<&'static str, String>,
}

impl Health {
    /// Says that `part` is needed and not there yet.
    pub fn needs(&self, part: &'static str) {
        self.0.write().insert(part, Some("starting".into()));
    }

    /// Says that `part` works.
    pub fn up(&self, part: &'static str) {
        self.set(part, None);
    }

    /// Says that `part` does not work, and why.
    pub fn down(&self, part: &'static str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// Says whether `part` works, by what it answered.
    pub fn answered<T, E: Display>(&self, part: &'static str, answer: Result<T, E>) {
        match answer {
            Ok(_) => self.up(part),
            Err(why) => self.down(part, why.to_string()),
        }
    }

    fn set(&self, part: &'static str, state: Option<String>) {
        // Told every few hundred milliseconds by watchers, so only a change takes the write lock.
        if self.0.read().get(part) != Some(&state) {
            self.0.write().insert(part, state);
        }
    }

    /// Whether every needed part works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.read().values().all(Option::is_none)
    }

    fn report(&self) -> Report {
        let parts = self.0.read();
        let waiting_for: BTreeMap<_, _> =
            parts.iter().filter_map(|(part, why)| Some((*part, why.clone()?))).collect();
        Report { ready: waiting_for.is_empty(), waiting_for }
    }
}

/// [`routes`] as a whole listener: everything else there is a problem document, and every answer has its request id.
pub fn listener(health: &Health, metrics: &Metrics) -> Router {
    with_ids(problem_fallbacks(routes(health, metrics)))
}

/// The same while the process opens its parts: whatever else is asked for will be there later.
pub fn listener_while_opening(health: &Health, metrics: &Metrics) -> Router {
    let later =
        || async { ApiError::new(Code::Unavailable, "It is starting: /readyz says what it waits for.") };
    with_ids(problem_fallbacks(routes(health, metrics)).fallback(later))
}

fn with_ids(router: Router) -> Router {
    router.layer(from_fn_with_state(RequestIds::default(), with_request_id))
}

/// `/metrics`, `/healthz` (the process runs) and `/readyz` (it can serve; 503 names what is missing).
pub fn routes<S: Clone + Send + Sync + 'static>(health: &Health, metrics: &Metrics) -> Router<S> {
    let (health, metrics) = (health.clone(), metrics.clone());
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let report = health.report();
                async move {
                    if report.ready {
                        return axum::Json(report).into_response();
                    }
                    let retry = [(header::RETRY_AFTER, "1")];
                    (StatusCode::SERVICE_UNAVAILABLE, retry, axum::Json(report)).into_response()
                }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                let text = metrics.render();
                async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
            }),
        )
}
