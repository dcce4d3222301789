//! Documents that are the same for everybody: built once, answered by reference.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How caches may keep a sale's document.
const JSON_CACHE: &str = "public, max-age=1";

/// A prebuilt document with its strong entity tag.
pub struct Document {
    body: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
    cache_control: &'static str,
}

impl Document {
    /// A document of these bytes.
    #[must_use]
    pub fn new(body: Bytes, content_type: &'static str, cache_control: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(&body)[..16]);
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Self { body, etag, content_type: HeaderValue::from_static(content_type), cache_control }
    }

    /// A public JSON document.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default().into();
        Self::new(body, "application/json", JSON_CACHE)
    }

    /// The answer: the document, or 304 to whoever has it.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if self.is_had(request) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(self.body.clone().into());
            response.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache_control));
        response
    }

    fn is_had(&self, request: &HeaderMap) -> bool {
        let ours = self.etag.as_bytes();
        request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|tag| {
                // The weak comparison of RFC 9110, which If-None-Match asks for.
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ours
            })
        })
    }
}
