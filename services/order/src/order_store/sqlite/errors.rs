//! Which of SQLite's errors are an outage, and which a refusal of the very call.

use crate::order_store::StoreError;

/// Primary result codes that mean "this statement, with these values, never".
const REFUSALS: [i32; 4] = [
    1,  // SQLITE_ERROR: integer overflow, malformed JSON
    18, // SQLITE_TOOBIG
    19, // SQLITE_CONSTRAINT
    20, // SQLITE_MISMATCH
];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(e) => {
                // The extended code keeps the primary one in its low byte.
                let code = e.code().and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
                REFUSALS.contains(&(code & 0xff))
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
