//! The sandbox's pay page: plain HTML, no script, no inline style.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::books::{Entry, Fate};
use super::{LATE_AFTER_MS, Sandbox};
use crate::payment::{ChargeStatus, ProviderError};

/// What the page may load and where its form may go.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/pay/{reference}", get(show).post(choose)).with_state(sandbox)
}

async fn show(State(sandbox): State<Arc<Sandbox>>, Path(reference): Path<String>) -> Response {
    match sandbox.books.find(&reference).await {
        Ok(Some(entry)) => page(StatusCode::OK, &form(&entry)),
        Ok(None) => page(StatusCode::NOT_FOUND, "<p>There is no such payment.</p>"),
        Err(error) => unavailable(&error),
    }
}

async fn choose(State(sandbox): State<Arc<Sandbox>>, Path(reference): Path<String>, body: Bytes) -> Response {
    let entry = match sandbox.books.find(&reference).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return page(StatusCode::NOT_FOUND, "<p>There is no such payment.</p>"),
        Err(error) => return unavailable(&error),
    };
    let mut fields = body.split(|byte| *byte == b'&');
    let done = match fields.find_map(|field| field.strip_prefix(b"action=")) {
        Some(b"succeed") => decide(&sandbox, &entry, Fate::Captured).await,
        Some(b"fail") => match decide(&sandbox, &entry, Fate::Failed).await {
            // The page cannot ask what became of a payment: it is told.
            Ok(()) => return back_to_sale(&entry, "#payment=failed"),
            Err(error) => Err(error),
        },
        Some(b"late") => sandbox.books.schedule(&entry, entry.pay_by.plus(LATE_AFTER_MS)).await,
        _ => return page(StatusCode::BAD_REQUEST, "<p>Choose one of the buttons.</p>"),
    };
    match done {
        Ok(()) => back_to_sale(&entry, ""),
        Err(error) => unavailable(&error),
    }
}

/// Decides, and tells at once so that the buyer comes back to a shop that knows. If it is not heard,
/// the errands tell again.
async fn decide(sandbox: &Sandbox, entry: &Entry, fate: Fate) -> Result<(), ProviderError> {
    if let Some(webhook) = sandbox.books.decide(entry, fate, sandbox.clock.now()).await?
        && let Err(error) = sandbox.deliver(&webhook).await
    {
        tracing::warn!(%error, "a webhook was not heard; it comes again");
    }
    Ok(())
}

fn back_to_sale(entry: &Entry, fragment: &str) -> Response {
    let location = format!("/s/{}{fragment}", entry.sale);
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn unavailable(error: &ProviderError) -> Response {
    tracing::warn!(%error, "the pay page is away");
    let away = "<p>The payment sandbox is away. Try again in a moment.</p>";
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, away);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Every value comes from the books, and is made of characters that need no escaping.
fn form(entry: &Entry) -> String {
    let amount = domain::money::shown(entry.amount_cents, &entry.currency);
    let body = match entry.status() {
        ChargeStatus::Open if entry.scheduled => {
            "<p role=\"status\">This payment will arrive late: after the time to pay.</p>".to_owned()
        }
        ChargeStatus::Open => format!(
            "<form method=\"post\" action=\"/pay/{}\">\
             <button class=\"button\" name=\"action\" value=\"succeed\">Pay {amount}</button>\
             <button class=\"button button-quiet\" name=\"action\" value=\"fail\">Let it fail</button>\
             <button class=\"button button-quiet\" name=\"action\" value=\"late\">Pay too late</button></form>",
            entry.reference
        ),
        ChargeStatus::Captured { .. } => "<p role=\"status\">This payment was made.</p>".to_owned(),
        ChargeStatus::Failed => "<p role=\"status\">This payment failed. Start another.</p>".to_owned(),
    };
    format!(
        "<h1>{amount}</h1><p>Order <code>{}</code></p>{body}<p><a href=\"/s/{}\">Back to the sale</a></p>",
        entry.order, entry.sale
    )
}

fn page(status: StatusCode, content: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Pay</title><link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/assets/css/plain.css\">\
         <link rel=\"stylesheet\" href=\"/assets/css/pay.css\"></head>\
         <body class=\"pay\"><main class=\"pay-card\"><p>Payment sandbox: no money moves.</p>{content}</main>\
         </body></html>"
    );
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (status, headers, Html(html)).into_response()
}
