//! `seckill probe`: asks a health address once, for schedulers whose containers have no other client.

use hyper::Method;
use hyper::header::HeaderMap;
use service_kit::http::{HttpClient, check_base_url};
use service_kit::lifecycle::Failure;

/// Largest part of an unhappy answer that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 2_000;

/// Asks `url` (`http://host:port/path`) once.
///
/// # Errors
/// When it is no such URL, when nothing answers, or when the answer is no success: then with its body.
pub async fn run(url: &str) -> Result<(), Failure> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let base = format!("http://{host}");
    check_base_url("probe", &base)?;
    let path = if path.is_empty() { "/" } else { path };
    let reply =
        HttpClient::new(&base, None).send(Method::GET, path, HeaderMap::new(), Vec::new().into()).await;
    let reply = reply.map_err(Failure::failed)?;
    if reply.status.is_success() {
        return Ok(());
    }
    let shown = &reply.body[..reply.body.len().min(SHOWN_BYTES_MAX)];
    Err(Failure::failed(format_args!("{url} answers {}: {}", reply.status, String::from_utf8_lossy(shown))))
}
