//! Settings: `SECKILL_…` names, the commented default file, and errors that name the setting.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::Secret;

/// The commented default file: the documentation of every setting.
pub const DEFAULTS: &str = include_str!("default.env");

/// What the names of our variables begin with.
pub(crate) const PREFIX: &str = "SECKILL_";
/// Shortest secret in bytes: below this it could be guessed.
const SECRET_LEN_MIN: usize = 16;

/// What is wrong with the settings. Always names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A name the default file does not have.
    #[error("{0}: there is no such setting")]
    Unknown(String),
    /// No default and not set.
    #[error("{0}: must be set")]
    Missing(String),
    /// Set to an engine that there is not, in the engine's own words, which name the setting.
    #[error("{0}")]
    Engine(String),
    /// Set to something it cannot be.
    #[error("{name}: {why}")]
    Bad {
        /// The setting.
        name: String,
        /// What is wrong; never shows a secret's value.
        why: String,
    },
}

impl SettingsError {
    /// A bad value of this setting.
    pub fn bad(name: &str, why: impl Display) -> Self {
        Self::Bad { name: name.into(), why: why.to_string() }
    }
}

/// The settings of one process: defaults, overlaid by what it was given.
#[derive(Clone)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The settings from these variables; those without the prefix are not ours.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`] for a `SECKILL_…` name that the default file does not have.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut values = defaults();
        for (name, value) in vars.into_iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            match values.get_mut(&name) {
                Some(slot) => *slot = value,
                None => return Err(SettingsError::Unknown(name)),
            }
        }
        Ok(Self(values))
    }

    /// The same settings with `name` set to `value`: how the all-in-one fills in its own parts.
    ///
    /// # Panics
    /// If the default file does not have the name: that is a bug of the caller.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let slot = self.0.get_mut(name).unwrap_or_else(|| panic!("{name} is not in the default file"));
        *slot = value.into();
        self
    }

    /// The value's text, if it is set or has a default.
    ///
    /// # Panics
    /// If the default file does not have the name: that is a bug of the caller.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).unwrap_or_else(|| panic!("{name} is not in the default file"));
        Some(value.trim()).filter(|v| !v.is_empty())
    }

    /// The value's text.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] when it is not set and has no default.
    pub fn required(&self, name: &str) -> Result<&str, SettingsError> {
        self.text(name).ok_or_else(|| SettingsError::Missing(name.into()))
    }

    /// The value, parsed.
    ///
    /// # Errors
    /// When it is missing or does not parse.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, SettingsError>
    where
        T::Err: Display,
    {
        let text = self.required(name)?;
        text.parse().map_err(|e| SettingsError::bad(name, format_args!("{text:?}: {e}")))
    }

    /// A number within `min..=max`.
    ///
    /// # Errors
    /// When it is missing, no number, or out of range.
    pub fn number(&self, name: &str, min: u64, max: u64) -> Result<u64, SettingsError> {
        let n: u64 = self.get(name)?;
        if (min..=max).contains(&n) {
            Ok(n)
        } else {
            Err(SettingsError::bad(name, format_args!("{n} is outside {min} to {max}")))
        }
    }

    /// A duration in milliseconds within `min..=max`.
    ///
    /// # Errors
    /// As [`Settings::number`].
    pub fn millis(&self, name: &str, min: u64, max: u64) -> Result<Duration, SettingsError> {
        self.number(name, min, max).map(Duration::from_millis)
    }

    /// How long a ticket lives. Gateway and inventory must read it alike: the fence age follows from it.
    ///
    /// # Errors
    /// As [`Settings::number`].
    pub fn ticket_ttl(&self) -> Result<Duration, SettingsError> {
        self.number("SECKILL_TICKET_TTL_S", 1, 3600).map(Duration::from_secs)
    }

    /// How long a publish may wait for its confirm. Gateway and inventory must read it alike: the fence age follows from it.
    ///
    /// # Errors
    /// As [`Settings::number`].
    pub fn publish_wait(&self) -> Result<Duration, SettingsError> {
        self.millis("SECKILL_PUBLISH_WAIT_MS", 10, 60_000)
    }

    /// A listener's address: that of an IP address, or the first of a host name, IPv4 before IPv6.
    ///
    /// # Errors
    /// When it is missing, is no `host:port`, or its host has no address.
    pub fn address(&self, name: &str) -> Result<SocketAddr, SettingsError> {
        let text = self.required(name)?;
        if !text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(SettingsError::bad(name, format_args!("{text:?} is not host:port")));
        }
        let found =
            text.to_socket_addrs().map_err(|e| SettingsError::bad(name, format_args!("{text:?}: {e}")))?;
        let first = found.min_by_key(SocketAddr::is_ipv6);
        first.ok_or_else(|| SettingsError::bad(name, format_args!("{text:?} has no address")))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&self, name: &str) -> Result<bool, SettingsError> {
        match self.required(name)? {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(SettingsError::bad(name, format_args!("{other:?} is neither true nor false"))),
        }
    }

    /// A secret.
    ///
    /// # Errors
    /// When it is missing, too short to be one, or begins or ends with a blank.
    pub fn secret(&self, name: &str) -> Result<Secret, SettingsError> {
        let text = self.required(name)?;
        // Every byte of a key counts: without a blank that its other holder has, it would be another key.
        if self.0.get(name).is_some_and(|value| value != text) {
            return Err(SettingsError::bad(name, format_args!("begins or ends with a blank")));
        }
        if text.len() < SECRET_LEN_MIN {
            return Err(SettingsError::bad(name, format_args!("needs at least {SECRET_LEN_MIN} bytes")));
        }
        Ok(Secret::new(text))
    }
}

/// The names and values of the default file.
fn defaults() -> BTreeMap<String, String> {
    DEFAULTS
        .lines()
        .filter(|line| line.starts_with(PREFIX))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_vars(vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn defaults_stand_until_overlaid_and_foreign_names_are_let_be() {
        let settings = with(&[("SECKILL_LANES", "3"), ("PATH", "/bin")]).unwrap();
        assert_eq!(settings.get::<u16>("SECKILL_LANES"), Ok(3));
        assert_eq!(settings.required("SECKILL_LISTEN"), Ok("127.0.0.1:8080"));
    }

    #[test]
    fn every_refusal_names_the_setting() {
        let unknown = with(&[("SECKILL_LANE", "3")]).err().unwrap();
        assert_eq!(unknown.to_string(), "SECKILL_LANE: there is no such setting");
        let settings = with(&[
            ("SECKILL_LANES", "many"),
            ("SECKILL_ADMIN_TOKEN", "short"),
            ("SECKILL_LISTEN", "here"),
            ("SECKILL_DEMO", "yes"),
            ("SECKILL_WEBHOOK_SECRET", "a secret of one line\n"),
        ])
        .unwrap();
        let named = with(&[("SECKILL_LISTEN", "localhost:80")]).unwrap().address("SECKILL_LISTEN");
        assert_eq!(named.unwrap().to_string(), "127.0.0.1:80");
        let told = [
            settings.number("SECKILL_LANES", 1, 9).unwrap_err(),
            settings.secret("SECKILL_ADMIN_TOKEN").unwrap_err(),
            settings.address("SECKILL_LISTEN").unwrap_err(),
            settings.flag("SECKILL_DEMO").unwrap_err(),
            settings.secret("SECKILL_JWT_SECRET").unwrap_err(),
            settings.secret("SECKILL_WEBHOOK_SECRET").unwrap_err(),
        ];
        let names = ["LANES", "ADMIN_TOKEN", "LISTEN", "DEMO", "JWT_SECRET", "WEBHOOK_SECRET"];
        for (error, name) in told.iter().zip(names) {
            assert!(error.to_string().starts_with(&format!("SECKILL_{name}: ")), "{error}");
            let shows_value = ["short", "of one line"].iter().any(|value| error.to_string().contains(value));
            assert!(!shows_value, "a secret's value must not be shown");
        }
        assert!(settings.number("SECKILL_BATCH_MAX", 1, 10).is_err(), "out of range");
    }
}
