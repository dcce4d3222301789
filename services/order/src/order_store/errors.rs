//! Which of an engine's errors are an outage, and which a refusal of the very call.

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use super::{StoreError, postgres, sqlite};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(e) => {
                let code = e.code().unwrap_or_default();
                match (e.try_downcast_ref::<SqliteError>(), e.try_downcast_ref::<PgDatabaseError>()) {
                    (Some(_), _) => sqlite::refuses(&code),
                    (_, Some(_)) => postgres::refuses(&code),
                    _ => false,
                }
            }
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Encode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => true,
            _ => false,
        };
        if refused { Self::Refused(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

/// A stored value this program cannot have written.
pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!("stored {what} is unreadable: {why}"))
}
