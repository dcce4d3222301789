//! A baseline for benchmarks: an axum handler that answers every purchase with the same refusal, without
//! looking at it. Prints its port, then serves until it is ended.
#![expect(clippy::print_stdout, reason = "whoever starts it reads the port")]

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use tokio::net::TcpListener;

const BODY: &str = r#"{"type":"urn:seckill:problem:sold_out","code":"sold_out","title":"Sold out","status":409,"detail":"No unit is free now. Unpaid units come back: watch the sale's gate."}"#;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let refuse = async || {
        let headers =
            [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        (StatusCode::CONFLICT, headers, BODY).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    // The gateway's own paths: both are sent the same bytes.
    axum::serve(listener, Router::new().route("/api/v1/buy/{slug}/{step}", post(refuse))).await
}
