//! A payment provider to try things with: it keeps books of its own, shows a small pay page, captures
//! late on request, and tells by signed webhooks until it is heard.

mod books;
mod page;
mod post;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use domain::Clock;
use service_kit::Secret;
use tokio_util::sync::CancellationToken;

use self::books::Books;
use self::post::Post;
use super::{Charge, ChargeStatus, PaymentProvider, ProviderError};

/// How often scheduled captures and undelivered webhooks are looked at, in milliseconds.
const ERRANDS_EVERY_MS: u64 = 500;
/// Webhooks delivered in one round.
const ROUND_WEBHOOKS: u32 = 64;
/// How long after the time to pay a "late" capture happens, in milliseconds.
const LATE_AFTER_MS: i64 = 2_000;

/// Why the sandbox's books cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("SECKILL_DATABASE_URL: the payment sandbox cannot open its books: {0}")]
pub struct OpenSandboxError(String);

/// What the sandbox is told at start.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where it sends webhooks, as a whole URL.
    pub webhook_url: String,
    /// What it signs them with.
    pub webhook_secret: Secret,
    /// Put before payment paths; may be empty.
    pub public_url: String,
}

/// The payment sandbox.
pub struct Sandbox {
    books: Box<dyn Books>,
    post: Post,
    public_url: String,
    clock: Arc<dyn Clock>,
}

impl Sandbox {
    /// Opens the sandbox on the ledger's database; its tables come with the ledger's migrations, so the
    /// ledger must have been opened before.
    ///
    /// # Errors
    /// When the database cannot be opened, or is none that the sandbox can use.
    pub async fn open(
        database_url: &str,
        config: SandboxConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenSandboxError> {
        let books = books::open(database_url).await.map_err(OpenSandboxError)?;
        let post = Post::new(&config.webhook_url, config.webhook_secret, clock.clone());
        Ok(Arc::new(Self { books, post, public_url: config.public_url, clock }))
    }

    /// The pay page: `GET` and `POST /pay/{reference}`. Open to everybody who knows a reference.
    pub fn routes(self: &Arc<Self>) -> Router {
        page::routes(self.clone())
    }

    /// Captures what is scheduled and delivers what was not heard, until `shutdown`.
    pub async fn run_errands(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.errands().await {
                tracing::warn!(%error, "the payment sandbox's errands wait");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(ERRANDS_EVERY_MS)) => {}
            }
        }
    }

    async fn errands(&self) -> Result<(), ProviderError> {
        let now = self.clock.now();
        let mut webhooks = self.books.undelivered(now, ROUND_WEBHOOKS).await?;
        webhooks.extend(self.books.capture_due(now).await?);
        for webhook in webhooks {
            self.deliver(&webhook).await?;
        }
        Ok(())
    }

    async fn deliver(&self, webhook: &books::Webhook) -> Result<(), ProviderError> {
        self.post.send(&webhook.body).await?;
        self.books.delivered(webhook).await
    }
}

#[async_trait]
impl PaymentProvider for Sandbox {
    async fn open(&self, charge: &Charge) -> Result<String, ProviderError> {
        self.books.open_charge(charge).await?;
        Ok(format!("{}/pay/{}", self.public_url, charge.reference))
    }

    async fn status(&self, reference: &str) -> Result<ChargeStatus, ProviderError> {
        Ok(self.books.find(reference).await?.map_or(ChargeStatus::Open, |entry| entry.status()))
    }

    async fn refund(
        &self,
        reference: &str,
        _amount_cents: i64,
        _currency: &str,
    ) -> Result<(), ProviderError> {
        // Captures that were only simulated by a webhook have no entry; there is nothing to pay back.
        self.books.refund(reference).await
    }
}
