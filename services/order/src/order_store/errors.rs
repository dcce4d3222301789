//! What an engine's error means to whoever called the store.

use service_kit::database;

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let told = error.to_string();
        if database::refuses(&error) { Self::Refused(told) } else { Self::Unavailable(told) }
    }
}

/// A stored value this program cannot have written.
pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!("stored {what} is unreadable: {why}"))
}
