//! What every service shares: settings, secrets, telemetry, health, shutdown, and HTTP at both ends.
//!
//! A service is a function of (config, dependencies, listeners, shutdown); this crate holds what those
//! four are made of, and nothing that only one service needs.

mod backoff;
mod clock;
#[cfg(feature = "postgres")]
pub mod database;
mod database_url;
mod files;
pub mod health;
pub mod http;
pub mod lifecycle;
#[cfg(feature = "postgres")]
pub mod postgres;
mod secret;
pub mod settings;
pub mod telemetry;

pub use backoff::Backoff;
pub use clock::SystemClock;
pub use database_url::{DatabaseUrl, UnknownScheme};
pub use secret::Secret;
pub use settings::{Settings, SettingsError};
