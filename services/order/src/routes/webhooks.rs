//! The provider's webhooks. The signature is checked before anything is read.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use contract::Code;
use contract::api::{WEBHOOK_SIGNATURE_HEADER, WebhookEvent, WebhookKind};
use serde::Serialize;
use service_kit::http::ApiError;

use super::App;
use crate::order_store::{Capture, PaymentFailure, Provenance};
use crate::webhook::verify;

/// Longest event id and reference, in bytes.
const TEXT_LEN_MAX: usize = 200;

/// The answer to every event that was recorded, whatever became of it.
#[derive(Serialize)]
pub(super) struct Recorded {
    recorded: bool,
}

/// `POST /internal/v1/webhook`, `POST /api/v1/payments/webhook`.
pub(super) async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Recorded>, ApiError> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(Code::TooLarge, "The body is too large."),
        _ => ApiError::new(Code::BadRequest, "The body could not be read."),
    })?;
    let signature = headers.get(WEBHOOK_SIGNATURE_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
    verify(&app.webhook_secret, app.clock.now(), signature, &body)
        .map_err(|e| ApiError::new(Code::BadSignature, format!("{e}.")))?;
    let event = parse(&body).map_err(|why| ApiError::new(Code::BadRequest, why))?;
    record(&app, event).await?;
    Ok(Json(Recorded { recorded: true }))
}

fn parse(body: &[u8]) -> Result<WebhookEvent, String> {
    // serde takes a list of the fields for an object; the contract does not.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err("The body is not as documented: expected an object.".into());
    }
    let event: WebhookEvent =
        serde_json::from_slice(body).map_err(|e| format!("The body is not as documented: {e}."))?;
    let texts = [&event.event_id, &event.reference, &event.order_id, &event.currency];
    if texts.iter().any(|text| text.is_empty() || text.len() > TEXT_LEN_MAX) {
        return Err(format!("Texts must have 1 to {TEXT_LEN_MAX} bytes."));
    }
    if texts.iter().any(|text| text.contains(char::is_control)) {
        return Err("Texts must have no control characters.".into());
    }
    if event.amount_cents < 0 {
        return Err("amount_cents must be 0 or more.".into());
    }
    Ok(event)
}

async fn record(app: &App, event: WebhookEvent) -> Result<(), ApiError> {
    let WebhookEvent { event_id, kind, reference, order_id, amount_cents, currency } = event;
    match kind {
        WebhookKind::Succeeded => {
            let provenance = Provenance::Webhook { event_id };
            let capture = Capture { provenance, reference, order: order_id, amount_cents, currency };
            let outcome = app.store.record_capture(&capture).await?;
            tracing::info!(reference = capture.reference, ?outcome, "a capture was recorded");
        }
        WebhookKind::Failed => {
            let failure = PaymentFailure { event_id, reference, order: order_id, amount_cents, currency };
            app.store.record_failure(&failure).await?;
        }
    }
    Ok(())
}
