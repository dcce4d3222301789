//! The internal listener.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contract::Code;
use contract::api::Mailbox as MailboxBody;
use domain::BuyerId;
use service_kit::http::{ApiError, problem_fallbacks};

use crate::mailbox::{Mailbox, MailboxError};

/// Notices shown at once.
const SHOWN_MAX: u32 = 50;

/// Every internal route, without its guard.
pub(crate) fn router(mailbox: Arc<dyn Mailbox>) -> Router {
    let router = Router::new().route("/internal/v1/mailbox/{buyer}", get(of_buyer));
    problem_fallbacks(router).with_state(mailbox)
}

impl From<MailboxError> for ApiError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Unavailable(why) => {
                tracing::warn!(%why, "the mailbox is away");
                Self::new(Code::Unavailable, "The mailbox does not answer right now.")
            }
            MailboxError::Refused(why) => Self::internal(why),
        }
    }
}

/// `GET /internal/v1/mailbox/{buyer}`.
async fn of_buyer(
    State(mailbox): State<Arc<dyn Mailbox>>,
    Path(buyer): Path<String>,
) -> Result<Json<MailboxBody>, ApiError> {
    let buyer: BuyerId =
        buyer.parse().map_err(|e| ApiError::new(Code::BadRequest, format!("The buyer {e}.")))?;
    let notices = mailbox.of_buyer(&buyer, SHOWN_MAX).await?;
    Ok(Json(MailboxBody { notices }))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;
    use contract::events::Notice;

    use super::*;

    struct Failing(fn(String) -> MailboxError);

    #[async_trait]
    impl Mailbox for Failing {
        async fn deliver(&self, _: &[Notice]) -> Result<(), MailboxError> {
            Err((self.0)("connection to 10.0.0.7 refused".into()))
        }

        async fn of_buyer(&self, _: &BuyerId, _: u32) -> Result<Vec<Notice>, MailboxError> {
            Err((self.0)("connection to 10.0.0.7 refused".into()))
        }
    }

    async fn asked(failing: fn(String) -> MailboxError) -> ApiError {
        let mailbox: Arc<dyn Mailbox> = Arc::new(Failing(failing));
        of_buyer(State(mailbox), Path("ann".into())).await.err().unwrap()
    }

    #[tokio::test]
    async fn a_mailbox_that_is_away_is_a_503_and_says_when_to_come_back() {
        let error = asked(MailboxError::Unavailable).await;
        assert_eq!(error.code, Code::Unavailable);
        assert!(!error.detail.contains("10.0.0.7"), "{}", error.detail);
        let answer = error.into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
    }

    /// The control: what will not be over in a moment is nobody's to retry.
    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_a_500() {
        let error = asked(MailboxError::Refused).await;
        assert_eq!(error.code, Code::Internal);
        assert!(error.into_response().headers().get(RETRY_AFTER).is_none());
    }
}
