//! What the races run on: two replicas' stores, their clock, and their tables read past them.

use std::any::Any;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{Clock, OrderId, OrderStatus, UnixMillis};
use order::order_store::{OrderStore, PostgresStore, SqliteOptions, SqliteStore};
use service_kit::postgres::TestDatabase;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Mutex;
use uuid::Uuid;

const START: i64 = 1_700_000_000_000;
/// Connections of each replica.
const CONNECTIONS: u32 = 12;

pub(crate) struct Engine {
    /// Two replicas; a file has one store, twice.
    pub(crate) stores: [Arc<dyn OrderStore>; 2],
    pub(crate) clock: Arc<HandClock>,
    pub(crate) tables: Tables,
    _keeps: Box<dyn Any + Send + Sync>,
}

impl Engine {
    pub(crate) async fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let millis = Arc::new(HandMillis(AtomicI64::new(START)));
        // Races are about order, not about power cuts: without the sync they are just faster.
        let options = SqliteOptions { sync: false, ..SqliteOptions::default() };
        let store: Arc<dyn OrderStore> =
            Arc::new(SqliteStore::open(&path, options, millis.clone()).await.unwrap());
        Self {
            stores: [store.clone(), store],
            clock: Arc::new(HandClock::Given(millis)),
            tables: Tables::file(&path).await,
            _keeps: Box::new(folder),
        }
    }

    pub(crate) async fn server() -> Self {
        let database = TestDatabase::create().await;
        let mut admin = database.connect().await;
        let url = database.url();
        // As with a file. It holds for the sessions that begin after it.
        let name = url.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap().to_owned();
        let no_sync = format!("alter database {name} set synchronous_commit = off");
        admin.execute(AssertSqlSafe(no_sync)).await.unwrap();
        let open = || async { Arc::new(PostgresStore::open(&url, CONNECTIONS).await.unwrap()) };
        let stores: [Arc<dyn OrderStore>; 2] = [open().await, open().await];
        admin
            .execute(
                "create table test_clock as select 1700000000000::bigint as millis;
                 create or replace function seckill_now() returns bigint language sql volatile
                     as 'select millis from test_clock'",
            )
            .await
            .unwrap();
        Self {
            stores,
            clock: Arc::new(HandClock::OfDatabase(Mutex::new(admin))),
            tables: Tables::Server(PgPool::connect(&url).await.unwrap()),
            _keeps: Box::new(database),
        }
    }

    /// The store of the first replica.
    pub(crate) fn store(&self) -> &dyn OrderStore {
        &*self.stores[0]
    }
}

pub(crate) struct HandMillis(AtomicI64);

impl Clock for HandMillis {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that stands until it is moved.
pub(crate) enum HandClock {
    /// The store is given it.
    Given(Arc<HandMillis>),
    /// The database reads it from a table.
    OfDatabase(Mutex<PgConnection>),
}

impl HandClock {
    pub(crate) async fn now(&self) -> UnixMillis {
        match self {
            Self::Given(millis) => millis.now(),
            Self::OfDatabase(conn) => {
                let mut conn = conn.lock().await;
                UnixMillis(sqlx::query_scalar("select seckill_now()").fetch_one(&mut *conn).await.unwrap())
            }
        }
    }

    pub(crate) async fn pass(&self, by: i64) {
        match self {
            Self::Given(millis) => {
                millis.0.fetch_add(by, Ordering::SeqCst);
            }
            Self::OfDatabase(conn) => {
                let mut conn = conn.lock().await;
                let pass = sqlx::query("update test_clock set millis = millis + $1").bind(by);
                pass.execute(&mut *conn).await.unwrap();
            }
        }
    }
}

/// The tables, read past the store.
pub(crate) enum Tables {
    File(SqlitePool),
    Server(PgPool),
}

impl Tables {
    async fn file(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Self::File(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    /// Where the orders from `first` on stand.
    pub(crate) async fn statuses(&self, first: OrderId) -> HashMap<OrderId, OrderStatus> {
        let rows: Vec<(Uuid, String)> = match self {
            Self::File(pool) => sqlx::query_as("select id, status from orders where id >= ?1")
                .bind(first.to_bytes().to_vec())
                .fetch_all(pool)
                .await
                .unwrap(),
            Self::Server(pool) => sqlx::query_as("select id, status from orders where id >= $1")
                .bind(Uuid::from_bytes(first.to_bytes()))
                .fetch_all(pool)
                .await
                .unwrap(),
        };
        let read =
            |(id, status): (Uuid, String)| (OrderId::from_bytes(id.into_bytes()), status.parse().unwrap());
        rows.into_iter().map(read).collect()
    }

    /// Minor units: captured, kept for paid orders, paid back.
    pub(crate) async fn money(&self) -> (i64, i64, i64) {
        match self {
            Self::File(pool) => sqlx::query_as(
                "select (select coalesce(sum(amount_cents), 0) from payments where status = 'captured'),
                     (select coalesce(sum(amount_cents), 0) from orders where status = 'paid'),
                     (select coalesce(sum(amount_cents), 0) from refunds)",
            )
            .fetch_one(pool)
            .await
            .unwrap(),
            Self::Server(pool) => sqlx::query_as(
                "select (select coalesce(sum(amount_cents), 0)::bigint from payments where status = 'captured'),
                     (select coalesce(sum(amount_cents), 0)::bigint from orders where status = 'paid'),
                     (select coalesce(sum(amount_cents), 0)::bigint from refunds)",
            )
            .fetch_one(pool)
            .await
            .unwrap(),
        }
    }
}
