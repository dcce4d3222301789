//! `/admin/v1/queues` and `/admin/v1/dead-letters`: straight from the broker.

use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use contract::Code;
use contract::api::{DeadLetters, Queues};
use messaging::QueueError;
use service_kit::http::ApiError;

use crate::purchase::json;
use crate::routes::{Segment, Shared};

/// Dead letters shown at once.
const LETTERS_MAX: usize = 100;
/// How long the broker may take.
const BROKER_WAIT_MS_MAX: u64 = 5000;

/// `GET /admin/v1/queues`
pub(super) async fn all(State(gateway): Shared) -> Result<Response, ApiError> {
    let letters = &gateway.dead_letters;
    let queues = Queues {
        lanes: bounded(gateway.queue.lane_stats()).await?,
        dead_letters: bounded(letters.stats()).await?,
        others: bounded(letters.other_stats()).await?.into_iter().map(|q| (q.name.clone(), q)).collect(),
    };
    Ok(json(StatusCode::OK, &queues))
}

/// `GET /admin/v1/dead-letters`
pub(super) async fn dead_letters(State(gateway): Shared) -> Result<Response, ApiError> {
    let dead_letters = bounded(gateway.dead_letters.list(LETTERS_MAX)).await?;
    Ok(json(StatusCode::OK, &DeadLetters { dead_letters }))
}

/// `POST /admin/v1/dead-letters/{id}/replay`
pub(super) async fn replay(State(gateway): Shared, Segment(id): Segment) -> Result<Response, ApiError> {
    bounded(gateway.dead_letters.replay(&id)).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "replayed": id })))
}

async fn bounded<T>(asked: impl Future<Output = Result<T, QueueError>>) -> Result<T, ApiError> {
    let unavailable = |why: &dyn std::fmt::Display| {
        tracing::warn!(%why, "the broker could not be asked");
        ApiError::new(Code::Unavailable, "The broker does not answer right now.")
    };
    match tokio::time::timeout(Duration::from_millis(BROKER_WAIT_MS_MAX), asked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(QueueError::Unknown(what))) => {
            Err(ApiError::new(Code::NotFound, format!("There is no {what}.")))
        }
        Ok(Err(QueueError::Refused(why))) => Err(ApiError::new(Code::Conflict, format!("Not now: {why}."))),
        Ok(Err(error)) => Err(unavailable(&error)),
        Err(elapsed) => Err(unavailable(&elapsed)),
    }
}
