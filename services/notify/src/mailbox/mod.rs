//! Where notices end: the delivery port, and the sandbox mailbox that stands in for an e-mail provider,
//! an SMS gateway and a warehouse.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::Notice;
use domain::BuyerId;

/// Notices kept, about; the oldest give way.
const NOTICES_MAX: i64 = 50_000;

/// Why a notice was not delivered. It will be tried again.
#[derive(Debug, thiserror::Error)]
#[error("the mailbox failed: {0}")]
pub struct MailboxError(pub(crate) String);

impl From<sqlx::Error> for MailboxError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

/// Delivers notices. Delivering one twice must be harmless: it is told apart by its id.
#[async_trait]
pub trait Mailbox: Send + Sync {
    /// Delivers all of them, or none.
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError>;

    /// A buyer's notices, newest first, at most `limit`.
    async fn of_buyer(&self, buyer: &BuyerId, limit: u32) -> Result<Vec<Notice>, MailboxError>;
}

/// Opens the mailbox that `url` names (`sqlite:PATH` or `postgres://…`).
///
/// # Errors
/// An unknown scheme, or a database that cannot be opened.
pub async fn open(url: &str) -> Result<Arc<dyn Mailbox>, MailboxError> {
    match url.split_once(':') {
        Some(("sqlite", path)) => Ok(Arc::new(sqlite::SqliteMailbox::open(path).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(postgres::PostgresMailbox::open(url).await?)),
        // Only the scheme: the rest may hold a password.
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            let why = format!("no mailbox for {scheme:?} (expected sqlite:PATH or postgres://…)");
            Err(MailboxError(why))
        }
    }
}
