//! The sandbox's books: one row a charge. A charge is decided once, by a conditional update. They lie
//! beside the ledger, in whichever engine it is.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use contract::api::{WebhookEvent, WebhookKind};
use domain::UnixMillis;
use service_kit::DatabaseUrl;

use crate::payment::{Charge, ChargeStatus, ProviderError};

/// Scheduled captures of one round.
const ROUND_CAPTURES: u32 = 64;

/// A charge as the books have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) reference: String,
    pub(super) order: String,
    pub(super) sale: String,
    pub(super) amount_cents: i64,
    pub(super) currency: String,
    pub(super) pay_by: UnixMillis,
    pub(super) scheduled: bool,
    status: String,
}

/// What a charge was decided to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Captured,
    Failed,
}

/// An event that still has to be heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Webhook {
    pub(super) reference: String,
    pub(super) body: String,
}

/// The books, whatever they are written in. Several sandboxes may write in the same ones.
#[async_trait]
pub(super) trait Books: Send + Sync {
    /// Enters the charge, unless it is entered.
    async fn open_charge(&self, charge: &Charge) -> Result<(), ProviderError>;
    /// The charge, if it is entered.
    async fn find(&self, reference: &str) -> Result<Option<Entry>, ProviderError>;
    /// Enters what the open charge was decided to be, and the event that has to be delivered; false if it
    /// was decided before. Whoever decides has the event to deliver.
    async fn close_charge(
        &self,
        status: &'static str,
        webhook: &Webhook,
        now: UnixMillis,
    ) -> Result<bool, ProviderError>;
    /// Captures the charge at a later moment, whether or not this process lives to see it.
    async fn schedule(&self, entry: &Entry, at: UnixMillis) -> Result<(), ProviderError>;
    /// Charges scheduled up to `now` and not decided.
    async fn due(&self, now: UnixMillis, limit: u32) -> Result<Vec<Entry>, ProviderError>;
    /// Events that were not heard and that nobody else is delivering.
    async fn undelivered(&self, now: UnixMillis, limit: u32) -> Result<Vec<Webhook>, ProviderError>;
    /// The event was heard.
    async fn delivered(&self, webhook: &Webhook) -> Result<(), ProviderError>;
    /// Pays a captured charge back.
    async fn refund(&self, reference: &str) -> Result<(), ProviderError>;

    /// Decides the charge, unless it is decided; answers the event to deliver.
    async fn decide(
        &self,
        entry: &Entry,
        fate: Fate,
        now: UnixMillis,
    ) -> Result<Option<Webhook>, ProviderError> {
        let webhook = entry.webhook(fate)?;
        let status = if fate == Fate::Captured { "captured" } else { "failed" };
        Ok(self.close_charge(status, &webhook, now).await?.then_some(webhook))
    }

    /// Captures what is scheduled up to `now`; answers the events to deliver.
    async fn capture_due(&self, now: UnixMillis) -> Result<Vec<Webhook>, ProviderError> {
        let mut webhooks = Vec::new();
        for entry in self.due(now, ROUND_CAPTURES).await? {
            webhooks.extend(self.decide(&entry, Fate::Captured, now).await?);
        }
        Ok(webhooks)
    }
}

/// Opens the books that lie beside the ledger.
pub(super) async fn open(database_url: &str) -> Result<Box<dyn Books>, String> {
    let opened: Result<Box<dyn Books>, sqlx::Error> =
        match DatabaseUrl::of(database_url).map_err(|e| e.to_string())? {
            DatabaseUrl::Sqlite(path) => sqlite::SqliteBooks::open(path).await.map(|b| Box::new(b) as _),
            DatabaseUrl::Postgres(url) => postgres::PostgresBooks::open(url).await.map(|b| Box::new(b) as _),
        };
    opened.map_err(|e| e.to_string())
}

impl From<sqlx::Error> for ProviderError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl Entry {
    pub(super) fn status(&self) -> ChargeStatus {
        match self.status.as_str() {
            "captured" => {
                ChargeStatus::Captured { amount_cents: self.amount_cents, currency: self.currency.clone() }
            }
            "failed" => ChargeStatus::Failed,
            _ => ChargeStatus::Open,
        }
    }

    fn webhook(&self, fate: Fate) -> Result<Webhook, ProviderError> {
        let (kind, word) = match fate {
            Fate::Captured => (WebhookKind::Succeeded, "succeeded"),
            Fate::Failed => (WebhookKind::Failed, "failed"),
        };
        let event = WebhookEvent {
            event_id: format!("{}-{word}", self.reference),
            kind,
            reference: self.reference.clone(),
            order_id: self.order.clone(),
            amount_cents: self.amount_cents,
            currency: self.currency.clone(),
        };
        let body = serde_json::to_string(&event).map_err(|e| ProviderError(e.to_string()))?;
        Ok(Webhook { reference: self.reference.clone(), body })
    }
}
