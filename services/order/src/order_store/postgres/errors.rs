//! Which of Postgres' errors are worth another attempt at once.

use crate::order_store::StoreError;

/// Codes that mean "lost to a concurrent transaction": the same call does better when made again.
const CONTENDED: [&str; 3] = [
    "23505", // unique violation: a row that was not expected to be there
    "40001", // serialization failure
    "40P01", // deadlock detected
];
/// Codes of a server that ends the connection: last words, which may be read long after.
const ENDED: &str = "57P";

/// Why a transaction of the ledger came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// It lost to a concurrent one; try again.
    Contended(StoreError),
    /// Any other reason.
    Store(StoreError),
}

impl Fault {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Contended(error) | Self::Store(error) => error,
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let contended =
            error.as_database_error().and_then(|e| e.code()).is_some_and(|c| CONTENDED.contains(&&*c));
        if contended { Self::Contended(error.into()) } else { Self::Store(error.into()) }
    }
}

impl Fault {
    /// What a transaction that did not even begin comes to: the connection may have been lost while nobody
    /// looked, and another one may not.
    pub(super) fn before_anything(error: sqlx::Error) -> Self {
        let ended = error.as_database_error().and_then(|e| e.code()).is_some_and(|c| c.starts_with(ENDED));
        if ended || matches!(error, sqlx::Error::Io(_)) {
            Self::Contended(error.into())
        } else {
            error.into()
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
