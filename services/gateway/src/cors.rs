//! Which other origins' pages may use the API.

use std::str::FromStr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

/// Origins at most.
const ORIGINS_MAX: usize = 64;
/// What pages may send besides what any page may.
const SENT: &str = "authorization, content-type, x-request-id";
/// What pages may read besides what any page may.
const READ: &str = "etag, ratelimit, ratelimit-policy, retry-after, x-request-id";
/// Seconds a browser may remember a preflight's answer.
const REMEMBERED_S: &str = "600";

/// Not a list of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin (https://shop.example)")]
pub struct OriginError(String);

/// The origins that are let in. Nobody sends cookies here, so none are allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    any: bool,
}

impl FromStr for Cors {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.trim() == "*" {
            return Ok(Self { origins: Vec::new(), any: true });
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let origins: Vec<_> = parts.map(origin).collect::<Result<_, _>>()?;
        if origins.len() > ORIGINS_MAX {
            return Err(OriginError(format!("a list of more than {ORIGINS_MAX}")));
        }
        Ok(Self { origins, any: false })
    }
}

fn origin(text: &str) -> Result<HeaderValue, OriginError> {
    let error = || OriginError(text.to_owned());
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(error)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    let fits = !rest.is_empty() && rest.bytes().all(plain);
    fits.then(|| HeaderValue::from_str(text).ok()).flatten().ok_or_else(error)
}

impl Cors {
    /// The origin of the request, if it comes from another origin's page that is let in.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.any && self.origins.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        (self.any || self.origins.contains(origin)).then(|| origin.clone())
    }

    /// The origin of a request that is let in, and whether it is a preflight.
    pub(crate) fn visitor(&self, parts: &Parts) -> Option<Visitor> {
        let origin = self.allowed(&parts.headers)?;
        let asks = parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Some(Visitor { origin, is_preflight: parts.method == Method::OPTIONS && asks })
    }

    /// Marks an answer: who may read it, and whom it depends on. Caches keep an answer for others than it was given to,
    /// so those for whoever is not let in are marked too, and one that all may read says so to everybody.
    pub(crate) fn mark(&self, visitor: Option<Visitor>, response: &mut Response) {
        let headers = response.headers_mut();
        if !self.any && !self.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let readers =
            if self.any { Some(HeaderValue::from_static("*")) } else { visitor.map(|page| page.origin) };
        if let Some(readers) = readers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, readers);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        }
    }
}

/// A page of another origin.
pub(crate) struct Visitor {
    origin: HeaderValue,
    /// It asks whether it may ask.
    pub(crate) is_preflight: bool,
}

impl Visitor {
    /// The answer to a preflight.
    pub(crate) fn welcome(&self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_strictly() {
        for good in ["", "*", "https://shop.example", "http://localhost:3000, https://a.b"] {
            assert!(good.parse::<Cors>().is_ok(), "{good}");
        }
        for bad in ["shop.example", "https://", "https://a/b", "null", "https://*", "*, https://a.b"] {
            assert!(bad.parse::<Cors>().is_err(), "{bad}");
        }
    }
}
