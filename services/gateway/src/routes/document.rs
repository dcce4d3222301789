//! Documents that are the same for everybody: built once, compressed once, answered by reference.

use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How caches may keep a sale's document.
const JSON_CACHE: &str = "public, max-age=1";
/// Bodies below this are not worth compressing, in bytes.
const COMPRESSED_FROM: usize = 512;
/// Brotli's effort: nearly its best, at a tenth of the time.
const BROTLI_QUALITY: i32 = 9;
/// Brotli's window, as a power of two.
const BROTLI_WINDOW: i32 = 20;

/// One way to write a document's body, with a strong entity tag of its own.
struct Form {
    body: Bytes,
    etag: HeaderValue,
    encoding: Option<&'static str>,
}

/// A prebuilt document.
pub(crate) struct Document {
    plain: Form,
    /// In the order they are preferred.
    compressed: Vec<Form>,
    content_type: HeaderValue,
    cache_control: &'static str,
}

impl Document {
    /// A document of these bytes.
    #[must_use]
    pub(crate) fn new(body: Bytes, content_type: &'static str, cache_control: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(&body)[..16]);
        let form = |body, encoding: Option<&'static str>| {
            let suffix = encoding.map(|encoding| format!("-{encoding}")).unwrap_or_default();
            let etag = HeaderValue::from_str(&format!("\"{hash}{suffix}\""));
            Form { body, etag: etag.unwrap_or(HeaderValue::from_static("\"0\"")), encoding }
        };
        let worthwhile = |packed: &Vec<u8>| packed.len() < body.len();
        let compressed = if body.len() < COMPRESSED_FROM {
            Vec::new()
        } else {
            let ways = [("br", brotli(&body)), ("gzip", gzip(&body))];
            let ways = ways.into_iter().filter_map(|(name, packed)| Some((name, packed.filter(worthwhile)?)));
            ways.map(|(name, packed)| form(packed.into(), Some(name))).collect()
        };
        let content_type = HeaderValue::from_static(content_type);
        Self { plain: form(body.clone(), None), compressed, content_type, cache_control }
    }

    /// A public JSON document.
    #[must_use]
    pub(crate) fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default().into();
        Self::new(body, "application/json", JSON_CACHE)
    }

    /// Bytes it holds.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.compressed.iter().map(|form| form.body.len()).sum::<usize>() + self.plain.body.len()
    }

    /// The answer: the document, or 304 to whoever has it.
    #[must_use]
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let form = self.form_for(request);
        let mut response = if is_had(request, &form.etag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(form.body.clone().into());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, self.content_type.clone());
            if let Some(encoding) = form.encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, form.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache_control));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !self.compressed.is_empty() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }

    fn form_for(&self, request: &HeaderMap) -> &Form {
        let accepted = |form: &&Form| form.encoding.is_some_and(|encoding| accepts(request, encoding));
        self.compressed.iter().find(accepted).unwrap_or(&self.plain)
    }
}

/// Whether the request's `Accept-Encoding` names this coding, with a weight that is not zero.
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let fields = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|part| {
        let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = parameters.split(';').find_map(|p| p.trim().strip_prefix("q="));
        let is_zero = weight.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
        name.trim().eq_ignore_ascii_case(coding) && !is_zero
    })
}

fn is_had(request: &HeaderMap, etag: &HeaderValue) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|tag| {
            // The weak comparison of RFC 9110, which If-None-Match asks for.
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
        })
    })
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(body).ok()?;
    packer.finish().ok()
}

fn brotli(body: &[u8]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW,
        size_hint: body.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &*body, &mut packed, &params).ok()?;
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(encodings: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, encodings.parse().unwrap());
        headers
    }

    #[test]
    fn the_best_coding_the_client_takes_is_sent() {
        let document = Document::new("word ".repeat(1000).into(), "text/plain", "no-store");
        let sent = |encodings: &str| {
            let answer = document.answer(&asked(encodings));
            answer.headers().get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(sent("gzip, deflate, br").as_deref(), Some("br"));
        assert_eq!(sent("gzip;q=0.5, br;q=0").as_deref(), Some("gzip"));
        assert_eq!(sent("GZIP").as_deref(), Some("gzip"));
        for none in ["identity", "", "gzip;q=0", "zstd", "x-gzip"] {
            assert_eq!(sent(none), None, "{none}");
        }
        let tags: std::collections::HashSet<_> = ["", "gzip", "br"]
            .map(|e| document.answer(&asked(e)).headers()[header::ETAG].clone())
            .into_iter()
            .collect();
        assert_eq!(tags.len(), 3, "a strong tag names its very bytes");
    }

    #[test]
    fn small_documents_stay_as_they_are() {
        let document = Document::json(&1);
        let answer = document.answer(&asked("gzip, br"));
        assert!(answer.headers().get(header::CONTENT_ENCODING).is_none());
        assert!(answer.headers().get(header::VARY).is_none());
    }
}
