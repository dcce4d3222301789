//! Inventory's settings.

use std::time::Duration;

use service_kit::{Secret, Settings, SettingsError};

/// Beyond ticket and publish: what clocks, scheduling and a slow reserve may add.
const FENCE_SLACK: Duration = Duration::from_secs(5);

/// What inventory is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Other services show this.
    pub internal_token: Secret,
    /// How long tickets live.
    pub ticket_ttl: Duration,
    /// How long gateways wait for a confirm.
    pub publish_wait: Duration,
    /// How often everything is looked at.
    pub reconcile_every: Duration,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first setting that is missing or bad.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            internal_token: settings.secret("SECKILL_INTERNAL_TOKEN")?,
            ticket_ttl: settings.ticket_ttl()?,
            publish_wait: settings.publish_wait()?,
            reconcile_every: settings.millis("SECKILL_RECONCILE_EVERY_MS", 10, 60_000)?,
        })
    }

    /// Age at which an unsettled reservation is fenced: **longer than a ticket lives plus the publish
    /// bound**, so that no younger order can still be on its way to the lane.
    #[must_use]
    pub fn fence_age(&self) -> Duration {
        self.ticket_ttl + self.publish_wait + FENCE_SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the ends of what the settings may be.
    #[test]
    fn nothing_is_fenced_whose_order_may_still_be_on_its_way() {
        for (ttl_s, wait_ms) in [("1", "10"), ("1", "60000"), ("3600", "10"), ("3600", "60000")] {
            let settings = Settings::from_vars([])
                .unwrap()
                .with("SECKILL_INTERNAL_TOKEN", "0123456789abcdef")
                .with("SECKILL_TICKET_TTL_S", ttl_s)
                .with("SECKILL_PUBLISH_WAIT_MS", wait_ms);
            let config = Config::from_settings(&settings).unwrap();
            let on_its_way = config.ticket_ttl + config.publish_wait;
            assert!(config.fence_age() > on_its_way, "tickets of {ttl_s} s, publishes of {wait_ms} ms");
        }
    }
}
