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
            ticket_ttl: Duration::from_secs(settings.number("SECKILL_TICKET_TTL_S", 1, 3600)?),
            publish_wait: settings.millis("SECKILL_PUBLISH_WAIT_MS", 10, 60_000)?,
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
