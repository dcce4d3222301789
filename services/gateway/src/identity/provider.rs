//! Where an identity provider's keys come from: a file, or a URL; looked at again from time to time, and
//! when a token names a key that is not known.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use service_kit::health::Health;
use service_kit::http::{HttpClient, check_base_url};
use tokio::time::{Instant, sleep_until};

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
    /// An `http://` URL: base and path.
    Url(String, String),
}

/// Not a source of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// TLS is not spoken here.
    #[error("https is not spoken here: name a file kept up to date, or an http:// proxy on this machine")]
    Https,
    /// Neither.
    #[error("neither a file's path nor http://host:port/path")]
    Shape,
}

impl FromStr for JwksSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.starts_with("https:") {
            return Err(SourceError::Https);
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return if text.contains("://") { Err(SourceError::Shape) } else { Ok(Self::File(text.into())) };
        };
        let (host, path) = rest.split_once('/').ok_or(SourceError::Shape)?;
        let base = format!("http://{host}");
        check_base_url("", &base).map_err(|_| SourceError::Shape)?;
        Ok(Self::Url(base, format!("/{path}")))
    }
}

impl JwksSource {
    async fn read(&self) -> Result<Jwks, String> {
        let text = match self {
            Self::File(path) => {
                let text = tokio::fs::read(path).await.map_err(|e| format!("{}: {e}", path.display()))?;
                Bytes::from(text)
            }
            Self::Url(base, path) => {
                let client = HttpClient::new(base, None);
                let reply = client.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await;
                let reply = reply.map_err(|e| e.to_string())?;
                if !reply.status.is_success() {
                    return Err(format!("{base}{path} answers {}", reply.status));
                }
                reply.body
            }
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
    fn a_source_is_a_file_or_a_plain_url() {
        assert_eq!("/etc/keys.json".parse(), Ok(JwksSource::File("/etc/keys.json".into())));
        let url = JwksSource::Url("http://idp:80".into(), "/a/jwks.json".into());
        assert_eq!("http://idp:80/a/jwks.json".parse(), Ok(url));
        assert_eq!("https://idp/jwks".parse::<JwksSource>(), Err(SourceError::Https));
        for bad in ["http://idp", "http://idp/x", "ftp://idp:1/x"] {
            assert_eq!(bad.parse::<JwksSource>(), Err(SourceError::Shape), "{bad}");
        }
    }
}
