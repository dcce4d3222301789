//! Sales in Postgres, for any number of replicas of inventory. Operators change sales a few times a day,
//! so changes are made one at a time, as in a file; readers do not wait for them.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Clock, Money, SaleId, SaleTerms, UnixMillis};
use service_kit::postgres::{self, Work, call};
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{Connection, Executor, Postgres, Row, Transaction};

use super::{
    Edit, IDEMPOTENCY_TTL_MS, IdempotencyKey, SALES_MAX, SaleRow, SaleStore, SaleStoreError, apply, corrupt,
    rules_text,
};

/// Connections at most.
const CONNECTIONS_MAX: u32 = 4;
/// Opens a change: nobody else changes a sale until it ends.
const BEGIN_CHANGE: &str = "begin; lock table inventory_sales in share row exclusive mode";

/// The columns of a sale.
macro_rules! sale_columns {
    () => {
        "id, title, price_cents, currency, per_user_limit, opens_at, ends_at, pay_within_s, phase, slug,
         version, total, total_version, created_at, rules"
    };
}

pub(super) struct PostgresSales {
    pool: PgPool,
    clock: Arc<dyn Clock>,
}

impl PostgresSales {
    pub(super) async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, SaleStoreError> {
        let mut migrator = sqlx::migrate!("migrations/postgres");
        // The order service may share the database; each keeps its own record of migrations.
        migrator.dangerous_set_table_name("inventory_migrations");
        let opened = postgres::open(url, CONNECTIONS_MAX, "inventory", &migrator).await;
        Ok(Self { pool: opened.map_err(|e| SaleStoreError::Unavailable(e.to_string()))?, clock })
    }

    async fn call<T, F>(&self, work: F) -> Result<T, SaleStoreError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, SaleStoreError>,
    {
        call(&self.pool, work).await
    }
}

#[async_trait]
impl SaleStore for PostgresSales {
    async fn create(&self, sale: &SaleRow, key: Option<&IdempotencyKey>) -> Result<SaleRow, SaleStoreError> {
        let (sale, key, now) = (sale.clone(), key.cloned(), self.clock.now());
        self.call(move |conn| {
            Box::pin(async move {
                let created = create(conn, sale, key, now).await;
                whole(conn, created).await
            })
        })
        .await
    }

    async fn edit(
        &self,
        sale: &SaleId,
        edit: &Edit,
        key: Option<&IdempotencyKey>,
    ) -> Result<SaleRow, SaleStoreError> {
        let (sale, edit, key, now) = (sale.clone(), edit.clone(), key.cloned(), self.clock.now());
        self.call(move |conn| {
            Box::pin(async move {
                let changed = change(conn, sale, edit, key, now).await;
                whole(conn, changed).await
            })
        })
        .await
    }

    async fn get(&self, sale: &SaleId) -> Result<SaleRow, SaleStoreError> {
        let sale = sale.clone();
        self.call(move |conn| Box::pin(async move { fetch(conn, &sale).await })).await
    }

    async fn all(&self) -> Result<Vec<SaleRow>, SaleStoreError> {
        let query =
            sqlx::query(concat!("select ", sale_columns!(), " from inventory_sales order by opens_at, id"));
        let rows = self.call(|conn| Box::pin(async { Ok(query.fetch_all(conn).await?) })).await?;
        rows.iter().map(parse).collect()
    }
}

/// Ends what a change that failed may have left on its connection: a lock that is not given fails a transaction that
/// has begun, and of which the client knows nothing. If this fails too, the connection is lost anyway.
async fn whole<T>(conn: &mut PgConnection, changed: Result<T, SaleStoreError>) -> Result<T, SaleStoreError> {
    if changed.is_err() {
        let _ = conn.execute("rollback").await;
    }
    changed
}

async fn create(
    conn: &mut PgConnection,
    sale: SaleRow,
    key: Option<IdempotencyKey>,
    now: UnixMillis,
) -> Result<SaleRow, SaleStoreError> {
    let mut tx = conn.begin_with(BEGIN_CHANGE).await?;
    if let Some(used) = replayed(&mut tx, key.as_ref(), now).await? {
        return fetch(&mut tx, &used).await;
    }
    let count: i64 = sqlx::query_scalar("select count(*) from inventory_sales").fetch_one(&mut *tx).await?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= SALES_MAX {
        return Err(SaleStoreError::Conflict(format!("there are {SALES_MAX} sales already")));
    }
    if insert(&mut tx, &sale).await? == 0 {
        return Err(SaleStoreError::Conflict(format!("there is a sale {} already", sale.id)));
    }
    remember(&mut tx, key.as_ref(), &sale.id, now).await?;
    tx.commit().await?;
    Ok(sale)
}

async fn change(
    conn: &mut PgConnection,
    sale: SaleId,
    edit: Edit,
    key: Option<IdempotencyKey>,
    now: UnixMillis,
) -> Result<SaleRow, SaleStoreError> {
    let mut tx = conn.begin_with(BEGIN_CHANGE).await?;
    let old = fetch(&mut tx, &sale).await?;
    if replayed(&mut tx, key.as_ref(), now).await?.is_some() {
        return Ok(old);
    }
    let new = apply(&old, &edit, now)?;
    sqlx::query(
        "update inventory_sales set title = $2, opens_at = $3, ends_at = $4, phase = $5, version = $6,
         total = $7, total_version = $8, rules = $9 where id = $1",
    )
    .bind(sale.as_str())
    .bind(&new.terms.title)
    .bind(new.terms.opens_at.0)
    .bind(new.terms.ends_at.0)
    .bind(new.phase.as_str())
    .bind(new.version.cast_signed())
    .bind(i64::from(new.terms.stock))
    .bind(new.total_version.cast_signed())
    .bind(rules_text(&new)?)
    .execute(&mut *tx)
    .await?;
    remember(&mut tx, key.as_ref(), &sale, now).await?;
    tx.commit().await?;
    Ok(new)
}

async fn insert(tx: &mut Transaction<'_, Postgres>, sale: &SaleRow) -> Result<u64, SaleStoreError> {
    let done = sqlx::query(concat!(
        "insert into inventory_sales (",
        sale_columns!(),
        ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict (id) do nothing"
    ))
    .bind(sale.id.as_str())
    .bind(&sale.terms.title)
    .bind(sale.terms.price.cents)
    .bind(sale.terms.price.currency.as_str())
    .bind(i64::from(sale.terms.per_user_limit))
    .bind(sale.terms.opens_at.0)
    .bind(sale.terms.ends_at.0)
    .bind(i64::from(sale.terms.pay_within_s))
    .bind(sale.phase.as_str())
    .bind(&sale.slug)
    .bind(sale.version.cast_signed())
    .bind(i64::from(sale.terms.stock))
    .bind(sale.total_version.cast_signed())
    .bind(sale.created_at.0)
    .bind(rules_text(sale)?)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// The sale an idempotency key was used for before, if it was.
async fn replayed(
    tx: &mut Transaction<'_, Postgres>,
    key: Option<&IdempotencyKey>,
    now: UnixMillis,
) -> Result<Option<SaleId>, SaleStoreError> {
    let Some(key) = key else { return Ok(None) };
    sqlx::query("delete from inventory_idempotency where created_at < $1")
        .bind(now.0 - IDEMPOTENCY_TTL_MS)
        .execute(&mut **tx)
        .await?;
    let found: Option<(String, String)> =
        sqlx::query_as("select fingerprint, sale from inventory_idempotency where key = $1")
            .bind(&key.key)
            .fetch_optional(&mut **tx)
            .await?;
    key.replays(found)
}

async fn remember(
    tx: &mut Transaction<'_, Postgres>,
    key: Option<&IdempotencyKey>,
    sale: &SaleId,
    now: UnixMillis,
) -> Result<(), SaleStoreError> {
    if let Some(key) = key {
        sqlx::query(
            "insert into inventory_idempotency (key, fingerprint, sale, created_at) values ($1, $2, $3, $4)",
        )
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(sale.as_str())
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

async fn fetch(conn: &mut PgConnection, sale: &SaleId) -> Result<SaleRow, SaleStoreError> {
    let row = sqlx::query(concat!("select ", sale_columns!(), " from inventory_sales where id = $1"))
        .bind(sale.as_str())
        .fetch_optional(conn)
        .await?;
    parse(&row.ok_or(SaleStoreError::NotFound)?)
}

fn parse(row: &PgRow) -> Result<SaleRow, SaleStoreError> {
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
