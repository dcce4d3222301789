//! The books in the ledger's file. It has one owner, so whoever looks may deliver.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use domain::UnixMillis;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

use super::{Books, Entry, Webhook};
use crate::payment::{Charge, ProviderError};

/// Connections at most.
const CONNECTIONS_MAX: u32 = 2;
/// How long to wait for the ledger's write lock, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
/// Page cache of a connection, in KiB.
const CACHE_KIB: u32 = 256;

pub(super) struct SqliteBooks(SqlitePool);

impl SqliteBooks {
    pub(super) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(BUSY_MS_MAX))
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        Ok(Self(parts::sqlite_pool().max_connections(CONNECTIONS_MAX).connect_with(connect).await?))
    }
}

#[async_trait]
impl Books for SqliteBooks {
    async fn open_charge(&self, charge: &Charge) -> Result<(), ProviderError> {
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

    async fn find(&self, reference: &str) -> Result<Option<Entry>, ProviderError> {
        let row = sqlx::query("select * from sandbox_charges where reference = ?1")
            .bind(reference)
            .fetch_optional(&self.0)
            .await?;
        Ok(row.as_ref().map(entry).transpose()?)
    }

    async fn close_charge(
        &self,
        status: &'static str,
        webhook: &Webhook,
        _now: UnixMillis,
    ) -> Result<bool, ProviderError> {
        let done = sqlx::query(
            "update sandbox_charges set status = ?2, webhook = ?3, capture_at = null
             where reference = ?1 and status = 'open'",
        )
        .bind(&webhook.reference)
        .bind(status)
        .bind(&webhook.body)
        .execute(&self.0)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn schedule(&self, entry: &Entry, at: UnixMillis) -> Result<(), ProviderError> {
        sqlx::query("update sandbox_charges set capture_at = ?2 where reference = ?1 and status = 'open'")
            .bind(&entry.reference)
            .bind(at.0)
            .execute(&self.0)
            .await?;
        Ok(())
    }

    async fn due(&self, now: UnixMillis, limit: u32) -> Result<Vec<Entry>, ProviderError> {
        let due = sqlx::query(
            "select * from sandbox_charges where capture_at <= ?1 and status = 'open'
             order by capture_at limit ?2",
        )
        .bind(now.0)
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        Ok(due.iter().map(entry).collect::<Result<_, _>>()?)
    }

    async fn undelivered(&self, _now: UnixMillis, limit: u32) -> Result<Vec<Webhook>, ProviderError> {
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

    async fn delivered(&self, webhook: &Webhook) -> Result<(), ProviderError> {
        sqlx::query("update sandbox_charges set webhook = null where reference = ?1 and webhook = ?2")
            .bind(&webhook.reference)
            .bind(&webhook.body)
            .execute(&self.0)
            .await?;
        Ok(())
    }

    async fn refund(&self, reference: &str) -> Result<(), ProviderError> {
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
