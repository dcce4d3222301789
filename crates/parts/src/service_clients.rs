//! The other services, as clients.

use service_kit::http::{HttpClient, check_base_url};
use service_kit::{Settings, SettingsError};

/// A client of the service whose base URL stands in the setting `name`, showing the internal token.
///
/// # Errors
/// When the setting, or `SECKILL_INTERNAL_TOKEN`, is missing or bad.
pub fn service_client(settings: &Settings, name: &str) -> Result<HttpClient, SettingsError> {
    let url = settings.required(name)?;
    check_base_url(name, url)?;
    Ok(HttpClient::new(url, Some(&settings.secret("SECKILL_INTERNAL_TOKEN")?)))
}
