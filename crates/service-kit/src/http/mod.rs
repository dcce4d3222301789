//! HTTP at both ends: the server with its limits, strict bodies, problem answers, and a small client.

mod answer;
mod auth;
mod client;
mod extract;
mod request_id;
mod server;

pub use answer::{ApiError, problem_fallbacks, problem_response};
pub use auth::{bearer, require_bearer};
pub use client::{ClientError, HttpClient, Reply, check_base_url, check_web_url};
pub use extract::{StrictJson, parse_json, require_json};
pub use hyper::body::Incoming;
pub use request_id::{
    RequestId, RequestIds, X_REQUEST_ID, at_work, is_request_id, request_span, with_request_id,
};
pub use server::{Handler, ServerLimits, bind, serve};
