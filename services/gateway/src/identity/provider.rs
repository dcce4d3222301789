//! Where an identity provider's keys come from: a file, or a URL; looked at again from time to time, and
//! when a token names a key that is not known.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use service_kit::health::Health;
use tokio::time::{Instant, sleep_until};

use super::fetch::Fetcher;
use super::jwks::SET_BYTES_MAX;
use super::{Jwks, Provider};

/// Between two looks for unknown keys, so that made-up key ids cost nothing.
const LOOK_AGAIN_S: u64 = 10;
/// After a look that failed.
const RETRY_S: u64 = 2;

/// What readiness waits for.
const NEEDED: &str = "the identity provider's keys";

/// A file, or a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JwksSource {
    /// A file's path.
    File(PathBuf),
    /// An `https://` or `http://` URL.
    Url(Uri),
}

/// Not a source of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Neither.
    #[error("neither a file's path nor https://host/path nor http://host/path")]
    Shape,
}

impl FromStr for JwksSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url: Uri = text.parse().map_err(|_| SourceError::Shape)?;
        let is_fine = matches!(url.scheme_str(), Some("https" | "http")) && url.path().len() > 1;
        if is_fine { Ok(Self::Url(url)) } else { Err(SourceError::Shape) }
    }
}

impl JwksSource {
    async fn read(&self) -> Result<Jwks, String> {
        let text = match self {
            Self::File(path) => {
                tokio::fs::read(path).await.map_err(|e| format!("{}: {e}", path.display()))?.into()
            }
            Self::Url(url) => Fetcher::for_url(url)?.read(url, SET_BYTES_MAX).await?,
        };
        Jwks::parse(&text).map_err(|e| e.to_string())
    }
}

/// Keeps the provider's keys, for ever. Old keys serve while the source does not answer.
pub(crate) async fn keep(provider: Arc<Provider>, health: Health) {
    health.needs(NEEDED);
    loop {
        let looked = Instant::now();
        let wait = match provider.source.read().await {
            Ok(keys) => {
                provider.keys.store(Arc::new(keys));
                health.up(NEEDED);
                provider.refresh
            }
            Err(why) => {
                tracing::warn!(%why, "the identity provider's keys could not be read");
                if provider.keys.load().is_empty() {
                    health.down(NEEDED, why);
                }
                Duration::from_secs(RETRY_S)
            }
        };
        tokio::select! {
            () = sleep_until(looked + wait) => {}
            () = async {
                provider.wanted.notified().await;
                sleep_until(looked + Duration::from_secs(LOOK_AGAIN_S)).await;
            } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_or_a_url() {
        assert_eq!("/etc/keys.json".parse(), Ok(JwksSource::File("/etc/keys.json".into())));
        for url in ["http://idp:80/a/jwks.json", "https://idp.example/keys", "http://idp/x?y=z"] {
            assert_eq!(url.parse(), Ok(JwksSource::Url(url.parse().unwrap())));
        }
        for bad in ["http://idp", "https:///x", "ftp://idp:1/x"] {
            assert_eq!(bad.parse::<JwksSource>(), Err(SourceError::Shape), "{bad}");
        }
    }
}
