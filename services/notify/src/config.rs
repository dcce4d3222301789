//! Notify's settings.

use service_kit::{Secret, Settings, SettingsError};

/// What notify is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Other services show this.
    pub internal_token: Secret,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first setting that is missing or bad.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self { internal_token: settings.secret("SECKILL_INTERNAL_TOKEN")? })
    }
}
