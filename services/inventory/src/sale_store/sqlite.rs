//! Sales in SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Clock, Money, SaleId, SaleTerms, UnixMillis};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

use super::{
    Edit, IDEMPOTENCY_TTL_MS, IdempotencyKey, SALES_MAX, SaleRow, SaleStore, SaleStoreError, apply, corrupt,
    rules_text,
};

/// How long a write waits for the database's other writers.
const BUSY_WAIT_MS_MAX: u64 = 10_000;
/// Connections: one writes, the others read.
const CONNECTIONS_MAX: u32 = 2;

pub(super) struct SqliteSales {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
}

impl SqliteSales {
    pub(super) async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, SaleStoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(BUSY_WAIT_MS_MAX))
            .pragma("cache_size", "-512");
        let pool = parts::sqlite_pool().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        // The order service may share the file; each keeps its own record of migrations.
        migrator.dangerous_set_table_name("inventory_migrations");
        migrator.run(&pool).await.map_err(|e| SaleStoreError::Unavailable(e.to_string()))?;
        Ok(Self { pool, clock })
    }
}

#[async_trait]
impl SaleStore for SqliteSales {
    async fn create(&self, sale: &SaleRow, key: Option<&IdempotencyKey>) -> Result<SaleRow, SaleStoreError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin_with("begin immediate").await?;
        if let Some(used) = replayed(&mut tx, key, now).await? {
            return fetch(&mut tx, &used).await;
        }
        let count: i64 =
            sqlx::query_scalar("select count(*) from inventory_sales").fetch_one(&mut *tx).await?;
        if usize::try_from(count).unwrap_or(usize::MAX) >= SALES_MAX {
            return Err(SaleStoreError::Conflict(format!("there are {SALES_MAX} sales already")));
        }
        if insert(&mut tx, sale).await? == 0 {
            return Err(SaleStoreError::Conflict(format!("there is a sale {} already", sale.id)));
        }
        remember(&mut tx, key, &sale.id, now).await?;
        tx.commit().await?;
        Ok(sale.clone())
    }

    async fn edit(
        &self,
        sale: &SaleId,
        edit: &Edit,
        key: Option<&IdempotencyKey>,
    ) -> Result<SaleRow, SaleStoreError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin_with("begin immediate").await?;
        let old = fetch(&mut tx, sale).await?;
        if replayed(&mut tx, key, now).await?.is_some() {
            return Ok(old);
        }
        let new = apply(&old, edit, now)?;
        sqlx::query(
            "update inventory_sales set title = ?, opens_at = ?, ends_at = ?, phase = ?, version = ?,
             total = ?, total_version = ?, rules = ? where id = ?",
        )
        .bind(&new.terms.title)
        .bind(new.terms.opens_at.0)
        .bind(new.terms.ends_at.0)
        .bind(new.phase.as_str())
        .bind(new.version.cast_signed())
        .bind(new.terms.stock)
        .bind(new.total_version.cast_signed())
        .bind(rules_text(&new)?)
        .bind(sale.as_str())
        .execute(&mut *tx)
        .await?;
        remember(&mut tx, key, sale, now).await?;
        tx.commit().await?;
        Ok(new)
    }

    async fn get(&self, sale: &SaleId) -> Result<SaleRow, SaleStoreError> {
        let mut connection = self.pool.acquire().await?;
        fetch(&mut connection, sale).await
    }

    async fn all(&self) -> Result<Vec<SaleRow>, SaleStoreError> {
        let rows =
            sqlx::query("select * from inventory_sales order by opens_at, id").fetch_all(&self.pool).await?;
        rows.iter().map(parse).collect()
    }
}

async fn insert(tx: &mut sqlx::SqliteConnection, sale: &SaleRow) -> Result<u64, SaleStoreError> {
    let done = sqlx::query(
        "insert into inventory_sales (id, title, price_cents, currency, per_user_limit, opens_at, ends_at,
         pay_within_s, phase, slug, version, total, total_version, created_at, rules)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing",
    )
    .bind(sale.id.as_str())
    .bind(&sale.terms.title)
    .bind(sale.terms.price.cents)
    .bind(sale.terms.price.currency.as_str())
    .bind(sale.terms.per_user_limit)
    .bind(sale.terms.opens_at.0)
    .bind(sale.terms.ends_at.0)
    .bind(sale.terms.pay_within_s)
    .bind(sale.phase.as_str())
    .bind(&sale.slug)
    .bind(sale.version.cast_signed())
    .bind(sale.terms.stock)
    .bind(sale.total_version.cast_signed())
    .bind(sale.created_at.0)
    .bind(rules_text(sale)?)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// The sale an idempotency key was used for before, if it was.
async fn replayed(
    tx: &mut sqlx::SqliteConnection,
    key: Option<&IdempotencyKey>,
    now: UnixMillis,
) -> Result<Option<SaleId>, SaleStoreError> {
    let Some(key) = key else { return Ok(None) };
    sqlx::query("delete from inventory_idempotency where created_at < ?")
        .bind(now.0 - IDEMPOTENCY_TTL_MS)
        .execute(&mut *tx)
        .await?;
    let found: Option<(String, String)> =
        sqlx::query_as("select fingerprint, sale from inventory_idempotency where key = ?")
            .bind(&key.key)
            .fetch_optional(tx)
            .await?;
    key.replays(found)
}

async fn remember(
    tx: &mut sqlx::SqliteConnection,
    key: Option<&IdempotencyKey>,
    sale: &SaleId,
    now: UnixMillis,
) -> Result<(), SaleStoreError> {
    if let Some(key) = key {
        sqlx::query(
            "insert into inventory_idempotency (key, fingerprint, sale, created_at) values (?, ?, ?, ?)",
        )
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(sale.as_str())
        .bind(now.0)
        .execute(tx)
        .await?;
    }
    Ok(())
}

async fn fetch(connection: &mut sqlx::SqliteConnection, sale: &SaleId) -> Result<SaleRow, SaleStoreError> {
    let row = sqlx::query("select * from inventory_sales where id = ?")
        .bind(sale.as_str())
        .fetch_optional(connection)
        .await?;
    parse(&row.ok_or(SaleStoreError::NotFound)?)
}

fn parse(row: &SqliteRow) -> Result<SaleRow, SaleStoreError> {
    let text = |column| row.try_get::<String, _>(column).map_err(SaleStoreError::from);
    let number = |column| row.try_get::<i64, _>(column).map_err(SaleStoreError::from);
    let small = |column| u32::try_from(number(column)?).map_err(|_| corrupt(column));
    Ok(SaleRow {
        id: text("id")?.parse().map_err(|_| corrupt("id"))?,
        terms: SaleTerms {
            title: text("title")?,
            price: Money {
                cents: number("price_cents")?,
                currency: text("currency")?.parse().map_err(|_| corrupt("currency"))?,
            },
            stock: small("total")?,
            per_user_limit: small("per_user_limit")?,
            opens_at: UnixMillis(number("opens_at")?),
            ends_at: UnixMillis(number("ends_at")?),
            pay_within_s: small("pay_within_s")?,
        },
        phase: text("phase")?.parse().map_err(|_| corrupt("phase"))?,
        slug: text("slug")?,
        version: number("version")?.cast_unsigned(),
        total_version: number("total_version")?.cast_unsigned(),
        created_at: UnixMillis(number("created_at")?),
        rules: serde_json::from_str(&text("rules")?).map_err(|_| corrupt("rules"))?,
    })
}
