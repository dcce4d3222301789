//! Strict JSON bodies: what is not exactly the contract's is refused, with a clear word why.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use contract::Code;
use contract::api::BODY_BYTES_MAX;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::ApiError;

/// A body of this JSON type; everything else is 413, 415 or 400.
pub struct StrictJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for StrictJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        let body = read_body(request).await?;
        parse_json(&body).map(Self)
    }
}

/// A JSON object of this type. serde takes a list of an object's fields for the object; the contract does not.
///
/// # Errors
/// 400, with what is wrong.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::new(Code::BadRequest, "The body is not as documented: expected an object."));
    }
    serde_json::from_slice(body)
        .map_err(|e| ApiError::new(Code::BadRequest, format!("The body is not as documented: {e}.")))
}

/// Reads a body up to the contract's limit.
pub(crate) async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            Err(ApiError::new(Code::TooLarge, format!("A body may have {BODY_BYTES_MAX} bytes.")))
        }
        Err(e) => Err(ApiError::new(Code::BadRequest, format!("The body could not be read: {e}."))),
    }
}

/// Whether the body says that it is JSON.
///
/// # Errors
/// 415 unless it does.
pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, "Send content-type: application/json."))
}
