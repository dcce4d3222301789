//! Answers that are streams of server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;

/// Between two comments on a silent stream, in seconds.
const KEEP_ALIVE_S: u64 = 15;

/// The answer that streams these events.
pub(super) fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_S));
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A buffering proxy would hold the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
