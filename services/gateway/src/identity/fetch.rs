//! Reading a small document by `http://` or `https://`. A server's certificate must be signed by one of the
//! machine's trusted authorities; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as they do for most programs.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// How long a reading may take, from connecting to the last byte.
const READ_WAIT_MS_MAX: u64 = 5_000;

/// Who reads. Made anew for each reading: a renewed authority is believed without a restart.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// One for this URL: by `https://` it believes the machine's trusted authorities, by `http://` it needs none.
    ///
    /// # Errors
    /// When there are none to be found.
    pub(super) fn for_url(url: &Uri) -> Result<Self, String> {
        if url.scheme_str() == Some("http") {
            return Ok(Self::trusting(RootCertStore::empty()));
        }
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider());
        let builder =
            builder.map_err(|e| format!("no trusted authorities (is ca-certificates installed?): {e}"))?;
        Ok(Self::by(builder.https_or_http().enable_http1().build()))
    }

    fn trusting(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions of TLS");
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self::by(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build())
    }

    fn by(connector: HttpsConnector<HttpConnector>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }

    /// What this URL shows, if it is not more than so many bytes.
    ///
    /// # Errors
    /// When nothing came in time, it is too much, or the answer is no success.
    pub(super) async fn read(&self, url: &Uri, bytes_max: usize) -> Result<Bytes, String> {
        let reading = async {
            let reply = self.client.get(url.clone()).await.map_err(|e| causes(&e))?;
            if !reply.status().is_success() {
                return Err(format!("it answers {}", reply.status()));
            }
            let body = Limited::new(reply.into_body(), bytes_max).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|e| e.to_string())
        };
        let read = timeout(Duration::from_millis(READ_WAIT_MS_MAX), reading).await;
        let read = read.unwrap_or_else(|_| Err(format!("no answer within {READ_WAIT_MS_MAX} ms")));
        read.map_err(|why| format!("{}: {why}", place(url)))
    }
}

/// Where a URL leads. What else it says may be a secret: a name and password before the host, a key behind the path.
fn place(url: &Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{}", url.path())
}

/// Named, because a program may hold more than one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// An error and what caused it: the outermost alone says little ("client error (Connect)").
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const KEYS: &str = r#"{"keys":[]}"#;

    /// A server for as many connections as come; its URL, and a store that trusts it.
    async fn server() -> (Uri, RootCertStore) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/keys", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever does not trust us hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{KEYS}", KEYS.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (url.parse().unwrap(), roots)
    }

    #[tokio::test]
    async fn a_document_comes_by_https_from_a_server_that_is_trusted_and_from_no_other() {
        let (url, roots) = server().await;
        let trusting_it = Fetcher::trusting(roots);
        assert_eq!(trusting_it.read(&url, 100).await, Ok(Bytes::from(KEYS)));
        let stranger = Fetcher::trusting(RootCertStore::empty()).read(&url, 100).await;
        assert!(stranger.as_ref().is_err_and(|why| why.contains("UnknownIssuer")), "{stranger:?}");
        assert!(trusting_it.read(&url, 5).await.is_err(), "too much");
    }

    #[tokio::test]
    async fn an_error_names_the_place_and_no_secret_of_the_url() {
        // Nobody listens at port 0.
        let url = "http://name:hidden@127.0.0.1:0/keys?key=hidden".parse().unwrap();
        let why = Fetcher::for_url(&url).unwrap().read(&url, 100).await.unwrap_err();
        assert!(why.starts_with("http://127.0.0.1:0/keys: ") && !why.contains("hidden"), "{why}");
    }
}
