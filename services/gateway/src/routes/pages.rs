//! The shop's static pages, compiled in: the gateway alone serves a whole shop.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::Code;
use service_kit::http::ApiError;

use super::document::Document;
use super::{Segment, Shared};
use crate::page_cache::Item;

/// A page may load what the shop itself serves, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";
/// Pages and assets have no version in their names: caches ask again, and get a 304.
const CACHE: &str = "public, max-age=60, must-revalidate";
/// Seconds until the sales are there, at a gateway that has just started.
const LOADING_S: u32 = 1;

macro_rules! files {
    ($($path:literal,)*) => {
        /// The files of `static-cdn` that are served, by their path in it.
        const FILES: &[(&str, &[u8])] =
            &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../static-cdn/", $path))),)*];
    };
}

files! {
    "404.html",
    "busy.html",
    "index.html",
    "sale.html",
    "assets/art/headphones.svg",
    "assets/art/parcel.svg",
    "assets/art/speaker.svg",
    "assets/art/watch.svg",
    "assets/css/pay.css",
    "assets/css/plain.css",
    "assets/css/shop.css",
    "assets/icon.svg",
    "assets/js/account.js",
    "assets/js/api.js",
    "assets/js/busy.js",
    "assets/js/buyer.js",
    "assets/js/catalogue.js",
    "assets/js/clock.js",
    "assets/js/countdown.js",
    "assets/js/dom.js",
    "assets/js/entry.js",
    "assets/js/format.js",
    "assets/js/gate.js",
    "assets/js/index-page.js",
    "assets/js/mailbox.js",
    "assets/js/order-list.js",
    "assets/js/order-stream.js",
    "assets/js/order-view.js",
    "assets/js/panel-view.js",
    "assets/js/panel.js",
    "assets/js/proof-worker.js",
    "assets/js/purchase.js",
    "assets/js/quantity.js",
    "assets/js/refusal-view.js",
    "assets/js/room-view.js",
    "assets/js/room.js",
    "assets/js/sale-card.js",
    "assets/js/sale-page.js",
    "assets/js/schedule.js",
    "assets/js/session.js",
    "assets/js/sse.js",
}

/// The files, ready to be answered: the same in every gateway of a process.
static DOCUMENTS: LazyLock<HashMap<&'static str, Document>> = LazyLock::new(|| {
    let document =
        |body: &'static [u8], path| Document::new(Bytes::from_static(body), content_type(path), CACHE);
    FILES.iter().map(|(path, body)| (*path, document(body, path))).collect()
});

/// The pages.
pub(crate) struct Pages;

impl Pages {
    /// All pages, built and compressed now rather than when the first visitor comes.
    #[must_use]
    pub(crate) fn new() -> Self {
        LazyLock::force(&DOCUMENTS);
        Self
    }

    /// The page for people that a refusal deserves.
    pub(crate) fn busy(&self, request: &HeaderMap, retry_after_s: u32) -> Option<Response> {
        is_for_people(request).then(|| self.very_busy(retry_after_s))
    }

    fn very_busy(&self, retry_after_s: u32) -> Response {
        let mut response = self.with_status(StatusCode::SERVICE_UNAVAILABLE, "busy.html");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)));
        response
    }

    fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        Some(secured(DOCUMENTS.get(path)?.answer(request)))
    }

    fn with_status(&self, status: StatusCode, path: &str) -> Response {
        let page = self.answer(path, &HeaderMap::new()).unwrap_or_default();
        let (mut parts, body) = page.into_parts();
        parts.status = status;
        parts.headers.remove(header::ETAG);
        parts.headers.remove(header::VARY);
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Response::from_parts(parts, body)
    }
}

/// Whether a page is wanted. Programs are told a problem instead.
fn is_for_people(request: &HeaderMap) -> bool {
    let accept = request.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// `GET /`
pub(super) async fn index(State(gateway): Shared, headers: HeaderMap) -> Response {
    gateway.pages.answer("index.html", &headers).unwrap_or_default()
}

/// `GET /s/{sale}`
pub(super) async fn sale(State(gateway): Shared, Segment(sale): Segment, headers: HeaderMap) -> Response {
    match gateway.catalogue.by_id(&sale) {
        Some(sale) => {
            let terms = sale.terms().clone();
            let edition = terms.edition;
            let build = move || sale_page(&terms.sale.sale);
            secured(gateway.page(Item::Page(sale.slot), edition, build).await.answer(&headers))
        }
        None if !gateway.catalogue.is_complete() => match gateway.pages.busy(&headers, LOADING_S) {
            Some(page) => page,
            None => ApiError::new(Code::Unavailable, "The sales are being loaded.")
                .retry_after(LOADING_S.into())
                .into_response(),
        },
        None if is_for_people(&headers) => gateway.pages.with_status(StatusCode::NOT_FOUND, "404.html"),
        None => ApiError::new(Code::SaleNotFound, "No sale has this page.").into_response(),
    }
}

/// A sale's page, which says what is sold before any script has run: to search engines, to previews.
fn sale_page(sale: &contract::api::Sale) -> Document {
    let page = FILES.iter().find(|(path, _)| *path == "sale.html").map_or(&b""[..], |(_, body)| body);
    let page = String::from_utf8_lossy(page);
    let titled = match (page.find("<title>"), page.find("</title>")) {
        (Some(from), Some(to)) if from < to => {
            let (from, title) = (from + "<title>".len(), escaped(&sale.title));
            format!("{}{title} · {}", &page[..from], &page[from..])
        }
        _ => page.into_owned(),
    };
    Document::new(titled.into(), content_type("sale.html"), CACHE)
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// `GET /assets/{path}`
pub(super) async fn asset(State(gateway): Shared, Segment(path): Segment, headers: HeaderMap) -> Response {
    let asset = gateway.pages.answer(&format!("assets/{path}"), &headers);
    asset.unwrap_or_else(|| ApiError::new(Code::NotFound, "There is no such file.").into_response())
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers
        .insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}

/// The media types of the pages' files.
pub(super) const ASSETS: &[&str] =
    &["text/css", "text/javascript", "image/svg+xml", "application/manifest+json"];

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn walk(under: &Path, found: &mut Vec<String>, root: &Path) {
        for entry in std::fs::read_dir(under).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, root);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_page_and_asset_of_the_shop_is_served_with_a_known_type() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../static-cdn");
        let mut found = Vec::new();
        walk(&root, &mut found, &root);
        found.retain(|path| path.starts_with("assets/") || !path.contains('/') && path.ends_with(".html"));
        found.sort();
        let mut served: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        served.sort();
        assert_eq!(served, found, "the table in this file misses a file, or names one that is gone");
        assert!(served.iter().all(|path| content_type(path) != "application/octet-stream"));
        for path in served.iter().filter(|path| path.starts_with("assets/")) {
            let media_type = content_type(path).split(';').next().unwrap();
            assert!(ASSETS.contains(&media_type), "{path}: the API's document does not know {media_type}");
        }
    }
}
