//! Request bodies: whole, within their size and their time, or not at all.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use contract::Code;
use contract::api::BODY_BYTES_MAX;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use service_kit::http::ApiError;

/// Looks at a body that has not come before its time is measured.
const LOOKS_AT_ONCE: u32 = 1;

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
///
/// # Errors
/// 413 when it is larger, 400 when it does not come in time or breaks off.
pub async fn read<B>(headers: &HeaderMap, body: B, wait: Duration) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    if announces_too_much(headers) {
        return Err(too_large());
    }
    let mut reading = pin!(whole(Limited::new(body, BODY_BYTES_MAX)));
    // It nearly always came with the header, and hyper hands it over once it was asked for it: no timer then.
    let mut looks = 0;
    let at_once = std::future::poll_fn(|cx| match reading.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if looks < LOOKS_AT_ONCE => {
            looks += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    let outcome = match at_once.await {
        Some(outcome) => outcome,
        None => Box::pin(tokio::time::timeout(wait, reading)).await.map_err(|_| {
            ApiError::new(Code::BadRequest, format!("The body did not come within {} ms.", wait.as_millis()))
        })?,
    };
    match outcome {
        Ok(body) => Ok(body),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large()),
        Err(e) => Err(ApiError::new(Code::BadRequest, format!("The body could not be read: {e}."))),
    }
}

/// All of a body. Nearly every one is a single frame, which is not copied.
async fn whole<B>(body: Limited<B>) -> Result<Bytes, BoxError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The same request with its body read, so that nothing behind this waits for a client.
///
/// # Errors
/// As [`read`].
pub async fn buffered(request: Request, wait: Duration) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, wait).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Whether the request says itself that its body is too large.
#[must_use]
pub fn announces_too_much(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length > BODY_BYTES_MAX)
}

fn too_large() -> ApiError {
    ApiError::new(Code::TooLarge, format!("A body may have {BODY_BYTES_MAX} bytes."))
}
