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
use service_kit::{DatabaseUrl, database};

/// Notices kept, about; the oldest give way.
const NOTICES_MAX: i64 = 50_000;

/// Why the mailbox did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// It cannot be reached, or cannot do it now. The same call may succeed later; whether this one delivered anything is
    /// unknown.
    #[error("the mailbox is unavailable: {0}")]
    Unavailable(String),
    /// It refuses this very call, or holds what this program cannot have written. The same call fails again.
    #[error("the mailbox refuses: {0}")]
    Refused(String),
}

impl MailboxError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for MailboxError {
    fn from(error: sqlx::Error) -> Self {
        let told = error.to_string();
        if database::refuses(&error) { Self::Refused(told) } else { Self::Unavailable(told) }
    }
}

/// Delivers notices. Delivering one twice must be harmless: it is told apart by its id.
#[async_trait]
pub trait Mailbox: Send + Sync {
    /// Delivers all of them; if one of them is refused, none.
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError>;

    /// A buyer's notices, newest first, at most `limit`.
    async fn of_buyer(&self, buyer: &BuyerId, limit: u32) -> Result<Vec<Notice>, MailboxError>;
}

/// Opens the mailbox that `url` names (`sqlite:PATH` or `postgres://…`).
///
/// # Errors
/// An unknown scheme, or a database that cannot be opened.
pub async fn open(url: &str) -> Result<Arc<dyn Mailbox>, MailboxError> {
    match DatabaseUrl::of(url).map_err(|e| MailboxError::Refused(e.to_string()))? {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteMailbox::open(path).await?)),
        DatabaseUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresMailbox::open(url).await?)),
    }
}
