//! The books in the ledger's database. Every replica of the order service has a sandbox, so an event is
//! held by whoever is delivering it.

use async_trait::async_trait;
use domain::UnixMillis;
use service_kit::postgres::{call, pool};
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};

use super::{Books, Entry, Webhook};
use crate::payment::{Charge, ProviderError};

/// Connections at most.
const CONNECTIONS_MAX: u32 = 2;
/// How long an event is left to whoever delivers it, in milliseconds; a slow delivery may happen twice.
const DELIVERY_MS_MAX: i64 = 5_000;

/// The columns of a charge.
macro_rules! charge_columns {
    () => {
        "reference, order_id, sale, amount_cents, currency, pay_by, capture_at, status"
    };
}

/// A statement with its values.
type Statement = Query<'static, Postgres, PgArguments>;

pub(super) struct PostgresBooks(PgPool);

impl PostgresBooks {
    pub(super) async fn open(url: &str) -> Result<Self, sqlx::Error> {
        Ok(Self(pool(url, CONNECTIONS_MAX, "payment sandbox").await?))
    }

    /// Runs the statement; answers how many rows it changed.
    async fn execute(&self, statement: Statement) -> Result<u64, ProviderError> {
        call(&self.0, |conn| Box::pin(async { Ok(statement.execute(conn).await?.rows_affected()) })).await
    }

    async fn fetch(&self, statement: Statement) -> Result<Vec<PgRow>, ProviderError> {
        call(&self.0, |conn| Box::pin(async { Ok(statement.fetch_all(conn).await?) })).await
    }
}

#[async_trait]
impl Books for PostgresBooks {
    async fn open_charge(&self, charge: &Charge) -> Result<(), ProviderError> {
        let query = sqlx::query(
            "insert into sandbox_charges (reference, order_id, sale, amount_cents, currency, pay_by, status)
             values ($1, $2, $3, $4, $5, $6, 'open') on conflict (reference) do nothing",
        )
        .bind(charge.reference.clone())
        .bind(charge.order.to_string())
        .bind(charge.sale.to_string())
        .bind(charge.amount.cents)
        .bind(charge.amount.currency.to_string())
        .bind(charge.pay_by.0);
        self.execute(query).await?;
        Ok(())
    }

    async fn find(&self, reference: &str) -> Result<Option<Entry>, ProviderError> {
        let query =
            sqlx::query(concat!("select ", charge_columns!(), " from sandbox_charges where reference = $1"))
                .bind(reference.to_owned());
        let rows = self.fetch(query).await?;
        Ok(rows.first().map(entry).transpose()?)
    }

    async fn close_charge(
        &self,
        status: &'static str,
        webhook: &Webhook,
        now: UnixMillis,
    ) -> Result<bool, ProviderError> {
        let query = sqlx::query(
            "update sandbox_charges set status = $2, webhook = $3, capture_at = null, deliver_at = $4
             where reference = $1 and status = 'open'",
        )
        .bind(webhook.reference.clone())
        .bind(status)
        .bind(webhook.body.clone())
        .bind(now.plus(DELIVERY_MS_MAX).0);
        Ok(self.execute(query).await? > 0)
    }

    async fn schedule(&self, entry: &Entry, at: UnixMillis) -> Result<(), ProviderError> {
        let query = sqlx::query(
            "update sandbox_charges set capture_at = $2 where reference = $1 and status = 'open'",
        )
        .bind(entry.reference.clone())
        .bind(at.0);
        self.execute(query).await?;
        Ok(())
    }

    async fn due(&self, now: UnixMillis, limit: u32) -> Result<Vec<Entry>, ProviderError> {
        let query = sqlx::query(concat!(
            "select ",
            charge_columns!(),
            " from sandbox_charges where capture_at <= $1 and status = 'open' order by capture_at limit $2"
        ))
        .bind(now.0)
        .bind(i64::from(limit));
        let rows = self.fetch(query).await?;
        Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
    }

    async fn undelivered(&self, now: UnixMillis, limit: u32) -> Result<Vec<Webhook>, ProviderError> {
        let query = sqlx::query(
            "update sandbox_charges set deliver_at = $1 + $2
             where reference = any(array(
                 select reference from sandbox_charges
                 where webhook is not null
                   and deliver_at <= $1
                 order by deliver_at limit $3
                 for update skip locked))
             returning reference, webhook",
        )
        .bind(now.0)
        .bind(DELIVERY_MS_MAX)
        .bind(i64::from(limit));
        let rows = self.fetch(query).await?;
        let webhook =
            |row: &PgRow| Ok(Webhook { reference: row.try_get("reference")?, body: row.try_get("webhook")? });
        rows.iter().map(webhook).collect()
    }

    async fn delivered(&self, webhook: &Webhook) -> Result<(), ProviderError> {
        let query =
            sqlx::query("update sandbox_charges set webhook = null where reference = $1 and webhook = $2")
                .bind(webhook.reference.clone())
                .bind(webhook.body.clone());
        self.execute(query).await?;
        Ok(())
    }

    async fn refund(&self, reference: &str) -> Result<(), ProviderError> {
        let query = sqlx::query(
            "update sandbox_charges set refunded = true where reference = $1 and status = 'captured'",
        )
        .bind(reference.to_owned());
        self.execute(query).await?;
        Ok(())
    }
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
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
