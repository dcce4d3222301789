//! The order service's settings.

use std::time::Duration;

use contract::api::WEBHOOK_PATH;
use service_kit::{Secret, Settings, SettingsError};

/// What the order service is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Other services show this.
    pub internal_token: Secret,
    /// Key of the provider's webhook signatures.
    pub webhook_secret: Secret,
    /// Messages committed in one transaction at most.
    pub batch_max: usize,
    /// Between two rounds of the timeout job.
    pub expire_every: Duration,
    /// Put before payment paths; empty where the shop is served from the gateway's own origin.
    pub public_url: String,
    /// Where the sandbox sends its webhooks, as a whole URL.
    pub sandbox_webhook_url: String,
    /// Whether it is known that no money moves.
    pub demo: bool,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first setting that is missing or bad.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let batch_max = settings.number("SECKILL_BATCH_MAX", 1, 10_000)?;
        let sandbox_webhook_url = match settings.text("SECKILL_SANDBOX_WEBHOOK_URL") {
            Some(url) if url.starts_with("http://") => url.to_owned(),
            Some(url) => {
                let why = format_args!("{url:?} does not start with http://");
                return Err(SettingsError::bad("SECKILL_SANDBOX_WEBHOOK_URL", why));
            }
            None => format!("http://{}{WEBHOOK_PATH}", settings.address("SECKILL_LISTEN")?),
        };
        Ok(Self {
            internal_token: settings.secret("SECKILL_INTERNAL_TOKEN")?,
            webhook_secret: settings.secret("SECKILL_WEBHOOK_SECRET")?,
            batch_max: usize::try_from(batch_max).unwrap_or(usize::MAX),
            expire_every: settings.millis("SECKILL_EXPIRE_EVERY_MS", 10, 60_000)?,
            public_url: settings.text("SECKILL_PUBLIC_URL").unwrap_or("").trim_end_matches('/').to_owned(),
            sandbox_webhook_url,
            demo: settings.flag("SECKILL_DEMO")?,
        })
    }
}
