//! The gateway's settings, read and checked once at start.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use contract::rules::{MaybeRate, Rate};
use service_kit::http::ServerLimits;
use service_kit::{Secret, Settings, SettingsError};

use crate::audit::AuditLog;
use crate::cors::Cors;
use crate::identity::{Expected, JwksSource};
use crate::limits::Proxies;
use crate::tickets::TicketKeys;

/// A rate limit from a setting: `N/SECONDS`, or `off`.
fn rate(settings: &Settings, name: &str) -> Result<Option<Rate>, SettingsError> {
    settings.get::<MaybeRate>(name).map(|MaybeRate(rate)| rate)
}

/// The audit log's file, opened now: a place that cannot be written is known at start.
fn audit_log(settings: &Settings) -> Result<AuditLog, SettingsError> {
    const NAME: &str = "SECKILL_AUDIT_FILE";
    let Some(path) = settings.text(NAME) else { return Ok(AuditLog::default()) };
    AuditLog::open(Path::new(path)).map_err(|e| SettingsError::bad(NAME, format_args!("{path:?}: {e}")))
}

/// A list, empty unless said otherwise.
fn list<T: FromStr>(settings: &Settings, name: &str) -> Result<T, SettingsError>
where
    T::Err: Display,
{
    settings.text(name).unwrap_or_default().parse().map_err(|e| SettingsError::bad(name, e))
}

/// How much of everything the gateway grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Purchase requests per buyer.
    pub buyer: Option<Rate>,
    /// Other requests per buyer.
    pub browse: Option<Rate>,
    /// Purchase requests per sale.
    pub sale: Option<Rate>,
    /// Requests without a valid token, per client address.
    pub address: Option<Rate>,
    /// Buyers, and client addresses, tracked at most; beyond it those nearest to their whole allowance are
    /// forgotten.
    pub keys_max: usize,
    /// Purchase requests of one sale at work at once.
    pub sale_concurrency_max: usize,
    /// How long a purchase should take; a sale whose purchases take longer is given less to do at once.
    pub latency_target: Duration,
    /// Messages in a sale's lane above which nothing more is reserved.
    pub lane_high_water: u64,
    /// Open event streams at most: this many of orders, and as many again of waiting rooms.
    pub streams_max: usize,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// The gateway's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Key of the buyers' tokens.
    pub jwt_secret: Secret,
    /// Where an identity provider's keys are, if buyers may come with its tokens.
    pub jwks: Option<JwksSource>,
    /// What its tokens must say.
    pub jwks_expected: Expected,
    /// How often they are looked at.
    pub jwks_refresh: Duration,
    /// Keys of the tickets: the first signs, all verify.
    pub ticket_keys: TicketKeys,
    /// The operators' token.
    pub admin_token: Secret,
    /// Where operators' acts are recorded.
    pub audit_log: AuditLog,
    /// Lifetime of a ticket.
    pub ticket_ttl: Duration,
    /// How long the queue's confirm may take, republish included.
    pub publish_wait: Duration,
    /// Whether the demo's routes are mounted.
    pub demo: bool,
    /// How much of everything is granted.
    pub limits: Limits,
    /// Whose pages may use the API.
    pub cors: Cors,
    /// Bytes of pages kept at most.
    pub page_cache_bytes: u64,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: Proxies,
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
            jwks: settings.text("SECKILL_JWKS").map(|_| settings.get("SECKILL_JWKS")).transpose()?,
            jwks_expected: Expected {
                issuer: settings.text("SECKILL_JWT_ISSUER").map(str::to_owned),
                audience: settings.text("SECKILL_JWT_AUDIENCE").map(str::to_owned),
            },
            jwks_refresh: Duration::from_secs(settings.number("SECKILL_JWKS_REFRESH_S", 1, 86_400)?),
            ticket_keys: keys.parse().map_err(|e| SettingsError::bad("SECKILL_TICKET_KEYS", e))?,
            admin_token: settings.secret("SECKILL_ADMIN_TOKEN")?,
            audit_log: audit_log(settings)?,
            ticket_ttl: settings.ticket_ttl()?,
            publish_wait: settings.publish_wait()?,
            demo: settings.flag("SECKILL_DEMO")?,
            limits: Limits {
                buyer: rate(settings, "SECKILL_BUYER_LIMIT")?,
                browse: rate(settings, "SECKILL_BROWSE_LIMIT")?,
                sale: rate(settings, "SECKILL_SALE_LIMIT")?,
                address: rate(settings, "SECKILL_ADDRESS_LIMIT")?,
                keys_max: size("SECKILL_LIMIT_KEYS_MAX", 100_000_000)?,
                sale_concurrency_max: size("SECKILL_SALE_CONCURRENCY_MAX", 1_000_000)?,
                latency_target: settings.millis("SECKILL_LATENCY_TARGET_MS", 10, 600_000)?,
                lane_high_water: settings.number("SECKILL_LANE_HIGH_WATER", 1, 1_000_000_000)?,
                streams_max: size("SECKILL_STREAMS_MAX", 1_000_000)?,
                body_timeout: settings.millis("SECKILL_BODY_TIMEOUT_MS", 10, 600_000)?,
            },
            cors: list(settings, "SECKILL_CORS_ORIGINS")?,
            page_cache_bytes: settings.number("SECKILL_PAGE_CACHE_BYTES", 1, 1 << 40)?,
            proxies: list(settings, "SECKILL_TRUSTED_PROXIES")?,
            server: ServerLimits {
                connections_max: size("SECKILL_CONNECTIONS_MAX", 1_000_000)?,
                connections_per_address_max: size("SECKILL_CONNECTIONS_PER_ADDRESS_MAX", 1_000_000)?,
                header_timeout: settings.millis("SECKILL_HEADER_TIMEOUT_MS", 10, 600_000)?,
                back_row: true,
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

    /// All sales of a gateway share the publishes that may await their confirm: a hot one must not have them all.
    #[test]
    fn one_sale_leaves_room_for_another() {
        let defaults = settings(&[]);
        let awaited = defaults.number("SECKILL_CONFIRM_WINDOW", 1, u64::MAX).unwrap();
        let of_one_sale = Config::from_settings(&defaults).unwrap().limits.sale_concurrency_max;
        let of_one_sale = u64::try_from(of_one_sale).unwrap();
        assert!(2 * of_one_sale <= awaited, "{of_one_sale} of {awaited}");
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
