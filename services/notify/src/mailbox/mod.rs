//! Where notices end: the delivery port, and the sandbox mailbox that stands in for an e-mail provider,
//! an SMS gateway and a warehouse.

mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::Notice;
use domain::BuyerId;

/// Why a notice was not delivered. It will be tried again.
#[derive(Debug, thiserror::Error)]
#[error("the mailbox failed: {0}")]
pub struct MailboxError(pub(crate) String);

/// Delivers notices. Delivering one twice must be harmless: it is told apart by its id.
#[async_trait]
pub trait Mailbox: Send + Sync {
    /// Delivers all of them, or none.
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError>;

    /// A buyer's notices, newest first, at most `limit`.
    async fn of_buyer(&self, buyer: &BuyerId, limit: u32) -> Result<Vec<Notice>, MailboxError>;
}

/// Opens the mailbox that `url` names (`sqlite:PATH`).
///
/// # Errors
/// An unknown scheme, or a database that cannot be opened.
pub async fn open(url: &str) -> Result<Arc<dyn Mailbox>, MailboxError> {
    match url.strip_prefix("sqlite:") {
        Some(path) => Ok(Arc::new(sqlite::SqliteMailbox::open(path).await?)),
        None => Err(MailboxError("its URL must begin with sqlite:".into())),
    }
}
