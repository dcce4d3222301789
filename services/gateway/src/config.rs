//! The gateway's settings, read and checked once at start.

use std::num::NonZeroU32;
use std::time::Duration;

use service_kit::http::ServerLimits;
use service_kit::{Secret, Settings, SettingsError};

use crate::tickets::TicketKeys;

/// Largest count and window of a rate limit.
const RATE_MAX: u32 = 100_000_000;

/// A rate limit: this many requests in a burst, and as many per window after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Requests.
    pub requests: NonZeroU32,
    /// Seconds.
    pub per_s: NonZeroU32,
}

impl Rate {
    /// `N/SECONDS`, or `off`.
    fn from_setting(settings: &Settings, name: &str) -> Result<Option<Self>, SettingsError> {
        let text = settings.required(name)?;
        if text == "off" {
            return Ok(None);
        }
        let part = |text: &str| -> Option<NonZeroU32> {
            text.parse().ok().filter(|n: &NonZeroU32| n.get() <= RATE_MAX)
        };
        let rate = text
            .split_once('/')
            .and_then(|(n, s)| Some(Self { requests: part(n.trim())?, per_s: part(s.trim())? }));
        rate.map(Some)
            .ok_or_else(|| SettingsError::bad(name, format_args!("{text:?} is neither N/SECONDS nor off")))
    }
}

/// How much of everything the gateway grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Purchase requests per buyer.
    pub buyer: Option<Rate>,
    /// Purchase requests per sale.
    pub sale: Option<Rate>,
    /// Requests without a valid token, per client address.
    pub address: Option<Rate>,
    /// Keys a limit tracks at most; beyond it that limit's table starts afresh.
    pub keys_max: usize,
    /// Purchase requests of one sale at work at once.
    pub sale_concurrency_max: usize,
    /// Messages in a sale's lane above which nothing more is reserved.
    pub lane_high_water: u64,
    /// Open event streams at most.
    pub streams_max: usize,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// The gateway's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Key of the buyers' tokens.
    pub jwt_secret: Secret,
    /// Keys of the tickets: the first signs, all verify.
    pub ticket_keys: TicketKeys,
    /// The operators' token.
    pub admin_token: Secret,
    /// Lifetime of a ticket.
    pub ticket_ttl: Duration,
    /// How long the queue's confirm may take, republish included.
    pub publish_wait: Duration,
    /// Whether the demo's routes are mounted.
    pub demo: bool,
    /// How much of everything is granted.
    pub limits: Limits,
    /// What the public listener grants its connections.
    pub server: ServerLimits,
}

impl Config {
    /// The settings, checked.
    ///
    /// # Errors
    /// The first setting that is missing or cannot be what it is set to.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let size = |name: &str, max: u64| -> Result<usize, SettingsError> {
            usize::try_from(settings.number(name, 1, max)?).map_err(|e| SettingsError::bad(name, e))
        };
        let keys = settings.required("SECKILL_TICKET_KEYS")?;
        Ok(Self {
            jwt_secret: settings.secret("SECKILL_JWT_SECRET")?,
            ticket_keys: keys.parse().map_err(|e| SettingsError::bad("SECKILL_TICKET_KEYS", e))?,
            admin_token: settings.secret("SECKILL_ADMIN_TOKEN")?,
            ticket_ttl: Duration::from_secs(settings.number("SECKILL_TICKET_TTL_S", 1, 3600)?),
            publish_wait: settings.millis("SECKILL_PUBLISH_WAIT_MS", 10, 60_000)?,
            demo: settings.flag("SECKILL_DEMO")?,
            limits: Limits {
                buyer: Rate::from_setting(settings, "SECKILL_BUYER_LIMIT")?,
                sale: Rate::from_setting(settings, "SECKILL_SALE_LIMIT")?,
                address: Rate::from_setting(settings, "SECKILL_ADDRESS_LIMIT")?,
                keys_max: size("SECKILL_LIMIT_KEYS_MAX", 100_000_000)?,
                sale_concurrency_max: size("SECKILL_SALE_CONCURRENCY_MAX", 1_000_000)?,
                lane_high_water: settings.number("SECKILL_LANE_HIGH_WATER", 1, 1_000_000_000)?,
                streams_max: size("SECKILL_STREAMS_MAX", 1_000_000)?,
                body_timeout: settings.millis("SECKILL_BODY_TIMEOUT_MS", 10, 600_000)?,
            },
            server: ServerLimits {
                connections_max: size("SECKILL_CONNECTIONS_MAX", 1_000_000)?,
                header_timeout: settings.millis("SECKILL_HEADER_TIMEOUT_MS", 10, 600_000)?,
                ..ServerLimits::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Settings {
        let base = [
            ("SECKILL_JWT_SECRET", "0123456789abcdef"),
            ("SECKILL_ADMIN_TOKEN", "0123456789abcdef"),
            ("SECKILL_TICKET_KEYS", "a:0101010101010101010101010101010101010101010101010101010101010101"),
        ];
        let all = base.iter().chain(vars).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Settings::from_vars(all).unwrap()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let limits = Config::from_settings(&settings(&[])).unwrap().limits;
        let shown = |r: Option<Rate>| r.map(|r| (r.requests.get(), r.per_s.get()));
        assert_eq!(shown(limits.buyer), Some((10, 1)));
        assert_eq!(shown(limits.sale), Some((20_000, 1)));
        assert_eq!(shown(limits.address), Some((200, 1)));
    }

    #[test]
    fn a_rate_is_off_or_two_positive_numbers_and_a_bad_one_names_its_setting() {
        let off = Config::from_settings(&settings(&[("SECKILL_BUYER_LIMIT", "off")])).unwrap();
        assert_eq!(off.limits.buyer, None);
        for bad in ["10", "0/1", "1/0", "a/b", "-1/1", "1/1/1", "999999999/1", "OFF"] {
            let error = Config::from_settings(&settings(&[("SECKILL_SALE_LIMIT", bad)])).unwrap_err();
            assert!(error.to_string().starts_with("SECKILL_SALE_LIMIT: "), "{bad}: {error}");
        }
    }

    #[test]
    fn a_bad_ticket_key_is_refused_without_showing_it() {
        let secret = "a:beef";
        let error = Config::from_settings(&settings(&[("SECKILL_TICKET_KEYS", secret)])).unwrap_err();
        assert!(error.to_string().starts_with("SECKILL_TICKET_KEYS: "));
        assert!(!error.to_string().contains("beef"));
    }
}
