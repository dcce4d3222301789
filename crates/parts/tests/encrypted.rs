//! Engines that are spoken to by TLS: a certificate that this machine does not trust opens nothing.

use std::sync::Arc;
use std::time::Duration;

use parts::{StockRole, Unopened};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use service_kit::{Settings, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Longest wait for a client to come.
const SOON: Duration = Duration::from_secs(20);

/// A server with a certificate of its own making; its port, and what each client made of it.
async fn stranger() -> (u16, mpsc::Receiver<std::io::Result<()>>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("its versions").with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).expect("key and certificate match");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (told, outcomes) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if told.send(acceptor.accept(stream).await.map(drop)).await.is_err() {
                break;
            }
        }
    });
    (port, outcomes)
}

fn settings(name: &str, url: &str) -> Settings {
    Settings::from_vars(std::iter::empty()).expect("the defaults are fine").with(name, url)
}

/// A client has come, and has not gone on after the certificate.
async fn was_refused(outcomes: &mut mpsc::Receiver<std::io::Result<()>>) {
    let outcome = timeout(SOON, outcomes.recv()).await.expect("a client comes").expect("the server runs");
    assert!(outcome.is_err(), "nothing may be said to a stranger");
}

/// Waits until an operator would read this in `/readyz`.
async fn until_told(what: &str, ask: impl AsyncFn() -> Result<(), Unopened>) {
    let told = async {
        loop {
            let why = ask().await.expect_err("nothing may be opened").to_string();
            assert!(!why.contains("secret"), "{why}");
            if why.contains(what) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, told).await.unwrap_or_else(|_| panic!("nobody was told {what:?}"));
}

#[tokio::test]
async fn the_stock_store_of_a_stranger_is_none() {
    let (port, mut outcomes) = stranger().await;
    let settings = settings("SECKILL_STOCK_URL", &format!("rediss://:secret@127.0.0.1:{port}"));
    let stock = parts::stock(&settings, StockRole::Gateway, Arc::new(SystemClock)).unwrap();
    was_refused(&mut outcomes).await;
    until_told("invalid peer certificate", async || parts::answers(&stock).await).await;
}

#[tokio::test]
async fn the_broker_of_a_stranger_is_none() {
    let (port, mut outcomes) = stranger().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = settings("SECKILL_QUEUE_URL", &format!("amqps://me:secret@localhost:{port}"))
        .with("SECKILL_DATA_DIR", folder.path().display().to_string());
    let broker = parts::broker(&settings, Arc::new(SystemClock)).await;
    let broker = broker.unwrap_or_else(|_| panic!("it is being connected to"));
    was_refused(&mut outcomes).await;
    until_told("invalid peer certificate", async || parts::connected(&broker).await).await;
    broker.close().await.unwrap();
}
