//! The order service's settings.

use std::time::Duration;

use contract::api::WEBHOOK_PATH;
use service_kit::http::check_web_url;
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
        let sandbox_webhook_url = match web_url(settings, "SECKILL_SANDBOX_WEBHOOK_URL", &["http"])? {
            Some(url) => url,
            None => format!("http://{}{WEBHOOK_PATH}", settings.address("SECKILL_LISTEN")?),
        };
        let public_url = web_url(settings, "SECKILL_PUBLIC_URL", &["https", "http"])?.unwrap_or_default();
        Ok(Self {
            internal_token: settings.secret("SECKILL_INTERNAL_TOKEN")?,
            webhook_secret: settings.secret("SECKILL_WEBHOOK_SECRET")?,
            batch_max: usize::try_from(batch_max).unwrap_or(usize::MAX),
            expire_every: settings.millis("SECKILL_EXPIRE_EVERY_MS", 10, 60_000)?,
            public_url: public_url.trim_end_matches('/').to_owned(),
            sandbox_webhook_url,
            demo: settings.flag("SECKILL_DEMO")?,
        })
    }
}

/// An absolute URL with one of these schemes, if there is one.
fn web_url(settings: &Settings, name: &str, schemes: &[&str]) -> Result<Option<String>, SettingsError> {
    let Some(url) = settings.text(name) else { return Ok(None) };
    check_web_url(name, url, schemes)?;
    Ok(Some(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_could_follow_is_refused_at_start() {
        let told = |name: &str, value: &str| {
            let settings = Settings::from_vars([(name.to_owned(), value.to_owned())]).unwrap();
            web_url(&settings, name, &["https", "http"])
        };
        for bad in
            ["shop.example", "/shop", "https://", "https:/shop.example", "ftp://shop.example", "http:// "]
        {
            let error = told("SECKILL_PUBLIC_URL", bad).unwrap_err().to_string();
            assert!(error.starts_with("SECKILL_PUBLIC_URL: "), "{error}");
        }
        for good in ["https://shop.example", "http://127.0.0.1:8080/", "https://[::1]:8443/shop"] {
            assert_eq!(told("SECKILL_PUBLIC_URL", good).unwrap().as_deref(), Some(good));
        }
        assert_eq!(told("SECKILL_PUBLIC_URL", "").unwrap(), None);
    }
}
