//! A platform of one test: free ports, a folder of its own, gone with the test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use contract::Problem;
use contract::api::{AdminSale, Ledger, NewSale};
use domain::Clock;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};
use seckill::Running;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::http::{HttpClient, Reply};
use service_kit::{Secret, Settings, SystemClock};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::buyer::Buyer;

/// Longest wait for a state, in seconds, and how often it is looked at.
const WAIT_S_MAX: u64 = 30;
const POLL_MS: u64 = 20;
const ADMIN_TOKEN: &str = "a-token-for-operators";

/// A running platform.
pub(crate) struct Stage {
    folder: TempDir,
    running: Running,
    shutdown: CancellationToken,
    pub(crate) admin: HttpClient,
}

/// Settings of a test's platform.
pub(crate) fn settings(folder: &Path) -> Settings {
    let database = format!("sqlite:{}", folder.join("seckill.db").display());
    let set = [
        ("SECKILL_LISTEN", "127.0.0.1:0"),
        ("SECKILL_ADMIN_LISTEN", "127.0.0.1:0"),
        ("SECKILL_STOCK_URL", "memory:"),
        ("SECKILL_QUEUE_URL", "embedded:"),
        ("SECKILL_DATABASE_URL", &database),
        ("SECKILL_DATA_DIR", &folder.display().to_string()),
        ("SECKILL_JWT_SECRET", "a-secret-for-buyers-tokens"),
        ("SECKILL_TICKET_KEYS", &format!("k1:{}", "ab".repeat(32))),
        ("SECKILL_ADMIN_TOKEN", ADMIN_TOKEN),
        ("SECKILL_WEBHOOK_SECRET", "a-secret-for-webhooks"),
        ("SECKILL_DEMO", "true"),
        ("SECKILL_BUYER_LIMIT", "off"),
        ("SECKILL_BROWSE_LIMIT", "off"),
        ("SECKILL_ADDRESS_LIMIT", "off"),
        ("SECKILL_EXPIRE_EVERY_MS", "50"),
        ("SECKILL_LOG", "error"),
    ];
    let none = Settings::from_vars(std::iter::empty()).expect("the defaults are fine");
    set.iter().fold(none, |settings, (name, value)| settings.with(name, *value))
}

/// Headers of a JSON request.
pub(crate) fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// What a request was refused with: `409 conflict`.
pub(crate) fn refusal(reply: &Reply) -> String {
    let problem: Problem = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|e| panic!("{} without a problem: {e}: {:?}", reply.status, reply.body));
    assert_eq!(problem.status, reply.status.as_u16(), "{problem:?}");
    format!("{} {}", problem.status, problem.code)
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::on(tempfile::tempdir().expect("a folder")).await
    }

    async fn on(folder: TempDir) -> Self {
        let shutdown = CancellationToken::new();
        let running =
            seckill::start(&settings(folder.path()), shutdown.clone()).await.expect("the platform starts");
        let admin = HttpClient::new(&format!("http://{}", running.admin), Some(&Secret::new(ADMIN_TOKEN)));
        let stage = Self { folder, running, shutdown, admin };
        stage
            .until("ready", async || {
                let reply =
                    stage.admin.send(Method::GET, "/readyz", HeaderMap::new(), Default::default()).await;
                reply.is_ok_and(|r| r.status == 200)
            })
            .await;
        stage
    }

    /// Stops, and starts again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.running.stopped().await.expect("the platform stops in order");
        Self::on(self.folder).await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.stopped().await.expect("the platform stops in order");
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.running.public
    }

    /// Creates a sale that is open; answers its buy path.
    pub(crate) async fn sale(&self, id: &str, stock: u32, pay_within_s: u32) -> String {
        let now = SystemClock.now();
        let sale = NewSale {
            id: id.parse().ok(),
            title: "A lamp".into(),
            price_cents: 1_000,
            currency: "EUR".into(),
            stock,
            per_user_limit: 1,
            opens_at: now.plus(-1_000).0,
            ends_at: now.plus(600_000).0,
            pay_within_s,
            rules: None,
        };
        let made: AdminSale = self.post("/admin/v1/sales", &sale).await;
        assert_eq!(made.state, "open");
        made.buy
    }

    pub(crate) async fn buyer(&self, name: &str) -> Buyer {
        Buyer::sign_in(self.public(), name).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.admin.get(path).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> T {
        self.admin.call(Method::POST, path, body).await.unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    pub(crate) async fn ledger(&self, sale: &str) -> Ledger {
        self.get(&format!("/admin/v1/sales/{sale}/ledger")).await
    }

    /// Waits for a state.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            }
        };
        let limit = Duration::from_secs(WAIT_S_MAX);
        tokio::time::timeout(limit, waited).await.unwrap_or_else(|_| panic!("not {what} within {limit:?}"));
    }
}
