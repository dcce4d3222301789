//! The sandbox's books: one row a charge. A charge is decided once, by a conditional update.

use std::path::Path;
use std::time::Duration;

use contract::api::{WebhookEvent, WebhookKind};
use domain::UnixMillis;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, SqlitePool};

use crate::payment::{Charge, ChargeStatus, ProviderError};

/// Connections at most.
const CONNECTIONS_MAX: u32 = 2;
/// How long to wait for the ledger's write lock, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
/// Page cache of a connection, in KiB.
const CACHE_KIB: u32 = 256;
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

pub(super) struct Books(SqlitePool);

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

impl Books {
    pub(super) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(BUSY_MS_MAX))
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        Ok(Self(SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(connect).await?))
    }

    pub(super) async fn open_charge(&self, charge: &Charge) -> Result<(), ProviderError> {
        sqlx::query(
            "insert into sandbox_charges (reference, order_id, sale, amount_cents, currency, pay_by, status)
             values (?1, ?2, ?3, ?4, ?5, ?6, 'open') on conflict (reference) do nothing",
        )
        .bind(&charge.reference)
        .bind(charge.order.to_string())
        .bind(charge.sale.as_str())
        .bind(charge.amount.cents)
        .bind(charge.amount.currency.as_str())
        .bind(charge.pay_by.0)
        .execute(&self.0)
        .await?;
        Ok(())
    }

    pub(super) async fn find(&self, reference: &str) -> Result<Option<Entry>, ProviderError> {
        let row = sqlx::query("select * from sandbox_charges where reference = ?1")
            .bind(reference)
            .fetch_optional(&self.0)
            .await?;
        Ok(row.as_ref().map(entry).transpose()?)
    }

    /// Decides the charge, unless it is decided; answers the event to deliver.
    pub(super) async fn decide(&self, entry: &Entry, fate: Fate) -> Result<Option<Webhook>, ProviderError> {
        let webhook = entry.webhook(fate)?;
        let status = if fate == Fate::Captured { "captured" } else { "failed" };
        let done = sqlx::query(
            "update sandbox_charges set status = ?2, webhook = ?3, capture_at = null
             where reference = ?1 and status = 'open'",
        )
        .bind(&entry.reference)
        .bind(status)
        .bind(&webhook.body)
        .execute(&self.0)
        .await?;
        Ok((done.rows_affected() > 0).then_some(webhook))
    }

    /// Captures the charge at a later moment, whether or not this process lives to see it.
    pub(super) async fn schedule(&self, entry: &Entry, at: UnixMillis) -> Result<(), ProviderError> {
        sqlx::query("update sandbox_charges set capture_at = ?2 where reference = ?1 and status = 'open'")
            .bind(&entry.reference)
            .bind(at.0)
            .execute(&self.0)
            .await?;
        Ok(())
    }

    /// Captures what is scheduled up to `now`.
    pub(super) async fn capture_due(&self, now: UnixMillis) -> Result<(), ProviderError> {
        let due = sqlx::query(
            "select * from sandbox_charges where capture_at <= ?1 and status = 'open'
             order by capture_at limit ?2",
        )
        .bind(now.0)
        .bind(ROUND_CAPTURES)
        .fetch_all(&self.0)
        .await?;
        for row in &due {
            self.decide(&entry(row)?, Fate::Captured).await?;
        }
        Ok(())
    }

    pub(super) async fn undelivered(&self, limit: u32) -> Result<Vec<Webhook>, ProviderError> {
        let found = sqlx::query(
            "select reference, webhook from sandbox_charges where webhook is not null
             order by reference limit ?1",
        )
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        let webhook = |row: &SqliteRow| {
            Ok(Webhook { reference: row.try_get("reference")?, body: row.try_get("webhook")? })
        };
        found.iter().map(webhook).collect()
    }

    pub(super) async fn delivered(&self, webhook: &Webhook) -> Result<(), ProviderError> {
        sqlx::query("update sandbox_charges set webhook = null where reference = ?1 and webhook = ?2")
            .bind(&webhook.reference)
            .bind(&webhook.body)
            .execute(&self.0)
            .await?;
        Ok(())
    }

    pub(super) async fn refund(&self, reference: &str) -> Result<(), ProviderError> {
        sqlx::query("update sandbox_charges set refunded = 1 where reference = ?1 and status = 'captured'")
            .bind(reference)
            .execute(&self.0)
            .await?;
        Ok(())
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        reference: row.try_get("reference")?,
        order: row.try_get("order_id")?,
        sale: row.try_get("sale")?,
        amount_cents: row.try_get("amount_cents")?,
        currency: row.try_get("currency")?,
        pay_by: UnixMillis(row.try_get("pay_by")?),
        scheduled: row.try_get::<Option<i64>, _>("capture_at")?.is_some(),
        status: row.try_get("status")?,
    })
}
