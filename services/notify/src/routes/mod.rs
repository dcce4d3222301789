//! The internal listener.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contract::Code;
use contract::api::Mailbox as MailboxBody;
use domain::BuyerId;
use service_kit::http::{ApiError, problem_fallbacks};

use crate::mailbox::Mailbox;

/// Notices shown at once.
const SHOWN_MAX: u32 = 50;

/// Every internal route, without its guard.
pub(crate) fn router(mailbox: Arc<dyn Mailbox>) -> Router {
    let router = Router::new().route("/internal/v1/mailbox/{buyer}", get(of_buyer));
    problem_fallbacks(router).with_state(mailbox)
}

/// `GET /internal/v1/mailbox/{buyer}`.
async fn of_buyer(
    State(mailbox): State<Arc<dyn Mailbox>>,
    Path(buyer): Path<String>,
) -> Result<Json<MailboxBody>, ApiError> {
    let buyer: BuyerId =
        buyer.parse().map_err(|e| ApiError::new(Code::BadRequest, format!("The buyer {e}.")))?;
    let notices = mailbox.of_buyer(&buyer, SHOWN_MAX).await.map_err(ApiError::internal)?;
    Ok(Json(MailboxBody { notices }))
}
